from pathlib import Path

import pytest

from coral_mtl.config import dump_config, load_config


def test_values_are_yaml(write):
    config = load_config(
        write(),
        [
            "trainer.epochs=7",
            "optimizer.params.lr=6e-5",
            "optimizer.params.adam_betas=[0.8, 0.9]",
            "trainer.early_stopping={patience: 2}",
            "trainer.deterministic=false",
            "name=on",
        ],
    )
    assert config.trainer.epochs == 7
    assert config.optimizer.params["lr"] == 6e-5
    assert config.optimizer.params["adam_betas"] == (0.8, 0.9)
    assert config.trainer.early_stopping.patience == 2
    assert config.trainer.deterministic is False
    assert config.name == "on"


def test_null_and_the_empty_value_are_null(write):
    text = write().read_text() + "  early_stopping: {patience: 2}\n  max_grad_norm: 1.0\n"
    config = load_config(write(text), ["trainer.early_stopping=null", "trainer.max_grad_norm="])
    assert config.trainer.early_stopping is None
    assert config.trainer.max_grad_norm is None


def test_sections_on_the_way_are_made(write):
    config = load_config(write(), ["loss.weighting_strategy.params.clamp=3", "trainer.early_stopping.min_delta=0.5"])
    assert config.loss.weighting_strategy.params["clamp"] == 3.0
    assert config.trainer.early_stopping.min_delta == 0.5


def test_a_null_on_the_way_becomes_a_section(write):
    text = write().read_text() + "  early_stopping: null\n"
    assert load_config(write(text), ["trainer.early_stopping.patience=2"]).trainer.early_stopping.patience == 2


STATIC = """\
data: {type: OverlappingDigits}
model: {type: SharedTrunk, params: {width: 8}}
loss:
  params: {label_smoothing: 0.1}
  weighting_strategy:
    type: Static
    params: {weights: {left: 1, right: 2, ink: 3}}
"""


@pytest.mark.parametrize("order", [1, -1])
def test_another_type_takes_the_place_of_the_params_of_the_old_one(write, order):
    overrides = ["loss.weighting_strategy.type=DWA", "loss.weighting_strategy.params.temperature=1"][::order]
    strategy = load_config(write(STATIC), overrides).loss.weighting_strategy
    assert strategy.type == "DWA"
    assert strategy.params == {"temperature": 1.0, "window": None}


def test_the_same_type_in_another_spelling_keeps_its_params(write):
    config = load_config(write(STATIC), ["loss.weighting_strategy.type=static"])
    assert config.loss.weighting_strategy.params["weights"] == {"left": 1, "right": 2, "ink": 3}


def test_another_type_leaves_other_keys_of_its_block_alone(write, complaints):
    config = load_config(write(STATIC), ["loss.weighting_strategy.type=Equal"])
    assert config.loss.params["label_smoothing"] == 0.1
    assert config.model.params["width"] == 8


def test_params_of_a_default_type_go_with_it_too(write):
    text = STATIC.replace("    type: Static\n", "").replace("weights: {left: 1, right: 2, ink: 3}", "reduction: mean")
    assert load_config(write(text)).loss.weighting_strategy.params == {"reduction": "mean"}
    assert load_config(write(text), ["loss.weighting_strategy.type=DWA"]).loss.weighting_strategy.type == "DWA"
    kept = load_config(write(text), ["loss.weighting_strategy.type=equal"]).loss.weighting_strategy
    assert kept.params == {"reduction": "mean"}


def test_of_two_overrides_the_inner_one_holds_in_either_order(write):
    overrides = ["trainer={epochs: 4, device: cpu}", "trainer.epochs=5"]
    for given in (overrides, overrides[::-1]):
        config = load_config(write(), given)
        assert (config.trainer.epochs, config.trainer.device) == (5, "cpu")


