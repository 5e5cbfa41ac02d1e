"""A strategy's memory: through a file and back, forgotten on request, and free of the global random generators."""

import random

import numpy as np
import pytest
import torch
from every_strategy import CASES, missing_options, run, through_a_file, walk

each = pytest.mark.parametrize("case", CASES, ids=repr)
STEPS = walk(9)


def test_every_registered_strategy_is_in_the_table():
    assert missing_options() == set()


@each
@pytest.mark.parametrize("cut", [1, 4])
def test_resuming_from_a_file_goes_on_bit_for_bit(case, cut):
    whole = run(case.build(4), STEPS)
    first = case.build(4)
    run(first, STEPS[:cut])
    resumed = case.build(4)
    resumed.load_state_dict(through_a_file(first.state_dict()))
    for found, expected in zip(run(resumed, STEPS[cut:], start=cut), whole[cut:], strict=True):
        np.testing.assert_array_equal(found, expected)


@each
def test_a_state_is_a_copy(case):
    strategy = case.build(4)
    run(strategy, STEPS[:3])
    state = strategy.state_dict()
    expected = run(strategy, STEPS[3:], start=3)
    strategy.load_state_dict(state)
    for found, wanted in zip(run(strategy, STEPS[3:], start=3), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@each
def test_reset_forgets_everything(case):
    strategy = case.build(4)
    fresh = run(strategy, STEPS)
    strategy.reset()
    for found, wanted in zip(run(strategy, STEPS), fresh, strict=True):
        np.testing.assert_array_equal(found, wanted)


@each
def test_the_users_seeds_change_nothing_and_are_not_touched(case):
    outcomes = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
        outcomes.append(run(case.build(4), STEPS))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]
        assert random.getstate() == before[2]
    for first, second in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["Random", "PCGrad", "GradVac", "GradDrop"])
def test_the_strategys_own_seed_does(name):
    from coral_mtl import registry

    first, second = (run(registry.strategies.get(name)(seed=seed), STEPS) for seed in (0, 1))
    assert any((a != b).any() for a, b in zip(first, second, strict=True))
