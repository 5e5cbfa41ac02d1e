"""NTKMTL: gradients scaled so that every task's neural tangent kernel has the same largest eigenvalue."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import PositiveInt


@registry.strategies.register
class NTKMTL(GradientStrategy):
    """The sum of the gradients, each divided by the root of its task's largest kernel eigenvalue.

    d = sum_t w_t g_t,  w_t = sqrt(mean_j lambda_j / lambda_t), where lambda_t is the largest eigenvalue of the (n, n)
    matrix of inner products of task t's gradients on n mini-batches. With n = 1 that is |g_t|^2, and all gradients are
    brought to the root mean square of their lengths.

    With `Engine(..., gram_on="features")` the gradients are those on the shared representation, which spares all but
    one backward through the trunk (NTKMTL-SR). Mini-batches have no representation in common there, so that lambda_t is
    the largest of their |dl_t/dZ|^2. Conflicts stay as they are. Nothing to solve, so it cannot fail.
    """

    convention = "sum"
    rows_on_features = True
    paper = (
        "Qin et al.: NTKMTL: Mitigating Task Imbalance in Multi-Task Learning from Neural Tangent Kernel Perspective "
        "(NeurIPS 2025), equation 15, algorithm 1"
    )

    def __init__(self, *, batches: PositiveInt = 1, update_frequency: PositiveInt = 1) -> None:
        """Set the size of the kernels.

        Args:
            batches: mini-batches n that a step is made of; the authors take 1 on parameters and 4 on features
                (default 1).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.batches = batches
        self.needs = Needs.GRAM if batches == 1 else Needs.ROWS

    @property
    def promises(self) -> Promises:
        return Promises(scale="per_task")

    def solve(self, observation: Observation) -> Decision:
        roots = observation.norms if self.batches == 1 else np.sqrt(self._eigenvalues(observation))
        largest = roots.max()
        return Decision(np.sqrt(np.mean((roots / largest) ** 2)) * (largest / roots))

    def _eigenvalues(self, observation: Observation) -> np.ndarray:
        """(T,) largest eigenvalues of the tasks' kernels."""
        rows, numbers = observation.require_rows(), range(self.batches)
        kernels = np.array([[rows.cross_gram(i, j).diagonal() for j in numbers] for i in numbers])
        return np.linalg.eigvalsh(kernels.transpose(2, 0, 1))[:, -1]
