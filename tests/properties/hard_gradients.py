"""Gradient matrices that are hard on a strategy: adversarial families from a seed, for any number of tasks."""

from collections.abc import Callable

import gradient_families as families
import numpy as np

Family = Callable[[np.random.Generator, int], np.ndarray]


def dominant(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """The longest gradient, by far, points where the min-norm point of the others does, and has no weight in it."""
    gradients = families.conflicting(generator, tasks)
    least = np.linalg.lstsq(gradients[1:], np.ones(tasks - 1), rcond=None)[0] if tasks > 1 else gradients[0]
    gradients[0] = 10.0 ** generator.uniform(1, 4) * least / np.linalg.norm(least)
    return gradients


def parallel(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Rank one: all gradients on one line, to one side."""
    line = generator.standard_normal(8)
    return 10.0 ** generator.uniform(-3, 3, (tasks, 1)) * line


def opposed(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Rank one: gradients on both sides of one line."""
    signs = np.where(np.arange(tasks) % 2, -1.0, 1.0)[:, None]
    return signs * parallel(generator, tasks)


def flat(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """More tasks than dimensions."""
    return generator.standard_normal((tasks, max(1, tasks // 2))) + 2.0


def nearly_stationary(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """A convex combination of gradients of norm about 1 has a norm of 1e-12 to 1e-1."""
    return families.nearly_stationary(generator, tasks, 10.0 ** generator.uniform(-12, -1))


def nearly_repeated(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Two gradients differ in their last digits only."""
    gradients = families.conflicting(generator, tasks)
    gradients[-1] = gradients[0] * (1.0 + 1e-13 * generator.standard_normal(gradients.shape[1]))
    return gradients


def scattered(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Up to 99.5 % of the common part gone, and norms from e^-5 to e^5."""
    gradients = families.independent(generator, tasks)
    gradients -= generator.uniform(0.0, 0.995) * gradients.mean(axis=0)
    return gradients * np.exp(generator.uniform(-5, 5, (tasks, 1)))


SOLVABLE: tuple[Family, ...] = (*families.SOLVABLE, scattered, dominant, parallel, flat, nearly_repeated)
"""Families with a direction that improves all tasks, by more than rounding."""

ANY: tuple[Family, ...] = (*SOLVABLE, *families.STATIONARY, nearly_stationary, opposed)
