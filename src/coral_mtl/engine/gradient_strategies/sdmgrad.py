"""SDMGrad: stochastic MGDA whose direction is held near that of the mean loss."""

from collections.abc import Sequence

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.preference import preference_shares
from coral_mtl.engine.gradient_strategies.simplex_weights import SimplexWeights, nearest_on_simplex
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, Memory
from coral_mtl.options import NonNegative, Positive, PositiveInt, ProperFraction


def descend_on_simplex(
    matrix: np.ndarray, weights: np.ndarray, offset: np.ndarray, *, lr: float, momentum: float, iterations: int
) -> np.ndarray:
    """Return w after projected gradient steps with momentum along A (w + offset), on the simplex.

    Args:
        matrix: (T, T) A, not necessarily symmetric.
        weights: (T,) w to start from.
        offset: (T,) what is added to w.
        lr: step size.
        momentum: share of the last step's velocity that is kept.
        iterations: number of steps.
    """
    velocity = np.zeros(len(weights))
    for _ in range(iterations):
        velocity = momentum * velocity + matrix @ (weights + offset)
        weights = nearest_on_simplex(weights - lr * velocity)
    return weights


@registry.strategies.register
class SDMGrad(GradientStrategy):
    """A convex combination of the gradients between the min-norm point and a preferred combination.

    w descends 1/2 |G'(w + strength p)|^2 on the simplex with momentum, on A = G_1 G_2' / s^2, s = mean_t sqrt(A_tt)_+,
    from two independent batches, starting where the last step ended;  d = sum_t c_t g_t on both batches together,
    c = (w + strength p) / (1 + strength).

    A step needs two micro-batches at least, which are dealt to the two batches in turn; the paper draws a third one for
    d. No promise for a single step. The iterations are a descent and not a solution; they cannot fail. Where all A_tt
    are negative, which only noise can do, w stays.
    """

    needs = Needs.ROWS
    batches = 2
    convention = "mean"
    steady = "at bounds"
    paper = "Xiao, Ban, Ji: Direction-oriented Multi-objective Learning (NeurIPS 2023), algorithm 1"

    def __init__(
        self,
        *,
        strength: NonNegative = 0.3,
        iterations: PositiveInt = 20,
        lr: Positive = 10.0,
        momentum: ProperFraction = 0.5,
        preference: dict[str, Positive] | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set how near to the preferred combination d stays, and how w is found.

        Args:
            strength: the paper's lambda; 0 is MGDA, infinity the preferred combination (default 0.3).
            iterations: steps of w at each training step (default 20).
            lr: step size of w, on the normalised matrix A (default 10).
            momentum: momentum of w, from zero at each training step (default 0.5).
            preference: the preferred combination p, by task name, scaled to sum 1 (default: equal, the mean loss).
            update_frequency: move w once in this many steps and reuse it in between, at the cost of a single backward
                (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.strength = strength
        self.iterations = iterations
        self.lr = lr
        self.momentum = momentum
        self.preference = preference
        self._weights = SimplexWeights()

    @property
    def promises(self) -> Promises:
        return Promises(simplex=True)

    def bind(self, tasks: Sequence[str]) -> None:
        if self.preference is not None:
            require_same_tasks("SDMGrad: preference", self.preference, tasks)

    def solve(self, observation: Observation) -> Decision:
        tasks = observation.tasks
        offset = self.strength * preference_shares("SDMGrad", self.preference, tasks)
        weights = self._weights.recall(tasks)
        matrix = observation.require_rows().cross_gram(0, 1)
        scale = np.mean(np.sqrt(np.maximum(matrix.diagonal(), 0.0)))
        if scale > 0.0:
            weights = descend_on_simplex(
                matrix / scale / scale,
                weights,
                offset,
                lr=self.lr,
                momentum=self.momentum,
                iterations=self.iterations,
            )
        self._weights.keep(tasks, weights)
        return Decision((weights + offset) / (1.0 + self.strength))

    def memories(self) -> dict[str, Memory]:
        return {"weights": self._weights}
