"""ConFIG: the direction with prescribed cosines to all gradients, the shorter the more they conflict."""

from collections.abc import Sequence

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.preference import preference_shares
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.solvers.prescribed_cosines import prescribed_cosines
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import Positive, PositiveInt


@registry.strategies.register
class ConFIG(GradientStrategy):
    """The unit direction u with prescribed cosines to the gradients, as long as their projections on it together.

    C y = p with C the cosine matrix and p the preferences (equal: p = 1), u = sum_t y_t g_t / |g_t|, normalised;
    d = (sum_t <g_t, u>) u. Its direction is that of IMTL-G, its length falls with the conflict.

    cos(d, g_t) > 0 are in the ratio of the p_t. Coefficients may be negative. Where the gradients are so dependent that
    no direction has these cosines, the published pseudo-inverse may hurt tasks; here the least cos(d, g_t) / p_t is
    made as large as possible (FALLBACK), and d = 0 at Pareto-stationary points among those (STATIONARY).
    """

    convention = "sum"
    paper = (
        "Liu, Chu, Thuerey: ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks (ICLR 2025), "
        "section 3.1"
    )

    def __init__(self, *, preference: dict[str, Positive] | None = None, update_frequency: PositiveInt = 1) -> None:
        """Set the cosines.

        Args:
            preference: ratio of the cosines between the direction and each task's gradient, by task name (default:
                equal).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.preference = preference

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=True, scale="per_task", nonnegative=False, descends_mean=True)

    def bind(self, tasks: Sequence[str]) -> None:
        if self.preference is not None:
            require_same_tasks("ConFIG: preference", self.preference, tasks)

    def solve(self, observation: Observation) -> Decision:
        cosines, norms = cosine_matrix(observation.require_gram())
        wanted = preference_shares("ConFIG", self.preference, observation.tasks)
        solution = prescribed_cosines(cosines, wanted, observation.precision)
        if solution.status is Status.STATIONARY:
            return Decision(solution.weights, solution=solution)
        y = solution.weights
        reached = cosines @ y
        return Decision(y / norms * (float(norms @ reached) / float(y @ reached)), solution=solution)
