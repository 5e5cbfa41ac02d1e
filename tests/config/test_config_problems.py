"""Mistakes that people make in configurations, each told with its place, the reason and the next step."""

from pathlib import Path

import pytest

from coral_mtl.config import ConfigErrors, load_config
from coral_mtl.errors import ConfigError

BASE = "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n"


def test_a_legal_file_has_no_problems(complaints):
    assert complaints() == []


def test_every_problem_of_a_file_is_told_at_once_in_the_order_of_the_file(complaints):
    text = """\
name: reef
data:
  type: OverlapingDigits
  batch_size: "64"
  num_workers: 0
  num_workers: 2
model: {type: SharedTrunk, params: {width: 0}}
loss:
  weighting_strategy:
    type: Uncertanty
optimizer:
  max_grad_norm: 1.0
trainer:
  epochs: 5
  mixed_precision_dtype: float16
  seed: 1
"""
    assert complaints(text) == [
        'reef.yaml:3:3: data.type: no data called "OverlapingDigits"',
        'reef.yaml:4:3: data.batch_size: expected a whole number, got the text "64"',
        "reef.yaml:6:3: data.num_workers: duplicate key, first given in line 5",
        "reef.yaml:7:37: model.params.width: expected a number greater than 0, got 0",
        'reef.yaml:10:5: loss.weighting_strategy.type: no strategy called "Uncertanty"',
        "reef.yaml:12:3: optimizer.max_grad_norm: unknown key",
        "reef.yaml:15:3: trainer.mixed_precision_dtype: this key has no effect: trainer.use_mixed_precision is false",
        "reef.yaml:16:3: trainer.seed: unknown key",
    ]


def test_the_error_shows_place_key_reason_and_next_step(write):
    path = write(BASE + "loss:\n  weighting_strategy:\n    type: Uncertanty\n")
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert str(caught.value) == (
        'reef.yaml:5:5: loss.weighting_strategy.type: no strategy called "Uncertanty"\n'
        '    did you mean "Uncertainty"? (see: coral-mtl strategies list)'
    )
    assert isinstance(caught.value, ConfigError)
    assert [problem.place.column for problem in caught.value.problems] == [5]


@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        ("trainer", "epoch", 'did you mean "epochs"?'),
        ("trainer", "maxGradNorm", 'did you mean "max_grad_norm"?'),
        ("trainer", "early-stopping", 'did you mean "early_stopping"?'),
        ("trainer", "adam_betas", "that key lives at optimizer.params.adam_betas"),
        ("trainer", "patience", "that key lives at trainer.early_stopping.patience"),
        ("trainer", "batch_size", "that key lives at data.batch_size"),
        ("trainer", "frobnicate", "keys that are known here: epochs, device, use_mixed_precision"),
        ("optimizer", "learning_rate_xyz", "keys that are known here: type, params, use_pcgrad_wrapper"),
        ("optimizer", "lr", "that key lives at optimizer.params.lr"),
        ("optimizer", "warmup_ratio", "that key lives at optimizer.params.warmup_ratio"),
        ("optimizer", "max_grad_norm", "that key lives at trainer.max_grad_norm"),
        ("diagnostics", "gradients_every", 'did you mean "gradient_every"?'),
        ("diagnostics", "metric_modes", 'did you mean "trainer.metric_mode"?'),
    ],
)
def test_an_unknown_key_says_where_it_belongs(complaints, advice, section, key, hint):
    text = BASE + f"{section}:\n  {key}: 1\n"
    assert complaints(text) == [f"reef.yaml:4:3: {section}.{key}: unknown key"]
    assert advice(text)[0].startswith(hint)


def test_unknown_sections(complaints, advice):
    text = BASE + "training: {epochs: 3}\nweighting_strategy: {type: Equal}\nloss_weights: 3\n"
    assert complaints(text) == [
        "reef.yaml:3:1: training: unknown key",
        "reef.yaml:4:1: weighting_strategy: unknown key",
        "reef.yaml:5:1: loss_weights: unknown key",
    ]
    assert advice(text)[:2] == ['did you mean "trainer"?', "that key lives at loss.weighting_strategy"]


def test_a_strategy_one_level_too_deep(complaints, advice):
    text = BASE + "loss:\n  params:\n    weighting_strategy:\n      type: Uncertainty\n"
    assert complaints(text) == ["reef.yaml:5:5: loss.params.weighting_strategy: unknown key"]
    assert advice(text) == ["that key lives at loss.weighting_strategy"]


def test_a_strategy_one_level_too_shallow(complaints, advice):
    text = BASE + "loss:\n  weighting_strategy:\n  type: Uncertainty\n"
    assert complaints(text) == [
        "reef.yaml:4:3: loss.weighting_strategy: expected keys with values, indented below it, got null",
        'reef.yaml:5:3: loss.type: no loss called "Uncertainty"',
    ]
    assert advice(text)[1] == "that is a strategy: it goes to loss.weighting_strategy.type"


