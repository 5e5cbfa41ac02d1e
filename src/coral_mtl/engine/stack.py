"""A gradient strategy on a loss weighting: balancing the gradients of weighted losses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, LossWeighting, State, Strategy
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Horizon


class Stack(Strategy):
    """A gradient strategy on the gradients of weighted losses, such as Uncertainty with PCGrad.

    With w from the weighting and c from the strategy on the Gram matrix of the w_t g_t, the effective coefficients are
    w_t c_t and the task-specific parameters of task t see w_t.
    """

    kind = "gradient strategy"
    needs = Needs.GRAM

    def __init__(self, weighting: LossWeighting, strategy: GradientStrategy) -> None:
        for part, kind in ((weighting, LossWeighting), (strategy, GradientStrategy)):
            if not isinstance(part, kind):
                raise StrategyError(
                    f"cannot stack {type(strategy).__name__} on {type(weighting).__name__}: a stack is one loss "
                    "weighting under one gradient strategy, because a second gradient strategy would undo what the "
                    "first guarantees\n    take one of the two, or a loss weighting such as Uncertainty underneath"
                )
        if strategy.needs is Needs.ROWS:
            raise StrategyError(
                f"{type(strategy).__name__} works on the gradients' coordinates and cannot be stacked on a loss "
                "weighting\n    use it alone, or take a strategy that works on the Gram matrix"
            )
        self.weighting = weighting
        self.strategy = strategy
        self.update_frequency = strategy.update_frequency
        self.wants_losses_after = weighting.wants_losses_after
        self.wants_predictions = weighting.wants_predictions

    @property
    def promises(self) -> Promises:
        return replace(self.strategy.promises, simplex=False)

    def observe_after(self, observation: Observation) -> None:
        self.weighting.observe_after(observation)

    def bind(self, tasks: Sequence[str]) -> None:
        self.weighting.bind(tasks)
        self.strategy.bind(tasks)

    def begin(self, run: Horizon) -> None:
        self.weighting.begin(run)
        self.strategy.begin(run)

    def parameters(self) -> list[nn.Parameter]:
        return self.weighting.parameters()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.weighting.parameter_groups()

    def parameter_gradients(self, observation: Observation) -> list[tuple[nn.Parameter, Tensor]]:
        return self.weighting.parameter_gradients(observation)

    def idle_tasks(self, step: int) -> frozenset[str]:
        return self.weighting.idle_tasks(step)

    def observe_validation(self, metrics: Mapping[str, float]) -> None:
        self.weighting.observe_validation(metrics)
        self.strategy.observe_validation(metrics)

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return max(self.weighting.needs_now(tasks), self.strategy.needs_now(tasks))

    def decide(self, observation: Observation) -> Decision:
        below = self.weighting.decide(observation)
        above = self.strategy.decide(observation.weighted(below.coefficients))
        return Decision(
            coefficients=below.coefficients * above.coefficients,
            head_coefficients=below.coefficients,
            solution=above.solution,
            records=below.records | above.records,
            refreshed=above.refreshed,
        )

    def end_epoch(self) -> None:
        self.weighting.end_epoch()
        self.strategy.end_epoch()

    def reset(self) -> None:
        self.weighting.reset()
        self.strategy.reset()

    def state_dict(self) -> State:
        return {"weighting": self.weighting.state_dict(), "strategy": self.strategy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weighting.load_state_dict(state["weighting"])
        self.strategy.load_state_dict(state["strategy"])
