# Everything a fresh clone needs, each in one command; only Python 3.11 to 3.13 and make have to be there before.
#
#   make demo     train configs/quickstart.yaml on real data, show what the diagnostics found
#   make test     the whole test suite
#   make check    linter, formatter, type checker
#
# TORCH=torch        takes PyTorch's default build (CUDA on Linux: several gigabytes) in place of the CPU build
# PYTHON=python3.12  takes this interpreter; otherwise the first suitable one is taken
# WORKERS=4          runs the tests in this many processes

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INTERPRETERS := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11)
WORKERS ?= 2

# "+cpu" is a label that PyPI never carries, so this requirement cannot bring in CUDA, whatever the indexes are. For
# macOS there is no other build than the small one.
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH ?= $(if $(filter Darwin,$(shell uname -s)),torch>=2.4,torch==2.13.0+cpu)

.PHONY: help demo test check clean
help:
	@sed -n '3,5s/^# *//p' Makefile

demo: $(VENV)/.digits
	$(BIN)/coral-mtl train configs/quickstart.yaml

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps: installed once, and again only when the list of dependencies changes.
$(VENV)/.digits $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: $(VENV)/.torch pyproject.toml
	$(PIP) install --quiet --editable '.[$*]'
	@touch $@

$(VENV)/.torch: | $(VENV)/.python
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then \
	    echo "keeping the PyTorch that $(VENV) has"; \
	else case '$(TORCH)' in \
	    *+cpu) echo "installing $(TORCH), the CPU build"; \
	        $(PIP) install --quiet '$(TORCH)' 2>/dev/null || \
	        $(PIP) install --quiet '$(TORCH)' --extra-index-url $(CPU_INDEX) || { \
	            echo "make: no CPU build of PyTorch to be had here: $(TORCH) is neither in pip's own sources nor at" >&2; \
	            echo "      $(CPU_INDEX) for this Python. Install one into $(VENV) by hand and run make again," >&2; \
	            echo "      or take the default build, with CUDA on Linux, several gigabytes: make TORCH=torch" >&2; \
	            exit 1; };; \
	    *) $(PIP) install '$(TORCH)';; \
	esac; fi
	@touch $@

$(VENV)/.python:
	@for python in $(INTERPRETERS); do \
	    if $$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	        echo "creating $(VENV) with $$($$python --version)"; \
	        $$python -m venv $(VENV) && touch $@ && exit 0; exit 1; \
	    fi; \
	done; \
	echo "make: no usable Python among: $(INTERPRETERS). coral-mtl needs Python 3.11, 3.12 or 3.13, with the module venv" >&2; \
	echo "      (Debian: apt install python3-venv). Name one with: make PYTHON=/path/to/python3.12" >&2; \
	exit 1
