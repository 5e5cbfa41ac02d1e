"""MGDA as a strategy: normalisations, promises."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, STATIONARY, draws, least_cosine, mixed_draws, relative_difference
from stateful_values import observe

from coral_mtl.engine.gradient_strategies import mgda
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.errors import MissingExtraError, StrategyError

NORMALIZATIONS = ["none", "l2", "loss", "loss+"]


def direction(gradients, losses=None, **options):
    return MGDA(**options).decide(observe(gradients, losses)).coefficients @ gradients


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_normalised_gradients_have_equal_products_with_the_direction(normalization):
    """<g_t / s_t, d> = |d|^2 where w_t > 0, and no less elsewhere."""
    gradients = draws(SOLVABLE[0], 5, 1)[0] * np.array([1.0, 3.0, 0.2, 10.0, 1.0])[:, None]
    losses = np.array([0.5, 2.0, 1.0, 4.0, 0.1])
    norms = np.linalg.norm(gradients, axis=1)
    divisors = {"none": np.ones(5), "l2": norms, "loss": losses, "loss+": losses * norms}[normalization]
    decision = MGDA(normalization=normalization).decide(observe(gradients, losses))
    found = decision.coefficients @ gradients
    products = gradients @ found / divisors / (found @ found)
    np.testing.assert_allclose(products[decision.coefficients > 0.0], 1.0, rtol=1e-10)
    assert products.min() >= 1.0 - 1e-10
    assert (decision.coefficients * divisors).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_no_task_is_hurt(normalization):
    for gradients in mixed_draws(200):
        losses = np.random.default_rng(len(gradients)).uniform(0.1, 10.0, len(gradients))
        decision = MGDA(normalization=normalization).decide(observe(gradients, losses))
        assert least_cosine(gradients, decision.coefficients) >= -1e-9


def test_l2_does_not_see_the_scale_of_a_gradient():
    gradients = draws(SOLVABLE[6], 5, 1)[0]
    scaled = gradients * np.logspace(-6, 6, 5)[:, None]
    assert relative_difference(direction(scaled, normalization="l2"), direction(gradients, normalization="l2")) <= 1e-10


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_one_task(normalization):
    decision = MGDA(normalization=normalization).decide(observe(np.array([[3.0, 4.0]]), np.array([2.0])))
    expected = {"none": 1.0, "l2": 0.2, "loss": 0.5, "loss+": 0.1}[normalization]
    np.testing.assert_allclose(decision.coefficients, [expected])


def test_a_stationary_point_is_recorded():
    gradients = draws(STATIONARY[0], 4, 1)[0]
    decision = MGDA().decide(observe(gradients))
    assert decision.solution.status is Status.STATIONARY
    assert np.linalg.norm(decision.coefficients @ gradients) <= 1e-7


@pytest.mark.parametrize("solver", ["qp", "pgd"])
def test_other_solvers_agree(solver):
    gradients = draws(SOLVABLE[0], 6, 1)[0]
    assert relative_difference(direction(gradients, solver=solver), direction(gradients)) <= 1e-6


def test_projected_gradient_reads_its_options():
    gradients = draws(SOLVABLE[1], 20, 1)[0]
    decision = MGDA(solver="pgd", max_iterations=3, tolerance=1e-12).decide(observe(gradients))
    assert decision.solution.status is Status.INACCURATE
    assert decision.solution.iterations == 3


@pytest.mark.parametrize("option", ["max_iterations", "tolerance"])
def test_options_that_the_solver_does_not_read_are_refused(option):
    with pytest.raises(StrategyError, match="only solver: pgd reads it"):
        MGDA(**{option: 7})


@pytest.mark.parametrize("loss", [0.0, -0.3])
def test_losses_to_divide_by_must_be_positive(loss):
    with pytest.raises(StrategyError, match=r"loss of 'task_1', which is .*\n.*must be positive"):
        direction(np.eye(2), np.array([1.0, loss]), normalization="loss")


def test_a_missing_extra_is_told_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(mgda, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'coral-mtl\[solvers\]'"):
        MGDA(solver="qp")
    MGDA()
