"""IMGrad in both modes: the guard, the facts that its text claims."""

import numpy as np
import pytest
from gradient_families import (
    SOLVABLE,
    STATIONARY,
    draws,
    extended,
    least_cosine,
    mixed_draws,
    relative_difference,
)
from stateful_values import observe

from coral_mtl.engine.gradient_strategies import mgda
from coral_mtl.engine.gradient_strategies.imgrad import IMGrad
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.errors import MissingExtraError, StrategyError

FORMS = ["sin2", "one_minus_cos", "half"]
VARIANTS = ["paper", "paper_simplified", "official"]


def decide(gradients, **options):
    return IMGrad(**options).decide(observe(gradients))


def test_no_task_is_hurt_in_ten_thousand_matrices():
    for gradients in mixed_draws(10_000):
        assert least_cosine(gradients, decide(gradients).coefficients) >= -1e-9


@pytest.mark.parametrize("f", FORMS)
def test_the_guard_keeps_every_task_from_harm_and_is_needed(f):
    matrices = mixed_draws(300)
    assert min(least_cosine(g, decide(g, f=f).coefficients) for g in matrices) >= -1e-9
    assert min(least_cosine(g, decide(g, f=f, guard=False).coefficients) for g in matrices) <= -0.1


def test_the_guard_takes_no_more_than_it_needs():
    """Where it binds, the worst task neither gains nor loses."""
    bound = 0
    for gradients in mixed_draws(200):
        decision = decide(gradients, f="half")
        if decision.records["imgrad_alpha"] == decision.records["imgrad_alpha_guard"]:
            bound += 1
            assert least_cosine(gradients, decision.coefficients) == pytest.approx(0.0, abs=1e-9)
    assert bound > 50


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("f", FORMS)
def test_the_blend_descends_the_mean_and_lies_between_the_two_lengths(f, guard):
    for gradients in mixed_draws(100):
        mean, fairest = gradients.mean(axis=0), min_norm(gradients @ gradients.T).weights @ gradients
        decision = decide(gradients, f=f, guard=guard)
        direction = decision.coefficients @ gradients
        assert direction @ mean >= (1.0 - 1e-9) * (fairest @ fairest)
        assert np.linalg.norm(fairest) * (1.0 - 1e-9) <= np.linalg.norm(direction)
        assert np.linalg.norm(direction) <= np.linalg.norm(mean) * (1.0 + 1e-9)
        assert decision.coefficients.sum() == pytest.approx(1.0)
        assert (decision.coefficients >= 0.0).all()


def test_cosine_of_the_mean_and_the_min_norm_point():
    gradients = draws(SOLVABLE[6], 5, 1)[0]
    mean = extended(gradients).mean(axis=0)
    fairest = extended(min_norm(gradients @ gradients.T).weights) @ extended(gradients)
    expected = mean @ fairest / np.sqrt((mean @ mean) * (fairest @ fairest))
    for options in ({}, {"mode": "cagrad"}):
        assert decide(gradients, **options).records["imgrad_cos_theta"] == pytest.approx(float(expected), rel=1e-12)


def test_by_hand():
    """g = (2, 0), (0, 1): g_0 = (1, 0.5), g_m = (0.4, 0.8), cos^2 = 0.64, d = 0.64 g_0 + 0.36 g_m."""
    gradients = np.diag([2.0, 1.0])
    decision = decide(gradients)
    assert decision.records["imgrad_cos_theta"] == pytest.approx(0.8)
    assert decision.records["imgrad_alpha"] == pytest.approx(0.36)
    assert decision.records["imgrad_alpha_guard"] == 0.0
    np.testing.assert_allclose(decision.coefficients @ gradients, [0.784, 0.608])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_form_lies_on_the_edge_of_the_ball(variant):
    gradients = draws(SOLVABLE[6], 5, 1)[0]
    mean = gradients.mean(axis=0)
    direction = decide(gradients, mode="cagrad", c=0.5, variant=variant).coefficients @ gradients
    assert np.linalg.norm(direction - mean) == pytest.approx(0.5 * np.linalg.norm(mean), rel=1e-10)


@pytest.mark.parametrize(("rescale", "divisor"), [(1, 1.25), (2, 1.5)])
def test_rescale(rescale, divisor):
    gradients = draws(SOLVABLE[0], 3, 1)[0]
    plain = decide(gradients, mode="cagrad", c=0.5).coefficients
    scaled = decide(gradients, mode="cagrad", c=0.5, rescale=rescale).coefficients
    np.testing.assert_allclose(scaled, plain / divisor, rtol=1e-14)


@pytest.mark.parametrize("options", [{}, *({"mode": "cagrad", "variant": variant} for variant in VARIANTS)])
def test_a_common_scale_scales_the_direction(options):
    gradients = draws(SOLVABLE[6], 5, 1)[0]
    expected = decide(gradients, **options).coefficients
    for scale in (1e-12, 1e12):
        np.testing.assert_allclose(decide(scale * gradients, **options).coefficients, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{"f": f} for f in FORMS] + [{"mode": "cagrad", "variant": variant} for variant in VARIANTS]
)
def test_one_task(options):
    expected = 1.8 if "mode" in options else 1.0
    decision = decide(np.array([[3.0, 4.0]]), **options)
    np.testing.assert_allclose(decision.coefficients, [expected])
    assert decision.records["imgrad_cos_theta"] == pytest.approx(1.0)


@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
def test_stationary_points(family):
    for gradients in draws(family, 4, 5):
        decision = decide(gradients)
        assert decision.solution.status is Status.STATIONARY
        assert decision.records["imgrad_cos_theta"] == 0.0
        lengths = decision.coefficients @ np.linalg.norm(gradients, axis=1)
        assert np.linalg.norm(decision.coefficients @ gradients) <= 1e-7 * lengths
        for variant in VARIANTS:
            published = decide(gradients, mode="cagrad", variant=variant)
            assert np.isfinite(published.coefficients).all()


@pytest.mark.parametrize("solver", ["qp", "pgd"])
def test_other_solvers_agree(solver):
    gradients = draws(SOLVABLE[0], 6, 1)[0]
    expected = decide(gradients).coefficients @ gradients
    assert relative_difference(decide(gradients, solver=solver).coefficients @ gradients, expected) <= 1e-6


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"c": 0.5}, "c"),
        ({"variant": "paper"}, "variant"),
        ({"rescale": 0}, "rescale"),
        ({"mode": "cagrad", "f": "half"}, "f"),
        ({"mode": "cagrad", "guard": True}, "guard"),
    ],
)
def test_options_of_the_other_mode_are_refused(options, idle):
    with pytest.raises(StrategyError, match=f"{idle} has no effect"):
        IMGrad(**options)


def test_a_missing_extra_is_told_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(mgda, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="IMGrad with solver: qp needs the package 'cvxopt'"):
        IMGrad(solver="qp")