def test_options_beside_params(complaints, advice):
    text = BASE + "loss:\n  weighting_strategy:\n    type: DWA\n    temperature: 1.0\n"
    assert complaints(text) == ["reef.yaml:6:5: loss.weighting_strategy.temperature: unknown key"]
    assert advice(text) == ["that key lives at loss.weighting_strategy.params.temperature"]


def test_options_beside_params_of_an_unknown_type(complaints, advice):
    text = BASE + "optimizer:\n  type: Adamm\n  lr: 1.0\n"
    assert complaints(text)[1] == "reef.yaml:5:3: optimizer.lr: unknown key"
    assert advice(text) == ['did you mean "Adam"?', "that key lives at optimizer.params.lr"]


def test_an_option_of_another_strategy(complaints, advice):
    text = BASE + "loss:\n  weighting_strategy:\n    type: Equal\n    params: {temperature: 1.0}\n"
    assert complaints(text) == ["reef.yaml:6:14: loss.weighting_strategy.params.temperature: unknown key"]
    assert "DWA" in advice(text)[0]


def test_a_strategy_by_its_name_alone(complaints, advice):
    text = BASE + "loss:\n  weighting_strategy: Uncertainty\n"
    assert complaints(text) == [
        "reef.yaml:4:3: loss.weighting_strategy: expected keys with values, indented below it, "
        'got the text "Uncertainty"'
    ]
    assert advice(text) == ["write weighting_strategy: {type: Uncertainty}"]


def test_params_as_a_list(complaints, advice):
    text = BASE + "optimizer:\n  params:\n    - lr: 0.1\n"
    assert complaints(text) == [
        "reef.yaml:4:3: optimizer.params: expected keys with values, indented below it, got a list"
    ]
    assert advice(text) == ["leave out the dashes or brackets"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("epochs: '3'", 'expected a whole number, got the text "3"', "write it without quotes or underscores"),
        ("epochs: 1_000", 'expected a whole number, got the text "1_000"', "write it without quotes or underscores"),
        ("epochs: 1.5", "expected a whole number, got 1.5", "Passes over the training data."),
        ("epochs: true", "expected a whole number, got true", "Passes over the training data."),
        ("epochs: [3]", "expected a whole number, got a list", "Passes over the training data."),
        ("epochs: {a: 1}", "expected a whole number, got keys and values", "Passes over the training data."),
        ("epochs: -1", "expected a number greater than 0, got -1", "Passes over the training data."),
        ("epochs:", "expected a whole number, got null", "nothing stands there: "),
        ("deterministic: yes", 'expected true or false, got the text "yes"', "Use deterministic algorithms"),
        ("deterministic: 1", "expected true or false, got 1", "Use deterministic algorithms"),
        ("max_grad_norm: .inf", "expected a finite number, got Infinity", "Clip the norm"),
        ("model_selection_metric: 3", "expected text, got 3", "put it in quotes"),
        ("metric_mode: maxx", "expected 'max' or 'min', got the text \"maxx\"", 'did you mean "max"?'),
        ("metric_mode: MIN", "expected 'max' or 'min', got the text \"MIN\"", 'did you mean "min"?'),
        ("output_dir: 3", "expected text, got 3", "put it in quotes"),
        ("early_stopping: 5", "expected keys with values, indented below it, got 5", "When to stop early"),
        ("device: gpu", "expected text of the form ^(auto|cpu", "`auto` (a GPU if there is one)"),
    ],
)
def test_wrong_types_and_ranges(complaints, advice, line, message, hint):
    text = f"{BASE}trainer:\n  {line}\n"
    key = line.partition(":")[0]
    (complaint,) = complaints(text)
    assert complaint.startswith(f"reef.yaml:4:3: trainer.{key}: {message}")
    assert advice(text)[0].startswith(hint)


def test_wrong_values_within_params(complaints):
    text = BASE + "optimizer:\n  params:\n    lr: '6e-5'\n    adam_betas: [0.9,\n      1.5]\n    power: -1\n"
    assert complaints(text) == [
        'reef.yaml:5:5: optimizer.params.lr: expected a number, got the text "6e-5"',
        "reef.yaml:7:7: optimizer.params.adam_betas.1: expected a number less than 1, got 1.5",
        "reef.yaml:8:5: optimizer.params.power: expected a number greater than 0, got -1",
    ]


@pytest.mark.parametrize("betas", ["[0.9]", "[]", "[0.9, 0.99, 0.999]", "0.9", "{a: 0.9}"])
def test_lists_of_the_wrong_length_and_what_are_no_lists(complaints, betas):
    (complaint,) = complaints(BASE + f"optimizer: {{params: {{adam_betas: {betas}}}}}\n")
    assert complaint.startswith("reef.yaml:3:22: optimizer.params.adam_betas: ")


