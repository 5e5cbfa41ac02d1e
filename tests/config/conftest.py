"""A configuration that is legal, ways to write others, and registries that forget what a test adds to them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coral_mtl import registry
from coral_mtl.config import ConfigErrors, load_config

LEGAL = """\
data:
  type: OverlappingDigits
model:
  type: SharedTrunk
loss:
  type: CompositeHierarchical
  weighting_strategy:
    type: Uncertainty
trainer:
  epochs: 3
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a text to `reef.yaml` in the current folder, which is empty, and return its path."""
    monkeypatch.chdir(tmp_path)

    def written(text: str = LEGAL, name: str = "reef.yaml") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return written


@pytest.fixture
def complaints(write: Callable[..., Path]) -> Callable[..., list[str]]:
    """Return the first lines of the problems of a text with overrides, in order; none where it is legal."""

    def found(text: str = LEGAL, *overrides: str) -> list[str]:
        return [str(problem).partition("\n")[0] for problem in problems_of(write(text), *overrides)]

    return found


@pytest.fixture
def advice(write: Callable[..., Path]) -> Callable[..., list[str]]:
    """Return what each problem of a text with overrides advises to do."""
    return lambda text=LEGAL, *overrides: [problem.advice for problem in problems_of(write(text), *overrides)]


@pytest.fixture
def strategies(monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """The registry of strategies, which forgets after the test what is added in it."""
    return forgetful(registry.strategies, monkeypatch)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """The registry of data sets, which forgets after the test what is added in it."""
    return forgetful(registry.data, monkeypatch)


def forgetful(table: registry.Registry, monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    table.names()
    monkeypatch.setattr(table, "_classes", dict(table._classes))
    monkeypatch.setattr(table, "_names", dict(table._names))
    return table


def problems_of(path: Path, *overrides: str) -> tuple:
    try:
        load_config(path, overrides)
    except ConfigErrors as errors:
        return errors.problems
    return ()
