import json
from pathlib import Path

import pytest

from coral_mtl.errors import ConfigError
from coral_mtl.schedules import constant, polynomial_decay

PEER = json.loads((Path(__file__).parents[1] / "reference" / "polynomial_decay.json").read_text())


def test_constant():
    assert [constant(step) for step in (0, 1, 10**9)] == [1.0, 1.0, 1.0]


def test_linear_case_by_hand():
    factors = [polynomial_decay(step, total=6, warmup=2, end_factor=0.2) for step in range(8)]
    assert factors == pytest.approx([0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_quadratic_case_by_hand():
    factors = [polynomial_decay(step, total=4, power=2.0) for step in range(5)]
    assert factors == pytest.approx([1.0, 9 / 16, 4 / 16, 1 / 16, 0.0])


@pytest.mark.parametrize("name", PEER["sequences"])
def test_decay_agrees_with_transformers(name):
    peer = PEER["sequences"][name]
    base, end, options = peer["lr"], peer["lr_end"], peer["options"]
    for step, expected in enumerate(peer["values"]):
        if step >= options["warmup"]:
            assert base * polynomial_decay(step, **options, end_factor=end / base) == pytest.approx(
                expected, rel=1e-9, abs=1e-18
            )


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (2, 1), (10, 9), (1000, 100)])
def test_no_step_of_the_run_is_wasted(total, warmup):
    factors = [polynomial_decay(step, total=total, warmup=warmup, power=0.9) for step in range(total)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert max(factors) == 1.0
    assert factors[: warmup + 1] == sorted(factors[: warmup + 1])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert polynomial_decay(total, total=total, warmup=warmup) == polynomial_decay(10 * total, total=total) == 0.0


@pytest.mark.parametrize(("total", "warmup"), [(10, 10), (10, 11), (10, -1), (0, 0)])
def test_a_warm_up_must_fit(total, warmup):
    with pytest.raises(ConfigError, match=f"warm-up of {warmup} steps does not fit into {total}"):
        polynomial_decay(0, total=total, warmup=warmup)
