"""Aligned-MTL: the nearest system of orthogonal gradients of equal length takes the gradients' place."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.preference import preference_shares
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.cosine import DOUBLE
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import NonNegative, Positive, PositiveInt

ScaleMode = Literal["min", "median", "rmse"]


def spectrum(gram: np.ndarray, precision: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of M above their own rounding error, ascending, and their eigenvectors in columns.

    The error of an eigenvalue with the vector v is that of v'Mv, precision * (sum_i |v_i| n_i)^2, and that of the
    decomposition, T * eps * lambda_max. The eigenvector of a small task hardly touches the large ones, so that it is
    kept down to norm ratios of 1e-7 also where gradients are float32.
    """
    values, vectors = _decomposed(gram)
    errors = precision * (np.sqrt(gram.diagonal()) @ np.abs(vectors)) ** 2
    kept = values > np.maximum(errors, len(gram) * DOUBLE * values[-1])
    return values[kept], vectors[:, kept]


def _decomposed(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors, from a matrix sorted by size: that keeps the small ones accurate."""
    order = np.argsort(-gram.diagonal(), kind="stable")
    values, sorted_vectors = np.linalg.eigh(gram[np.ix_(order, order)])
    vectors = np.empty_like(sorted_vectors)
    vectors[order] = sorted_vectors
    return values, vectors


def aligned_scale(values: np.ndarray, mode: ScaleMode) -> float:
    """The common squared length of the aligned gradients: the least, (lower) median or mean eigenvalue of `values`."""
    if mode == "min":
        return float(values[0])
    return float(values[(len(values) - 1) // 2]) if mode == "median" else float(values.mean())


@registry.strategies.named("Aligned-MTL")
class AlignedMTL(GradientStrategy):
    """The mean (or sum) of the gradients made orthogonal and equally long: B G, the nearest such system to G.

    M = V diag(lambda) V', B = sqrt(sigma) V diag(lambda)^(-1/2) V' over the eigenvalues above rounding, sigma their
    `min`, `median` or mean (`rmse`); d = G'B p with p = 1/T (mean), 1 (sum), or the preferences, scaled likewise.

    The mean loss falls, single tasks may be hurt; coefficients may be negative. d jumps where an eigenvalue enters or
    leaves the rounding, under `min` by orders of magnitude: `smoothing` takes M + smoothing * lambda_max I instead,
    which has no such edge. Nothing to solve, so it cannot fail.

    Records `aligned_rank`, the number of eigenvalues kept, and `aligned_condition`, sqrt(lambda_max / lambda_min).
    """

    convention = "mean"
    paper = "Senushkin et al.: Independent Component Alignment for Multi-Task Learning (CVPR 2023), algorithm 1"

    def __init__(
        self,
        *,
        scale_mode: ScaleMode = "min",
        smoothing: NonNegative = 0.0,
        preference: dict[str, Positive] | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the length of the aligned gradients and how they are added up.

        Args:
            scale_mode: the least, the (lower) median or the mean eigenvalue is their squared length (default min).
            smoothing: added to every eigenvalue, in units of the largest; 0 is the published rule (default 0).
            preference: importance of each task, by name (default: equal).
            reduction: p sums to 1 (`mean`) or, as published, to T (`sum`), which multiplies the effective learning rate
                by the number of tasks (default mean).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.scale_mode: ScaleMode = scale_mode
        self.smoothing = smoothing
        self.preference = preference
        self.reduction = reduction

    @property
    def promises(self) -> Promises:
        return Promises(nonnegative=False, descends_mean=self.preference is None)

    def bind(self, tasks: Sequence[str]) -> None:
        if self.preference is not None:
            require_same_tasks("Aligned-MTL: preference", self.preference, tasks)

    def solve(self, observation: Observation) -> Decision:
        gram = observation.require_gram()
        scaled = gram / gram.diagonal().max()
        values, vectors = self._spectrum(scaled, observation.precision)
        shares = preference_shares("Aligned-MTL", self.preference, observation.tasks)
        factors = np.sqrt(aligned_scale(values, self.scale_mode) / values)
        coefficients = vectors @ (factors * (shares @ vectors))
        records = {
            "aligned_rank": len(values),
            "aligned_condition": float(np.sqrt(values[-1] / values[0])),
        }
        return Decision(coefficients * len(gram) if self.reduction == "sum" else coefficients, records=records)

    def _spectrum(self, gram: np.ndarray, precision: float) -> tuple[np.ndarray, np.ndarray]:
        if not self.smoothing:
            return spectrum(gram, precision)
        values, vectors = _decomposed(gram)
        return np.maximum(values, 0.0) + self.smoothing * values[-1], vectors
