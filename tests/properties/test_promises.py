"""What a strategy promises holds: its promises are read from the object, and each is tried on hard matrices."""

import numpy as np
import pytest
from every_strategy import CASES, direction, names, observe, run, take, walk
from gradient_families import extended
from hard_gradients import ANY, SOLVABLE, scattered

from coral_mtl.engine.solvers.solution import Status

MATRICES = 10_000
SMALLEST = 2e-16


def those_that(promise):
    """The cases that promise something, by their present options."""
    return pytest.mark.parametrize("case", [case for case in CASES if promise(case.build(4).promises)], ids=repr)


def draw(family, seed, most_tasks=10):
    generator = np.random.default_rng([seed, ANY.index(family)])
    return family(generator, int(generator.integers(2, most_tasks + 1)))


def matrices(number):
    """Random matrices, and as many of every adversarial family."""
    for seed in range(number // 2):
        yield draw(scattered, seed)
    for seed in range(number - number // 2):
        yield draw(ANY[seed % len(ANY)], seed)


def decided(case, gradients):
    strategy = case.build(len(gradients))
    return take(strategy, observe(strategy, gradients))


def account(decision, gradients):
    """<g_t, d>/|g_t|, |d|, and what rounding may make of either, in extended precision."""
    found = extended(direction(decision, gradients))
    if decision.direction is None:
        found = extended(decision.coefficients) @ extended(gradients)
    lengths = np.linalg.norm(gradients, axis=1)
    gains = extended(gradients) @ found / np.where(lengths > 0.0, lengths, 1.0)
    reach = float(np.abs(decision.coefficients) @ lengths)
    return gains.astype(float), float(np.sqrt(found @ found)), 16 * len(gradients) * SMALLEST * reach


def excuse(decision):
    """How far a solver that stopped early says it is off; None at a stationary point, where d is rounding alone."""
    if decision.solution is None or decision.solution.status is Status.SOLVED:
        return 0.0
    return None if decision.solution.status is Status.STATIONARY else decision.solution.residual


def worst_cosine(case, number):
    """The least cos(d, g_t) where a solver says SOLVED and d is well above the rounding of the Gram matrix.

    Elsewhere it must not be further below zero than the rounding, or the residual of a solver that stopped, allows.
    """
    worst = 1.0
    for gradients in matrices(number):
        decision = decided(case, gradients)
        gains, length, rounding = account(decision, gradients)
        allowed = excuse(decision)
        if allowed is None:
            continue
        assert gains.min() >= -(1e-9 + allowed) * length - rounding, f"{case}: {gains.min() / length} for {gradients!r}"
        if not allowed and rounding <= 1e-9 * length:
            worst = min(worst, gains.min() / length)
    return worst


def without_variants(promise):
    """Of the cases that promise something, those that differ in what they solve."""
    variants = (
        "reduction",
        "preference",
        "update_frequency",
        "rescale",
        "solver",
        "Uncertainty",
        "clipped",
        "alpha=5.0",
    )
    cases = [case for case in CASES if promise(case.build(4).promises) and not any(v in case.name for v in variants)]
    return pytest.mark.parametrize("case", cases, ids=repr)


@those_that(lambda promises: promises.non_conflicting)
def test_no_task_is_hurt(case):
    assert -1e-9 <= worst_cosine(case, 400) < 0.1


@pytest.mark.slow
@without_variants(lambda promises: promises.non_conflicting)
def test_no_task_is_hurt_in_ten_thousand_matrices(case):
    assert worst_cosine(case, MATRICES) >= -1e-9


@pytest.mark.parametrize("case", [case for case in CASES if decided(case, np.eye(3)).solution is not None], ids=repr)
def test_solvers_seldom_stop_early(case):
    """In families with a solution; a residual of 1e-8 is the rounding of what is nearly stationary."""
    solutions = [decided(case, draw(SOLVABLE[i % len(SOLVABLE)], i)).solution for i in range(20 * len(SOLVABLE))]
    early = [s for s in solutions if s.status is Status.INACCURATE and s.residual > 1e-8]
    assert len(early) <= (0.5 if "pgd" in case.name else 0.02) * len(solutions)


@those_that(lambda promises: promises.descends_mean)
def test_the_mean_loss_falls(case):
    for gradients in matrices(200):
        decision = decided(case, gradients)
        allowed = excuse(decision)
        if allowed is None:
            continue
        mean = gradients.mean(axis=0)
        _, length, rounding = account(decision, gradients)
        slope = float(extended(direction(decision, gradients)) @ extended(mean))
        assert slope >= -((1e-9 + allowed) * length + rounding) * np.linalg.norm(gradients, axis=1).mean()


@those_that(lambda promises: promises.simplex)
def test_coefficients_are_shares_of_one(case):
    for gradients in matrices(200):
        coefficients = decided(case, gradients).coefficients
        assert coefficients.min() >= 0.0
        assert coefficients.sum() == pytest.approx(1.0, abs=1e-9)


@those_that(lambda promises: promises.nonnegative)
def test_no_coefficient_is_negative(case):
    for gradients in matrices(200):
        assert decided(case, gradients).coefficients.min() >= 0.0


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_directions_have_coefficients_where_promised_and_nowhere_else(case):
    promised = case.build(3).promises.combination
    assert (decided(case, np.eye(3)).direction is None) is promised


def same_direction(first, second):
    """1 - cos of the angle between two directions, 0 for two that vanish."""
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if lengths[0] == lengths[1] == 0.0:
        return 0.0
    return 1.0 - first @ second / lengths[0] / lengths[1]


@those_that(lambda promises: promises.scale != "none")
@pytest.mark.parametrize("factor", [2.0**-30, 2.0**30])
def test_a_common_factor_on_the_gradients_keeps_the_direction(case, factor):
    for count in (2, 3, 6):
        steps = walk(4, count=count, seed=count)
        plain = run(case.build(count), steps)
        scaled = run(case.build(count), [(factor * gradients, losses) for gradients, losses in steps])
        for first, second in zip(plain, scaled, strict=True):
            assert same_direction(first, second) <= 1e-12


@those_that(lambda promises: promises.scale == "per_task")
def test_factors_on_single_gradients_keep_the_direction(case):
    for count in (2, 3, 6):
        steps = walk(4, count=count, seed=count)
        factors = 10.0 ** np.random.default_rng(count).uniform(-4, 4, (count, 1))
        plain = run(case.build(count), steps)
        scaled = run(case.build(count), [(factors * gradients, losses) for gradients, losses in steps])
        for first, second in zip(plain, scaled, strict=True):
            assert same_direction(first, second) <= 1e-12


@those_that(lambda promises: promises.permutation)
def test_the_order_of_the_tasks_does_not_matter(case):
    for count in (2, 3, 6):
        strategy, reordered = case.build(count), case.build(count)
        order = np.random.default_rng(count).permutation(count)
        tasks = tuple(np.array(names(count))[order].tolist())
        for step, (gradients, losses) in enumerate(walk(4, count=count, seed=count)):
            first = take(strategy, observe(strategy, gradients, losses, step=step))
            moved = observe(reordered, gradients[order], losses[order], step=step, tasks=tasks)
            second = take(reordered, moved)
            np.testing.assert_allclose(second.coefficients, first.coefficients[order], rtol=1e-7, atol=1e-12)
            ours, theirs = direction(first, gradients), direction(second, gradients[order])
            np.testing.assert_allclose(theirs, ours, rtol=0.0, atol=1e-9 * np.linalg.norm(ours))


@pytest.mark.parametrize(
    "promise", ["non_conflicting", "descends_mean", "simplex", "nonnegative", "permutation", "combination"]
)
def test_every_promise_is_made_by_some_and_not_by_all(promise):
    made = [getattr(case.build(4).promises, promise) for case in CASES]
    assert 0 < sum(made) < len(made)


def test_hard_families_are_hard():
    """The equally weighted sum hurts a task in most of the families, so that the tests above mean something."""
    hurt = 0
    for family in SOLVABLE:
        gains = [(gradients @ gradients.sum(axis=0)).min() for gradients in (draw(family, seed) for seed in range(20))]
        hurt += min(gains) < 0.0
    assert hurt >= len(SOLVABLE) - 5
