"""NTKMTL: gradients scaled so that every task's neural tangent kernel has the same largest eigenvalue."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy


@registry.strategies.register
class NTKMTL(GradientStrategy):
    """The sum of the gradients, all brought to the root mean square of their lengths.

    d = sum_t w_t g_t,  w_t = sqrt(mean_j lambda_j / lambda_t) with lambda_t the largest eigenvalue of task t's neural
    tangent kernel over n mini-batches; here n = 1, the authors' choice for gradients on parameters: lambda_t = |g_t|^2.

    With `Engine(..., gram_on="features")` the norms are those of the gradients on the shared representation, which
    spares all but one backward through the trunk (NTKMTL-SR with n = 1). Conflicts stay as they are. Nothing to solve,
    so it cannot fail.
    """

    convention = "sum"
    paper = (
        "Qin et al.: NTKMTL: Mitigating Task Imbalance in Multi-Task Learning from Neural Tangent Kernel Perspective "
        "(NeurIPS 2025), equation 15, algorithm 1"
    )

    @property
    def promises(self) -> Promises:
        return Promises(scale="per_task")

    def solve(self, observation: Observation) -> Decision:
        norms = observation.norms
        largest = norms.max()
        return Decision(np.sqrt(np.mean((norms / largest) ** 2)) * (largest / norms))
