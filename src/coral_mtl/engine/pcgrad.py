"""PCGrad: each task's gradient is freed of its conflicts with the others before they are added up.

As a strategy, as a layer over a loss weighting (`Stack(Uncertainty(), PCGrad())`), and around an optimiser in a loop of
one's own (`PCGrad(optimizer)`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from torch.optim import Optimizer

from coral_mtl import registry
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.generator import SeededGenerator
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.step import Step
from coral_mtl.engine.strategy import GradientStrategy, Memory, State
from coral_mtl.engine.terms import Losses
from coral_mtl.errors import StrategyError
from coral_mtl.options import NonNegativeInt, PositiveInt


def project_conflicts(gram: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return the (T, T) coefficients C of the projected gradients, p_i = sum_j C_ij g_j, from the Gram matrix alone.

    p_i starts as g_i and visits the other tasks j in the order of row i: where <p_i, g_j> = (C M)_ij < 0, it loses its
    component along g_j, C_ij -= (C M)_ij / M_jj. All rows take their k-th visit at once.

    Args:
        gram: (T, T) inner products M.
        orders: (T, T - 1) task indices, row i a permutation of all tasks but i.
    """
    rows = np.arange(len(gram))
    coefficients = np.eye(len(gram))
    squares = np.where(np.diag(gram) > 0.0, np.diag(gram), np.inf)  # nothing is projected on a gradient of zero
    for visited in orders.T:
        products = np.einsum("ij,ij->i", coefficients, gram[visited])
        coefficients[rows, visited] -= np.minimum(products, 0.0) / squares[visited]
    return coefficients


@registry.strategies.register
class PCGrad(GradientStrategy):
    """The mean (or sum) of the tasks' gradients, each projected off the gradients that it conflicts with.

    p_i = g_i; for j != i in random order: if <p_i, g_j> < 0, p_i <- p_i - <p_i, g_j> / |g_j|^2 g_j; d = mean_i p_i.

    Free of conflict for two tasks; not promised for more, where a later projection can undo an earlier one. All
    coefficients are at least 1/T (sum: 1). Nothing to solve, so it cannot fail. `PCGrad(optimizer)` returns a
    `PCGradOptimizer`.
    """

    convention = "mean"
    steady = "without conflict"
    paper = "Yu et al.: Gradient Surgery for Multi-Task Learning (NeurIPS 2020), algorithm 1"

    def __new__(cls, optimizer: Optimizer | None = None, **options: Any) -> Any:
        """Build the strategy, or the wrapper of `optimizer` with this strategy inside."""
        if optimizer is None:
            return super().__new__(cls)
        if not isinstance(optimizer, Optimizer):
            raise StrategyError(
                f"PCGrad takes a torch optimiser as its only positional argument, not {type(optimizer).__name__}\n"
                "    give its options by name"
            )
        return PCGradOptimizer(optimizer, cls(**options))

    def __init__(
        self,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        seed: NonNegativeInt | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the convention and the randomness.

        Args:
            reduction: d is the `mean` or the `sum` of the projected gradients; the sum, the paper's, multiplies the
                effective learning rate by the number of tasks (default mean).
            seed: seed of the strategy's own generator of visiting orders (default: the seed of the run, and 0 without
                one).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.reduction = reduction
        self.seed = seed
        self._generator = SeededGenerator(seed)

    @property
    def promises(self) -> Promises:
        return Promises(permutation=False)

    def solve(self, observation: Observation) -> Decision:
        count = len(observation.tasks)
        coefficients = project_conflicts(observation.require_gram(), self._generator.visiting_orders(count)).sum(axis=0)
        return Decision(coefficients / count if self.reduction == "mean" else coefficients)

    def memories(self) -> dict[str, Memory]:
        return {"generator": self._generator}


class PCGradOptimizer:
    """An optimiser whose gradients come from PCGrad: `backward(losses)` in place of `sum(losses).backward()`.

    ```python
    optimizer = PCGrad(torch.optim.Adam(model.parameters()))
    for batch in loader:
        losses = {"left": ..., "right": ...}
        optimizer.zero_grad()
        optimizer.backward(losses)
        optimizer.step()
    ```

    Learning-rate schedulers and a GradScaler's `unscale_` and `step` take the optimiser inside, `.optimizer`.
    """

    def __init__(self, optimizer: Optimizer, strategy: PCGrad) -> None:
        self.optimizer = optimizer
        self.strategy = strategy
        self.engine = Engine(strategy, [parameter for group in optimizer.param_groups for parameter in group["params"]])

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the optimiser inside."""
        return self.optimizer.param_groups

    def backward(self, losses: Losses, **options: Any) -> Step:
        """Add the projected gradients of `losses` to `.grad`; the options are those of `Engine.backward`."""
        return self.engine.backward(losses, **options)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the optimiser's parameters."""
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a step of the optimiser inside."""
        return self.optimizer.step(closure)

    def state_dict(self) -> State:
        """State of the optimiser and of the engine, loadable with `weights_only=True`."""
        return {"optimizer": self.optimizer.state_dict(), "engine": self.engine.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.engine.load_state_dict(state["engine"])
