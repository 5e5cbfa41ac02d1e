"""TorchJD's aggregators and weightings as strategies."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.errors import MissingExtraError, StrategyError
from coral_mtl.options import PositiveInt, checked


@partial(checked, error=StrategyError)
class TorchJD(GradientStrategy):
    """An aggregator or weighting of TorchJD as a strategy.

    ```python
    from torchjd.aggregation import UPGrad

    engine = coral_mtl.Engine(coral_mtl.TorchJD(UPGrad()), model)
    ```

    Gradients that are exactly zero are left out, as for every strategy here. Nothing is promised, and no solver outcome
    is reported: TorchJD has none. Its random methods draw from torch's global generator.

    Raises:
        StrategyError: at construction, for anything but an aggregator or weighting; on `load_state_dict`, for one with
            a memory, which TorchJD has no way to save.
    """

    convention = "own"
    paper = "Quinton and Rey: Jacobian Descent For Multi-Objective Optimization (2024); https://torchjd.org"

    def __init__(
        self,
        method: nn.Module,
        *,
        on: Literal["auto", "gram", "matrix"] = "auto",
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Wrap `method`, such as `torchjd.aggregation.UPGrad()` or `UPGradWeighting()`.

        Args:
            on: what the method is called with: `gram`, the (T, T) inner products in float64, or `matrix`, the (T, D)
                gradients themselves, which takes their memory once more; auto takes gram for weightings and for
                aggregators that weigh by the Gram matrix, and matrix for the other aggregators (default auto). Of
                TorchJD's weightings ExcessMTLWeighting alone needs `matrix`.
            update_frequency: ask for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).

        Raises:
            MissingExtraError: torchjd is not installed.
        """
        super().__init__(update_frequency=update_frequency)
        if find_spec("torchjd") is None:
            raise MissingExtraError("the TorchJD adapter", "torchjd", "torchjd")
        from torchjd.aggregation import Aggregator, GramianWeightedAggregator, Weighting  # noqa: PLC0415 - optional

        if not isinstance(method, Aggregator | Weighting):
            raise StrategyError(
                f"TorchJD takes an aggregator or a weighting of torchjd.aggregation, not {method!r}\n"
                "    give an object, such as TorchJD(UPGrad()), not a class or a name"
            )
        has_gram = isinstance(method, GramianWeightedAggregator | Weighting)
        if on == "gram" and not has_gram:
            raise StrategyError(f"{method!r} does not weigh by the Gram matrix: take on='matrix', or leave it out")
        self.method = method
        self.needs = Needs.GRAM if has_gram and on != "matrix" else Needs.ROWS
        self._aggregates = isinstance(method, Aggregator)

    @property
    def promises(self) -> Promises:
        weighs = self.needs is Needs.GRAM or not self._aggregates
        return Promises(scale="none", nonnegative=False, permutation=False, combination=weighs)

    def solve(self, observation: Observation) -> Decision:
        if self.needs is Needs.GRAM:
            weighting = getattr(self.method, "gramian_weighting", self.method)
            return _weights(weighting(torch.from_numpy(observation.require_gram())))
        rows = observation.require_rows()
        gradients = [rows.gradients(task) for task in range(len(observation.tasks))]
        result = self.method(torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in gradients]))
        if not self._aggregates:
            return _weights(result)
        direction = torch.split(result.detach(), [part.numel() for part in gradients[0]])
        shaped = [part.view_as(like).to(like.dtype) for part, like in zip(direction, gradients[0], strict=True)]
        return Decision(np.zeros(len(gradients)), direction=shaped)

    def reset(self) -> None:
        super().reset()
        for part in self._with_memory():
            part.reset()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._with_memory():
            raise StrategyError(
                f"{self.method!r} of TorchJD has a memory that it cannot save, so that a resumed run would differ\n"
                "    take the strategy of the same name from coral_mtl, which resumes exactly"
            )
        super().load_state_dict(state)

    def _with_memory(self) -> list[Any]:
        """The parts of the method that remember earlier steps, which are those that TorchJD can reset."""
        return [part for part in self.method.modules() if callable(getattr(part, "reset", None))]


def _weights(weights: Tensor) -> Decision:
    return Decision(weights.detach().double().cpu().numpy())
