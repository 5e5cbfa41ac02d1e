"""FairGrad: the direction that shares the gains fairly among the tasks, for a kind of fairness to choose."""

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.alpha_fair import alpha_fair
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import Positive, PositiveInt


@registry.strategies.register
class FairGrad(GradientStrategy):
    """The direction whose gains <g_t, d> are alpha-fair, the larger alpha the more alike.

    (M w)_t = w_t^(-1/alpha), w > 0, with M the Gram matrix of the gradients;  d = sum_t w_t g_t.

    d maximises sum_t <g_t, d>^(1-alpha) / (1-alpha) over a ball; every task gains <g_t, d> = w_t^(-1/alpha) > 0.
    alpha = 1 is Nash-MTL. Towards 0 d tends to the projection of the summed gradients on the directions that hurt no
    task, and with large alpha to MGDA's. Only alpha = 1 is blind to the scale of a single loss. With a common factor s
    on all gradients |d| changes by s^((1-alpha)/(1+alpha)): from alpha = 1 on it does not fall as training converges,
    so decay the learning rate, use an optimiser like Adam that divides by the gradient's size, or clip the direction as
    the authors' code does.

    Near Pareto-stationary points, where no direction improves all tasks, the problem has no solution; d then shrinks to
    zero smoothly and the status is STATIONARY. A matrix that cannot be solved even so falls back to the direction of
    MGDA with normalization l2 (FALLBACK).
    """

    convention = "own"
    paper = "Ban and Ji: Fair Resource Allocation in Multi-Task Learning (ICML 2024), equation 4"

    def __init__(self, *, alpha: Positive = 2.0, update_frequency: PositiveInt = 1) -> None:
        """Set the kind of fairness.

        Args:
            alpha: how much more a task counts that gains less; 1 is proportional fairness (default 2, as in all runs of
                the paper).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.alpha = alpha

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=True, scale="per_task" if self.alpha == 1.0 else "common", descends_mean=True)

    def solve(self, observation: Observation) -> Decision:
        solution = alpha_fair(observation.require_gram(), self.alpha, observation.precision)
        return Decision(solution.weights, solution=solution)
