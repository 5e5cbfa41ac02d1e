"""Families of gradient matrices that solvers find hard, each (T, D) from a seed; and measures by another route.

The measures compute in extended precision, so that what they find is the fault of the weights and not their own.
"""

from collections.abc import Callable

import numpy as np

Family = Callable[[np.random.Generator, int], np.ndarray]
NEARNESS = 1e-4


def _dimension(tasks: int) -> int:
    return max(2 * tasks, 20)


def independent(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Standard normal gradients."""
    return generator.standard_normal((tasks, _dimension(tasks)))


def aligned(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Gradients that agree almost."""
    return 0.1 * independent(generator, tasks) + generator.standard_normal(_dimension(tasks))


def ill_conditioned(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Gradients whose Gram matrix has condition 1e8."""
    left, _, right = np.linalg.svd(independent(generator, tasks), full_matrices=False)
    return left @ np.diag(np.logspace(0, -4, tasks)) @ right


def uneven(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Norms from 1e-6 to 1e6."""
    return independent(generator, tasks) * np.logspace(-6, 6, tasks)[:, None]


def very_uneven(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Norms from 1e-12 to 1e12."""
    return independent(generator, tasks) * np.logspace(-12, 12, tasks)[:, None]


def duplicated(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """The last gradient is the first."""
    gradients = independent(generator, tasks)
    gradients[-1] = gradients[0]
    return gradients


def conflicting(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """95 % of what the gradients have in common is gone."""
    gradients = independent(generator, tasks)
    return gradients - 0.95 * gradients.mean(axis=0)


def conflicting_uneven(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Conflict, with norms from 0.01 to 100."""
    return conflicting(generator, tasks) * np.logspace(-2, 2, tasks)[:, None]


def stationary(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """A convex combination, all of its weights well above zero, is zero."""
    gradients = independent(generator, tasks)
    gradients /= np.linalg.norm(gradients, axis=1, keepdims=True)
    weights = generator.dirichlet(np.ones(tasks)) + 0.2
    return gradients - weights @ gradients / weights.sum()


def stationary_uneven(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Stationary, with norms from 1e-3 to 1e3."""
    return stationary(generator, tasks) * np.logspace(-3, 3, tasks)[:, None]


def nearly_stationary(generator: np.random.Generator, tasks: int, nearness: float = NEARNESS) -> np.ndarray:
    """A convex combination of gradients of norm about 1 has norm 1e-4."""
    shift = generator.standard_normal(_dimension(tasks))
    return stationary(generator, tasks) + nearness * shift / np.linalg.norm(shift)


def nearly_stationary_uneven(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Nearly stationary, with norms from 1e-3 to 1e3."""
    return nearly_stationary(generator, tasks) * np.logspace(-3, 3, tasks)[:, None]


SOLVABLE: tuple[Family, ...] = (
    independent,
    aligned,
    ill_conditioned,
    uneven,
    very_uneven,
    duplicated,
    conflicting,
    conflicting_uneven,
    nearly_stationary,
    nearly_stationary_uneven,
)
STATIONARY: tuple[Family, ...] = (stationary, stationary_uneven)
SIZES = (2, 3, 5, 8, 20, 64)


def draws(family: Family, tasks: int, number: int) -> list[np.ndarray]:
    """The first matrices of a family."""
    families = SOLVABLE + STATIONARY
    return [family(np.random.default_rng([tasks, families.index(family), seed]), tasks) for seed in range(number)]


def mixed_draws(number: int, *, most_tasks: int = 10) -> list[np.ndarray]:
    """Random matrices of 2 to `most_tasks` tasks, with up to 99.5 % of the common part gone and norms e^-5 to e^5."""
    generator = np.random.default_rng(7)
    matrices = []
    for _ in range(number):
        gradients = independent(generator, int(generator.integers(2, most_tasks + 1)))
        gradients -= generator.uniform(0.0, 0.995) * gradients.mean(axis=0)
        matrices.append(gradients * np.exp(generator.uniform(-5, 5, len(gradients)))[:, None])
    return matrices


def extended(values: np.ndarray) -> np.ndarray:
    """The values in the longest type of the platform."""
    return values.astype(np.longdouble)


def min_norm_violation(gram: np.ndarray, weights: np.ndarray) -> float:
    """max_i |g_w|/n_i - cos(g_i, g_w), and 0 where g_w vanishes next to sum_i w_i n_i."""
    gram, weights = extended(gram), extended(weights)
    norms, slopes = np.sqrt(np.diag(gram)), gram @ weights
    length = np.sqrt(max(weights @ slopes, np.longdouble(0.0)))
    if length <= 1e-9 * (weights @ norms):
        return 0.0
    return float(((length**2 - slopes) / (norms * length)).max())


def nearness_to_stationarity(gram: np.ndarray, weights: np.ndarray) -> float:
    """|g_w| / sum_i w_i n_i of the min-norm point, in [0, 1]."""
    gram, weights = extended(gram), extended(weights)
    return float(np.sqrt(max(weights @ gram @ weights, np.longdouble(0.0))) / (weights @ np.sqrt(np.diag(gram))))


def bargaining_residual(gram: np.ndarray, weights: np.ndarray) -> float:
    """max_i |a_i (Ma)_i - 1|."""
    gram, weights = extended(gram), extended(weights)
    return float(np.abs(weights * (gram @ weights) - 1.0).max())


def least_cosine(gradients: np.ndarray, coefficients: np.ndarray) -> float:
    """The least cosine between d = sum_i c_i g_i and a gradient."""
    gradients = extended(gradients)
    direction = extended(coefficients) @ gradients
    return float((gradients @ direction / (_length(gradients) * _length(direction[None]))).min())


def relative_difference(direction: np.ndarray, expected: np.ndarray) -> float:
    """|direction - expected| / |expected|."""
    return float(np.linalg.norm(direction - expected) / np.linalg.norm(expected))


def _length(rows: np.ndarray) -> np.ndarray:
    return np.sqrt((rows * rows).sum(axis=1))
