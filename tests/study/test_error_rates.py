"""How often the verdict is wrong, measured on simulated comparisons; docs/comparing.md tells these figures.

Every comparison is judged as real ones are. `SD` is the standard deviation of the paired differences of two strategies.
"""

import math

import numpy as np
import pytest

from coral_mtl.study.statistics import Panel, holm
from coral_mtl.study.verdict import Field, judge

COMPARISONS = 1000
SD = math.sqrt(2)


def simulated(rng, means, seeds, spreads=1.0):
    """Figures of strategies with these means; seeds differ among one another much more than strategies do."""
    noise = rng.normal(size=(len(means), seeds)) * np.broadcast_to(spreads, len(means))[:, None]
    return np.asarray(means, float)[:, None] + noise + 5 * rng.normal(size=seeds)


def winners(means, seeds, spreads=1.0, comparisons=COMPARISONS):
    """Share of the comparisons with a clear winner, by strategy."""
    rng = np.random.default_rng(len(means) * 100 + seeds)
    labels = [str(k) for k in range(len(means))]
    found = dict.fromkeys(labels, 0)
    for _ in range(comparisons):
        verdict = judge(Field(labels, Panel(simulated(rng, means, seeds, spreads)), [0] * len(labels)))
        if verdict.kind == "clear winner":
            found[verdict.leader] += 1
    return [found[label] / comparisons for label in labels]


def bound(rate):
    """What a true rate can be measured as: three standard errors above it."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / COMPARISONS)


@pytest.mark.parametrize("strategies", [2, 4, 8])
@pytest.mark.parametrize("seeds", [3, 5])
def test_identical_strategies_have_no_clear_winner_in_95_of_100_comparisons(strategies, seeds):
    tied = [0, 0, *[-20] * (strategies - 2)]
    assert sum(winners(tied, seeds)) <= bound(0.05)
    assert sum(winners([0] * strategies, seeds)) <= bound(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("strategies", [2, 4, 8])
def test_a_difference_of_two_deviations_is_found_with_five_seeds_in_90_of_100_comparisons(strategies):
    assert winners([2 * SD, *[0] * (strategies - 1)], seeds=5, comparisons=4 * COMPARISONS)[0] >= 0.9


@pytest.mark.parametrize("strategies", [4, 8])
def test_strategies_twice_as_noisy_as_the_others_are_called_winners_not_much_too_often(strategies):
    tied = [0, 0, *[-20] * (strategies - 2)]
    assert sum(winners(tied, 5, [2, 2, *[1] * (strategies - 2)])) <= bound(0.09)


@pytest.mark.parametrize(("strategies", "least"), [(8, 0.75), (16, 0.72)])
def test_two_noisy_strategies_do_not_hide_what_the_quiet_ones_show(strategies, least):
    spreads = [*[1] * (strategies - 2), 4, 10]
    ahead = [2 * SD, *[0] * (strategies - 3), -20, -20]
    assert winners(ahead, 5, spreads)[0] >= least
    assert sum(winners([0, 0, *[-20] * (strategies - 2)], 5, spreads)) <= bound(0.05)


def test_among_spreads_of_two_orders_of_magnitude_a_quiet_lead_over_a_quiet_baseline_is_found():
    rng = np.random.default_rng(1)
    wrong = found = 0
    for _ in range(COMPARISONS // 2):
        spreads = 10 ** (0.5 * rng.normal(size=18))  # 95 % of them between 0.1 and 10
        panel = Panel(simulated(rng, [0] * 18, 10, spreads))
        wrong += any(p < 0.05 and panel.figures[k].mean() > panel.figures[0].mean() for k, p in against_first(panel))
        quiet = np.array([0.3, 0.3, *spreads[2:]])
        panel = Panel(simulated(rng, [0, 2 * SD * 0.3, *[0] * 16], 10, quiet))
        found += dict(against_first(panel))[1] < 0.05
    assert wrong / (COMPARISONS // 2) <= 0.05
    assert found / (COMPARISONS // 2) >= 0.85, "one noise for all would find it in 1 of 10"


def against_first(panel):
    """Adjusted p-values of each strategy against the first."""
    others = range(1, len(panel.figures))
    return zip(others, holm([panel.p(k, 0) for k in others]), strict=True)


def test_one_of_seven_equal_strategies_is_called_different_from_the_baseline_in_5_of_100_comparisons():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(COMPARISONS):
        wrong += min(p for _, p in against_first(Panel(simulated(rng, [0] * 8, seeds=5)))) < 0.05
    assert wrong / COMPARISONS <= bound(0.05)


@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 0.72, 0.80), (5, 0.80, 0.88)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, least, most):
    rng = np.random.default_rng(seeds)
    held = np.zeros(2)
    for _ in range(COMPARISONS):
        found = Panel(simulated(rng, [0, 0, 0, 0], seeds)).difference(0, 1)
        held += [found.interval[0] <= 0 <= found.interval[1], found.bootstrap[0] <= 0 <= found.bootstrap[1]]
    by_t, by_bootstrap = held / COMPARISONS
    assert by_t >= 0.94
    assert least < by_bootstrap < most, "the percentile bootstrap is too narrow, as docs/comparing.md says"
