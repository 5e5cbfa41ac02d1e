"""Names on the command line to overrides that the configuration accepts."""

from pathlib import Path

import pytest

from coral_mtl.config import load_config
from coral_mtl.errors import ConfigError
from coral_mtl.experiment import build_strategy, strategy_name
from coral_mtl.study.contenders import contender, contenders, single_task, split_outside, static_grid, tuned

BASE = """
data: {type: OverlappingDigits, params: {train_size: 60, validation_size: 20}}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
loss: {weighting_strategy: {type: Uncertainty, params: {clamp: 5.0}}}
diagnostics: {gradient_every: 7}
"""
STACK = """
data: {type: OverlappingDigits, params: {train_size: 60, validation_size: 20}}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
loss: {weighting_strategy: {type: PCGrad, over: {type: Uncertainty, params: {clamp: 5.0}}}}
"""
TERMS = ("left", "right", "ink")


@pytest.fixture
def base(tmp_path):
    def written(text: str = BASE) -> Path:
        path = tmp_path / "base.yaml"
        path.write_text(text)
        return path

    return written


def resolved(path, text, seed=3):
    each = contender(text, load_config(path))
    return each, load_config(path, each.overrides(0, seed))


@pytest.mark.parametrize(
    ("text", "separator", "parts"),
    [
        ("A, B(x=1, y=[1, 2]),C", ",", ["A", "B(x=1, y=[1, 2])", "C"]),
        ("A+B(x=1e+3)", "+", ["A", "B(x=1e+3)"]),
        ("A,", ",", ["A"]),
        ("", ",", []),
    ],
)
def test_split_outside_brackets(text, separator, parts):
    assert split_outside(text, separator) == parts


@pytest.mark.parametrize(
    ("text", "label", "name"),
    [
        ("nash_mtl", "NashMTL", "NashMTL"),
        ("NashMTL(update_frequency=10)", "NashMTL(update_frequency=10)", "NashMTL"),
        ("Uncertainty+PCGrad", "Uncertainty+PCGrad", "Uncertainty+PCGrad"),
        ("dwa(temperature=3.0)+NashMTL(update_frequency=2)", None, "DWA+NashMTL"),
        ("Static(weights={left: 1, right: 1, ink: 0.1})", None, "Static"),
    ],
)
@pytest.mark.parametrize("text_of_base", [BASE, STACK], ids=["plain", "stacked"])
def test_names_become_the_strategy(base, text_of_base, text, label, name):
    each, config = resolved(base(text_of_base), text)
    assert strategy_name(config) == name
    assert label is None or each.label == label
    assert config.seed == 3
    build_strategy(config)


def test_options_are_those_given_then_the_configurations_own(base):
    _, config = resolved(base(), "Uncertainty")
    assert config.loss.weighting_strategy.params["clamp"] == 5.0
    _, config = resolved(base(), "Uncertainty(clamp=6.0)+PCGrad")
    assert config.loss.weighting_strategy.over.params["clamp"] == 6.0
    _, config = resolved(base(), "Uncertainty+PCGrad")
    assert config.loss.weighting_strategy.over.params["clamp"] == 5.0
    _, config = resolved(base(STACK), "Uncertainty")
    assert config.loss.weighting_strategy.params["clamp"] == 5.0
    assert config.loss.weighting_strategy.over is None
    _, config = resolved(base(), "NashMTL(update_frequency=10)")
    assert config.loss.weighting_strategy.params["update_frequency"] == 10


def test_randomness_of_a_strategy_follows_the_seed_of_the_run_unless_given(base):
    def built(text, text_of_base=BASE):
        return build_strategy(resolved(base(text_of_base), text)[1])

    assert built("Random").seed == 3
    assert built("Random(seed=9)").seed == 9
    stack = built("Random+PCGrad")
    assert [part.seed for part in (stack.weighting, stack.strategy)] == [3, 3]
    assert built("Random", BASE.replace("Uncertainty, params: {clamp: 5.0}", "Random, params: {seed: 4}")).seed == 4


@pytest.mark.parametrize("text", ["NashMTL(", "NashMTL(10)", "A+B+C", "", "Nash MTL", "NashMTL(x y=1)"])
def test_what_cannot_be_read_is_told_with_the_form(base, text):
    with pytest.raises(ConfigError, match=r"write NAME, NAME\(option=value"):
        contender(text, load_config(base()))


def test_unknown_names_and_options_are_told_as_everywhere(base):
    with pytest.raises(ConfigError, match='did you mean "NashMTL"'):
        contender("NashMTLL", load_config(base()))
    with pytest.raises(ConfigError, match='did you mean "update_frequency"'):
        resolved(base(), "NashMTL(update_freq=2)")


def test_equal_and_random_are_always_there_once(base):
    config = load_config(base())
    assert [each.label for each in contenders(["MGDA"], config)] == ["Equal", "Random", "MGDA"]
    assert [each.label for each in contenders(["MGDA", "equal", "random"], config)] == ["MGDA", "Equal", "Random"]
    with pytest.raises(ConfigError, match="MGDA is named twice"):
        contenders(["MGDA", "mgda"], config)


def test_the_static_grid_keeps_the_sum_of_the_weights(base):
    each = static_grid(TERMS)
    assert len(each.variants) == 6
    for variant in range(6):
        weights = load_config(base(), each.overrides(variant, 0)).loss.weighting_strategy.params["weights"]
        assert sum(weights.values()) == pytest.approx(3.0, abs=1e-5)
        special = max(weights.values(), key=lambda w: abs(w - sorted(weights.values())[1]))
        assert special / sorted(weights.values())[1] == pytest.approx(5.0, rel=1e-4) or special / sorted(
            weights.values()
        )[1] == pytest.approx(0.2, rel=1e-4)
    assert len(static_grid(("a", "b")).variants) == 2, "5 to 1 is 1 to a fifth"


def test_a_single_task_has_all_the_weight(base):
    each = single_task(TERMS, "ink")
    config = load_config(base(STACK), each.overrides(0, 0))
    assert config.loss.weighting_strategy.params["weights"] == {"left": 0.0, "right": 0.0, "ink": 1.0}
    assert (each.label, each.task) == ("only ink", "ink")


def test_a_grid_multiplies_the_variants(base):
    grid = {"optimizer.params.lr": ("1e-3", "3e-3"), "optimizer.params.weight_decay": ("0", "0.1")}
    each = tuned(contender("Random", load_config(base())), grid)
    assert len(each.variants) == 4
    found = [load_config(base(), each.overrides(v, 5)) for v in range(4)]
    assert [c.optimizer.params["lr"] for c in found] == [1e-3, 1e-3, 3e-3, 3e-3]
    assert [c.optimizer.params["weight_decay"] for c in found] == [0.0, 0.1, 0.0, 0.1]
    assert {build_strategy(c).seed for c in found} == {5}
    assert len(tuned(static_grid(TERMS), grid).variants) == 24
