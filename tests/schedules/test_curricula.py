"""Plans of weights against the figures of the functions that they come from, where these are continuous."""

import json
from pathlib import Path

import pytest

from coral_mtl.errors import ConfigError
from coral_mtl.schedules import Horizon
from coral_mtl.schedules.curricula import cascade, crossfade

PEER = json.loads((Path(__file__).parents[1] / "reference/component_weights.json").read_text())
RUN = Horizon(steps=100, steps_per_epoch=1)


def weights(schedules, epoch):
    return [schedule.bind(RUN)(epoch) for schedule in schedules]


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_structure_to_boundary(shape):
    plan = crossfade("10 epochs", 1.0, low=0.1, high=2.0, shape=shape)
    for epoch, expected in PEER["structure_boundary"][shape].items():
        assert weights(plan, int(epoch)) == pytest.approx(expected, abs=1e-12)
    assert weights(plan, 0) == [2.0, 0.1], "continuous: what is before the change is where it begins"


def test_three_terms():
    """The first term's weight and where all end are theirs; the others enter from 0 and not with a jump."""
    plan = cascade(["40 epochs", "60 epochs"], RUN, high=2.0, shape="linear")
    for epoch, expected in PEER["progressive_hybrid"].items():
        assert weights(plan, int(epoch))[0] == pytest.approx(expected[0], abs=1e-12)
    assert weights(plan, 80) == pytest.approx(PEER["progressive_hybrid"]["80"], abs=1e-12)
    assert weights(plan, 40) == [2.0, 0.0, 0.0]


def test_four_terms():
    plan = cascade(["32.5 epochs", "55 epochs", "77.5 epochs"], RUN, high=2.0, shape="linear")
    for epoch, expected in PEER["complexity_cascade"].items():
        assert weights(plan, int(epoch))[0] == pytest.approx(expected["dice"], abs=1e-12)
    assert weights(plan, 100) == pytest.approx([1.4, 1.4, 1.6, 1.0], abs=1e-12)
    assert weights(plan, 55)[2:] == [0.0, 0.0]


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_weights_do_not_jump(shape):
    run = Horizon(steps=10_000, steps_per_epoch=100)
    for plan in (
        crossfade("10 epochs", 1.0, low=0.1, high=2.0, shape=shape),
        cascade([0.25, 0.5, 0.75], run, high=2.0, shape=shape),
    ):
        for schedule in plan:
            curve = schedule.bind(run)
            assert max(abs(curve(step + 1) - curve(step)) for step in range(10_000)) < 2e-3


@pytest.mark.parametrize("times", [["0 epochs"], ["50 epochs", "40 epochs"], ["40 epochs", "100 epochs"]])
def test_times_increase_within_the_run(times):
    with pytest.raises(ConfigError, match="increasing times, after 0 and before the end"):
        cascade(times, RUN, high=2.0, shape="linear")