COMPLETE = """\
data: {type: OverlappingDigits}
model: {type: SharedTrunk}
loss: {weighting_strategy: {type: IMGrad, params: {mode: blend, f: half, update_frequency: 4}}}
trainer: {use_mixed_precision: true, mixed_precision_dtype: float16, epochs: 8, val_frequency: 4, early_stopping: {}}
diagnostics: {gradient_every: 20}
"""


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss.weighting_strategy.type=NashMTL"],
        ["loss.weighting_strategy.params.update_frequency=1"],
        ["loss.weighting_strategy.params.mode=cagrad"],
        ["trainer.use_mixed_precision=false"],
        ["trainer.epochs=2"],
        ["optimizer.use_pcgrad_wrapper=true", "loss.weighting_strategy.type=Uncertainty"],
    ],
)
def test_what_an_override_leaves_without_effect_is_as_if_it_were_not_there(write, overrides):
    config = load_config(write(COMPLETE), overrides)
    path = write(dump_config(config), "again.yaml")
    assert load_config(path) == config


def test_the_file_itself_may_have_no_key_without_effect_and_nor_may_the_overrides(complaints):
    idle = COMPLETE.replace("use_mixed_precision: true", "use_mixed_precision: false")
    assert complaints(idle, "seed=1") == [
        "reef.yaml:4:39: trainer.mixed_precision_dtype: this key has no effect: trainer.use_mixed_precision is false"
    ]
    override = "trainer.mixed_precision_dtype=bfloat16"
    assert complaints(COMPLETE, "trainer.use_mixed_precision=false", override) == [
        f"override {override}: trainer.mixed_precision_dtype: this key has no effect: "
        "trainer.use_mixed_precision is false"
    ]


def test_problems_name_the_override_after_those_of_the_file(complaints):
    text = STATIC + "trainer: {epochs: 0, device: x}\n"
    found = complaints(text, "trainer.epoch=1", "trainer.device=gpu", "optimizer.type=adamm", "trainer.epochs=2.5")
    assert [line.partition(": expected")[0] for line in found] == [
        "override trainer.epoch=1: trainer.epoch: unknown key",
        "override trainer.device=gpu: trainer.device",
        'override optimizer.type=adamm: optimizer.type: no optimizer called "adamm"',
        "override trainer.epochs=2.5: trainer.epochs",
    ]
    assert complaints(text, "trainer.device=gpu")[0].startswith("reef.yaml:8:11: trainer.epochs: ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("foo", "not an override"),
        ("=3", "not an override"),
        ("trainer..epochs=3", "not an override"),
        ("trainer.epochs=[", "not valid YAML: expected the node content"),
        ("name=@x", "not valid YAML: found character '@'"),
        ("trainer={epochs: 1, epochs: 2}", "trainer.epochs: duplicate key"),
        ("trainer.epochs.more=3", "trainer.epochs.more: trainer.epochs has no keys"),
        ("trainer={<<: {epochs: 1}}", "trainer.<<: merge keys are not supported"),
        ("trainer.epochs=!!python/name:os.system", "trainer.epochs: the tag 'tag:yaml.org,2002:python/name:os.system'"),
    ],
)
def test_overrides_that_cannot_be_read(complaints, override, message):
    (line,) = complaints(STATIC + "trainer: {epochs: 2}\n", override)
    assert line.startswith(f"override {override}: {message}")


def test_the_same_key_twice(complaints):
    assert complaints(STATIC, "trainer.epochs=3", "trainer.epochs=4") == [
        "override trainer.epochs=4: trainer.epochs: another override gives this key too"
    ]


def test_a_problem_within_an_override_names_it(complaints):
    override = "loss.weighting_strategy.params={weights: {left: 1, rigth: 2, ink: 3}}"
    assert complaints(STATIC, override) == [
        f'override {override}: loss.weighting_strategy.params.weights.rigth: no task is called "rigth"'
    ]


def test_paths_in_overrides_count_from_the_current_folder(write):
    path = write(STATIC + "trainer: {output_dir: ../runs}\n", "configs/deep/reef.yaml")
    assert load_config(path).trainer.output_dir == Path.cwd() / "configs" / "runs"
    assert load_config(path, ["trainer.output_dir=out/x"]).trainer.output_dir == Path.cwd() / "out" / "x"
    assert load_config(path, ["trainer.output_dir=/out"]).trainer.output_dir == Path("/out")
    assert load_config(path, ["trainer.output_dir=~/out"]).trainer.output_dir == Path.home() / "out"
