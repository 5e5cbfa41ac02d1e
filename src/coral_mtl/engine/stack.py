"""A gradient strategy on a loss weighting: balancing the gradients of weighted losses."""

from dataclasses import replace

from coral_mtl.engine.composed import Composed
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, LossWeighting
from coral_mtl.errors import StrategyError


class Stack(Composed):
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
        super().__init__({"weighting": weighting, "strategy": strategy})
        self.weighting = weighting
        self.strategy = strategy

    @property
    def promises(self) -> Promises:
        return replace(self.strategy.promises, simplex=False)

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
