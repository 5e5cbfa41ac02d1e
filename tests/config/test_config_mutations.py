"""Whatever a person does to a file, the answer is a configuration or a list of problems with places in that file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_mtl.config import ConfigErrors, Problem, load_config

TEXT = """\
name: reef
seed: 3
data:
  type: OverlappingDigits
  params: {train_size: 100, overlap: 3}
  batch_size: 32
model:
  type: SharedTrunk
  params:
    width: 8
loss:
  type: CompositeHierarchical
  params: {label_smoothing: 0.1}
  weighting_strategy:
    type: Uncertainty
    params:
      loss_kind: {left: classification, right: classification, ink: regression}
      clamp: 5
optimizer:
  type: AdamWPolyDecay
  use_pcgrad_wrapper: true
  params:
    lr: 6e-5
    adam_betas: [0.9, 0.999]
trainer:
  epochs: 5
  early_stopping: {patience: 3}
  model_selection_metric: tasks.left.accuracy
diagnostics:
  record_every: 2
""".splitlines()

VALUES = [
    "",
    "null",
    "3",
    "-1",
    "1e3",
    ".inf",
    ".nan",
    "yes",
    "true",
    "text",
    "[]",
    "[1, a]",
    "{}",
    "{a: 1}",
    "'",
    "\t",
    "*a",
]
VALUES += [
    "&a 1",
    "!!int x",
    "NashMTL",
    "PCGrad",
    "Static",
    "SGD",
    "global.loss",
    "- 1",
    ": :",
    "\x07",
    "<<",
    "? x",
    "{<<: 1}",
]

places = st.integers(0, len(TEXT) - 1)
edits = st.one_of(
    st.tuples(st.just("delete"), places, st.just("")),
    st.tuples(st.just("repeat"), places, st.just("")),
    st.tuples(st.just("indent"), places, st.sampled_from(["  ", " ", "    "])),
    st.tuples(st.just("outdent"), places, st.just("")),
    st.tuples(st.just("value"), places, st.sampled_from(VALUES)),
    st.tuples(
        st.just("key"), places, st.sampled_from(["type", "params", "lr", "on", "epochs", "1", "[1]", "<<", "Trainer"])
    ),
)


def edited(lines: list[str], edit: tuple[str, int, str]) -> list[str]:
    what, position, text = edit
    position = min(position, len(lines) - 1)
    line = lines[position]
    indent = line[: len(line) - len(line.lstrip())]
    new = {
        "delete": [],
        "repeat": [line, line],
        "indent": [text + line],
        "outdent": [line[2:] if indent else line],
        "value": [f"{line.partition(':')[0]}: {text}"],
        "key": [f"{indent}{text}:{line.partition(':')[2]}"],
    }
    return [*lines[:position], *new[what], *lines[position + 1 :]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutations")


@settings(max_examples=150, deadline=None)
@given(st.lists(edits, min_size=0, max_size=5))
def test_every_mutation_is_a_configuration_or_a_list_of_problems(folder: Path, mutations):
    lines = TEXT
    for mutation in mutations:
        lines = edited(lines, mutation) if lines else lines
    path = folder / "reef.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for problem in problems_of(path):
        assert problem.place.source == str(path)
        assert 1 <= problem.place.line <= len(lines) + 2
        assert problem.place.column >= 1
        assert problem.message


def problems_of(path: Path) -> tuple[Problem, ...]:
    try:
        load_config(path)
    except ConfigErrors as errors:
        return errors.problems
    return ()
