"""What Uncertainty and IMTL-L share: one scalar s_t per task that the user's optimiser trains with the model."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from coral_mtl.engine.loss_weighting.checks import require_known_tasks, require_same_tasks
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.errors import StrategyError


class LearnedWeighting(LossWeighting):
    """Weights w_t(s_t) with s_t trained on an objective sum_t f_t(s_t, l_t).

    The s_t are 0-dimensional float64 parameters on the host, created by `bind`. The weight is that of s_t clamped to
    [-clamp, clamp]. Beyond a bound the gradient is that at the bound where it leads back, and zero where it would only
    drive s_t further out; the distance from the bound is added to it, because one step with a huge loss can throw s_t
    so far that the way back would take thousands.
    """

    needs = Needs.NOTHING
    learned = True
    figures: ClassVar[str]
    """What the s_t are called in records and in the state."""

    def __init__(self, *, initial: float, clamp: float, lr: float | None) -> None:
        if abs(initial) > clamp:
            raise StrategyError(
                f"{type(self).__name__}: the initial value {initial:g} lies outside [-{clamp:g}, {clamp:g}]\n"
                "    start within the clamp, or widen it",
                option="clamp",
            )
        self.initial = initial
        self.clamp = clamp
        self.lr = lr
        self._parameters: dict[str, nn.Parameter] = {}

    @abstractmethod
    def weights_at(self, tasks: Sequence[str], s: np.ndarray) -> np.ndarray:
        """(T,) weights w_t(s_t)."""

    @abstractmethod
    def slopes_at(self, tasks: Sequence[str], s: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """(T,) derivatives df_t/ds_t of the objective at the unweighted losses."""

    def bind(self, tasks: Sequence[str]) -> None:
        if self._parameters:
            require_same_tasks(f"{type(self).__name__}: {self.figures}", self._parameters, tasks)
        else:
            self._parameters = {task: nn.Parameter(torch.tensor(self.initial, dtype=torch.float64)) for task in tasks}

    def parameters(self) -> list[nn.Parameter]:
        return list(self._parameters.values())

    def parameter_groups(self) -> list[dict[str, Any]]:
        self._require_bound()
        rate = {} if self.lr is None else {"lr": self.lr}
        return [{"params": self.parameters(), "weight_decay": 0.0, **rate}]

    def weigh(self, observation: Observation) -> np.ndarray:
        return self.weights_at(observation.tasks, self._clamped(self._raw(observation.tasks)))

    def parameter_gradients(self, observation: Observation) -> list[tuple[nn.Parameter, torch.Tensor]]:
        raw = self._raw(observation.tasks)
        clamped = self._clamped(raw)
        slopes = self.slopes_at(observation.tasks, clamped, observation.losses)
        outward = (np.abs(raw) >= self.clamp) & (slopes * raw < 0)
        gradients = torch.from_numpy(np.where(outward, 0.0, slopes) + (raw - clamped))
        return [(self._parameters[task], gradient) for task, gradient in zip(observation.tasks, gradients, strict=True)]

    def records(self, observation: Observation) -> dict[str, Any]:
        raw = self._raw(observation.tasks)
        return {self.figures: dict(zip(observation.tasks, raw.tolist(), strict=True))}

    def reset(self) -> None:
        self._fill(dict.fromkeys(self._parameters, self.initial))

    def state_dict(self) -> State:
        return {self.figures: {task: parameter.item() for task, parameter in self._parameters.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.bind(list(state[self.figures]))
        self._fill(state[self.figures])

    def _fill(self, values: Mapping[str, float]) -> None:
        with torch.no_grad():
            for task, parameter in self._parameters.items():
                parameter.fill_(values[task])

    def _raw(self, tasks: Sequence[str]) -> np.ndarray:
        self._require_bound()
        require_known_tasks(f"{type(self).__name__}: {self.figures}", self._parameters, tasks)
        return np.array([self._parameters[task].item() for task in tasks])

    def _clamped(self, raw: np.ndarray) -> np.ndarray:
        return np.clip(raw, -self.clamp, self.clamp)

    def _require_bound(self) -> None:
        if not self._parameters:
            raise StrategyError(
                f"{type(self).__name__} trains a parameter for each task and does not know the tasks yet\n"
                "    pass their names, Engine(strategy, model, tasks=[...]), and give engine.parameter_groups() to the "
                "optimiser beside the model's parameters"
            )
