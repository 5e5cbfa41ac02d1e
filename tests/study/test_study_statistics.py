"""The figures of a comparison against closed forms, hand-made cases, and a second way to the same number."""

import math
from itertools import product

import numpy as np
import pytest

from coral_mtl.study.statistics import (
    Panel,
    bootstrap_interval,
    delta_m,
    hedges_g,
    holm,
    ranks,
    sign_flip_p,
)
from coral_mtl.study.student import critical_value, two_sided_p

RNG = np.random.default_rng(0)


def test_two_strategies_are_the_paired_t_test():
    figures = RNG.normal(size=(2, 5)) + 10 * RNG.normal(size=5)
    d = figures[0] - figures[1]
    error = d.std(ddof=1) / math.sqrt(5)
    found = Panel(figures).difference(0, 1)
    assert found.mean == pytest.approx(d.mean())
    assert found.p == pytest.approx(two_sided_p(d.mean() / error, 4), rel=1e-9)
    reach = critical_value(0.05, 4) * error
    assert found.interval == pytest.approx((d.mean() - reach, d.mean() + reach))
    assert found.spread == pytest.approx(d.std(ddof=1))


def test_seeds_that_are_harder_than_others_change_nothing():
    figures = RNG.normal(size=(4, 6))
    shifted = figures + 100 * RNG.normal(size=6)
    for a, b in ((0, 1), (2, 3)):
        assert Panel(shifted).p(a, b) == pytest.approx(Panel(figures).p(a, b), rel=1e-6)


def test_strategies_that_are_alike_share_what_they_show_of_the_noise():
    found = [Panel(3 * RNG.normal(size=(4, 5))).standard_error(0, 1) for _ in range(2000)]
    variances, degrees = np.array([(error**2 * 5, degrees) for error, degrees in found]).T
    assert variances.mean() == pytest.approx(18.0, rel=0.05)
    assert np.mean(degrees) > 7.0, "the pair alone has 4, all together 12"
    assert variances.std() < 0.85 * 18.0 * math.sqrt(2 / 4), "the pair alone has 18 sqrt(2 / 4)"


def test_a_noisy_pair_neither_hides_among_quiet_ones_nor_blurs_them():
    figures = np.vstack([RNG.normal(size=(2, 5)), 0.01 * RNG.normal(size=(4, 5))])
    panel = Panel(figures)
    for a, b in ((0, 1), (2, 3), (4, 5)):
        error, degrees = panel.standard_error(a, b)
        assert 0.3 < error / ((figures[a] - figures[b]).std(ddof=1) / math.sqrt(5)) < 3
        assert degrees == pytest.approx(4, abs=1)


def test_strategies_set_apart_leave_the_others_alone():
    figures = RNG.normal(size=(3, 5))
    wild = np.vstack([figures, [0.0, 0.0, 90.0, 0.0, 70.0]])
    panel = Panel(wild, apart=[3])
    assert panel.p(0, 1) == Panel(figures).p(0, 1)
    assert panel.p(0, 3) == pytest.approx(Panel(wild[[0, 3]]).p(0, 1)), "a paired test of its own"
    assert Panel(wild[[0, 3]], apart=[0, 1]).p(0, 1) == pytest.approx(panel.p(0, 3))


def test_the_detectable_difference_is_found_with_the_promised_probability():
    # The power is 0.8 at the true standard error, so the estimate is judged by what it is on average.
    detectable = np.mean([Panel(RNG.normal(size=(4, 8))).difference(0, 1).detectable for _ in range(200)])
    shift = np.array([detectable, 0, 0, 0])[:, None]
    found = np.mean([Panel(RNG.normal(size=(4, 8)) + shift).p(0, 1) < 0.05 for _ in range(2000)])
    assert 0.7 < found < 0.9


def test_fewer_than_three_seeds_have_no_test():
    found = Panel(RNG.normal(size=(3, 2))).difference(0, 1)
    assert found.mean is not None
    assert (found.interval, found.p, found.effect, found.bootstrap) == (None, None, None, None)
    assert Panel(RNG.normal(size=(3, 1))).difference(0, 1).spread is None


def test_equal_figures_have_p_one_and_constant_differences_p_zero():
    figures = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    assert Panel(figures).p(0, 1) == 1.0
    assert Panel(figures + np.array([[0.5], [0.0]])).p(0, 1) == 0.0
    assert Panel(figures).difference(0, 1).effect is None


def test_sign_flips_by_counting():
    differences = np.array([0.3, 0.1, -0.2, 0.4])
    totals = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=4)]
    assert sign_flip_p(differences) == sum(total >= 0.6 - 1e-12 for total in totals) / 16
    assert sign_flip_p(np.ones(5)) == 2 / 32, "the smallest that five seeds can have"


def test_many_sign_flips_are_drawn():
    differences = RNG.normal(size=20) + 0.4
    exact = two_sided_p(differences.mean() / (differences.std(ddof=1) / math.sqrt(20)), 19)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.02)


def test_the_bootstrap_is_seeded_and_too_narrow_for_few_seeds():
    differences = RNG.normal(size=5)
    assert bootstrap_interval(differences) == bootstrap_interval(differences)
    low, high = bootstrap_interval(differences)
    assert differences.min() <= low < differences.mean() < high <= differences.max()
    interval = Panel(np.vstack([differences, np.zeros(5)])).difference(0, 1).interval
    assert high - low < 0.8 * (interval[1] - interval[0])


def test_hedges_correction_makes_the_effect_unbiased():
    effects = [hedges_g(RNG.normal(loc=1.0, size=5)) for _ in range(20000)]
    assert np.mean(effects) == pytest.approx(1.0, abs=0.03)
    plain = np.array([3.0, 1.0, 2.0])
    assert hedges_g(plain) == pytest.approx(2.0 * math.gamma(1.0) / math.gamma(0.5))


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5], [0.5]),
        ([0.4, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([], []),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)


def test_ranks_share_the_places_of_ties():
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [1.5, 4.0, 1.5, 3.0]
    assert ranks(np.array([-np.inf, 0.0])).tolist() == [2.0, 1.0]


def test_delta_m_signs_each_task_by_its_direction():
    base = {"genus": 0.5, "depth": 2.0}
    larger = {"genus": True, "depth": False}
    assert delta_m({"genus": 0.55, "depth": 1.8}, base, larger) == pytest.approx(10.0)
    assert delta_m({"genus": 0.45, "depth": 2.0}, base, larger) == pytest.approx(-5.0)
    assert delta_m(base, base, larger) == 0.0
    negative = {"genus": -0.5, "depth": 2.0}
    assert delta_m({"genus": -0.25, "depth": 2.0}, negative, larger) == pytest.approx(25.0), "better is above 0"


@pytest.mark.parametrize("figures", [{"genus": math.nan, "depth": 1.0}, {"genus": 0.5}])
def test_delta_m_of_what_is_not_there_is_none(figures):
    assert delta_m(figures, {"genus": 0.5, "depth": 2.0}, {"genus": True, "depth": False}) is None


def test_delta_m_has_no_scale_at_a_baseline_of_zero():
    assert delta_m({"genus": 0.5}, {"genus": 0.0}, {"genus": True}) is None