def test_of_a_choice_of_types_the_branch_that_was_meant_is_told(complaints):
    text = BASE + "loss: {weighting_strategy: {type: Uncertainty, params: {loss_kind: {ink: regresion, left: 3}}}}\n"
    assert complaints(text) == [
        "reef.yaml:3:69: loss.weighting_strategy.params.loss_kind.ink: expected 'classification' or 'regression', "
        'got the text "regresion"',
        "reef.yaml:3:85: loss.weighting_strategy.params.loss_kind.left: expected 'classification' or 'regression', "
        "got 3",
    ]


@pytest.mark.parametrize("section", ["data", "model", "loss", "optimizer", "trainer", "diagnostics"])
@pytest.mark.parametrize("value", ["", "null", "[]", "3", "text"])
def test_sections_that_are_none(complaints, section, value):
    base = "".join(line for line in BASE.splitlines(keepends=True) if not line.startswith(section))
    found = complaints(f"{section}: {value}\n{base}")
    assert [line.startswith(f"reef.yaml:1:1: {section}: expected keys with values") for line in found] == [True]


def test_what_must_be_given(complaints, advice):
    assert complaints("seed: 1\n") == [
        "reef.yaml:1:1: data: this key must be given",
        "reef.yaml:1:1: model: this key must be given",
    ]
    assert "OverlappingDigits" in advice("seed: 1\n")[0]
    assert complaints("model: {}\ndata:\n  batch_size: 3\n") == [
        "reef.yaml:1:1: model.type: this key must be given",
        "reef.yaml:2:1: data.type: this key must be given",
    ]


def test_an_option_that_must_be_given(complaints):
    text = BASE + "loss:\n  weighting_strategy:\n    type: Static\n"
    assert complaints(text) == ["reef.yaml:4:3: loss.weighting_strategy.params.weights: this key must be given"]


def test_a_task_may_be_called_on(complaints):
    text = BASE + "loss: {weighting_strategy: {type: Static, params: {weights: {on: 1, 1: 2, null: 3}}}}\n"
    assert [line.partition(": ")[2] for line in complaints(text)] == [
        f'loss.weighting_strategy.params.weights.{key}: no task is called "{key}"' for key in ("on", "1", "null")
    ]


@pytest.mark.parametrize("name", ["3", "true", "[NashMTL]", "{a: b}", "null", "''"])
def test_types_that_are_no_names(complaints, name):
    (complaint,) = complaints(BASE + f"loss:\n  weighting_strategy:\n    type: {name}\n")
    assert complaint.startswith("reef.yaml:5:5: loss.weighting_strategy.type: ")


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "''", "3", "a\\b"])
def test_a_name_that_is_no_folder(complaints, name):
    (complaint,) = complaints(f"name: {name}\n{BASE}")
    assert complaint.startswith("reef.yaml:1:1: name: expected text")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "reef.yaml:1:1: this file is empty"),
        (b"# only a comment\n\n", "reef.yaml:1:1: this file is empty"),
        (b"---\n", "reef.yaml:1:1: this file is empty"),
        (b"- data\n- model\n", "reef.yaml:1:1: this file is no mapping of keys to values"),
        (b"just text\n", "reef.yaml:1:1: this file is no mapping of keys to values"),
        (b"seed: 1\nname: caf\xe9\n", "reef.yaml:2:10: not UTF-8 text"),
        ("name: \u00e9\n".encode("utf-16"), "reef.yaml:1:1: not UTF-8 text"),
        (b"seed: 1\n\tname: x\n", "reef.yaml:2:1: not valid YAML: found character '\\t'"),
        (b"seed: [1\n", "reef.yaml:2:1: not valid YAML: expected ',' or ']'"),
    ],
)
def test_files_that_are_no_configurations(write, content, message):
    path = write("")
    path.write_bytes(content)
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert str(caught.value).startswith(message)


def test_files_that_cannot_be_read(write):
    write()
    for path, reason in {"missing.yaml": "No such file or directory", ".": "Is a directory"}.items():
        with pytest.raises(ConfigErrors) as caught:
            load_config(path)
        first, second = str(caught.value).split("\n")
        assert first == f"{path}: cannot read this file: {reason}"
        assert str(Path.cwd()) in second


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(write):
    path = write("\ufeff" + BASE.replace("\n", "\r\n") + "trainer:\r\n  epochs: x\r\n")
    with pytest.raises(ConfigErrors, match=r"^reef.yaml:4:3: trainer.epochs: expected a whole number"):
        load_config(path)


def test_anchors_are_read_and_a_problem_in_them_is_at_the_anchor(complaints):
    text = BASE + (
        "loss: {weighting_strategy: {type: STCH, params: {nadir: &n {left: 1, right: 1, inc: 1}, preference: *n}}}\n"
    )
    assert complaints(text) == [
        f'reef.yaml:3:80: loss.weighting_strategy.params.{option}.inc: no task is called "inc"'
        for option in ("nadir", "preference")
    ]
