"""Schedules of learning rates that are compositions of the others."""

from functools import partial

from coral_mtl import registry
from coral_mtl.options import NonNegative, Positive, ProperFraction
from coral_mtl.schedules.decay import polynomial_decay
from coral_mtl.schedules.horizon import Horizon, Length, duration
from coral_mtl.schedules.joined import Warmup
from coral_mtl.schedules.ramps import Cosine
from coral_mtl.schedules.restarts import Restarts
from coral_mtl.schedules.schedule import Curve, Schedule


@registry.schedules.register
class WarmupCosine(Warmup):
    """A linear warm-up to 1 and a cosine decay to `floor`, which is reached right after the last step.

    With W the warm-up and T the run: start + (1 - start) step / W before W, then
    floor + (1 - floor) (1 + cos(pi (step - W) / (T - W))) / 2.
    """

    def __init__(self, *, warmup: Length = 0, floor: NonNegative = 0.0, start: NonNegative = 0.0) -> None:
        """Set both parts.

        Args:
            warmup: `10 epochs`, `500 steps`, or a share of the run (default 0, none).
            floor: factor that the decay ends at (default 0.0).
            start: factor at step 0 of the warm-up; with 0 the first step changes nothing (default 0.0).
        """
        super().__init__(length=warmup, then=Cosine(start=1.0, end=floor, length=1.0), start=start)


@registry.schedules.register
class AggressiveRestart(Restarts):
    """A restart every epoch from `escape_lr_multiplier` times the base learning rate, falling step by step to `floor`.

    A larger learning rate, with restarts: to see what the restarts themselves do, compare with `WarmupCosine` at the
    same peak.
    """

    def __init__(self, *, escape_lr_multiplier: Positive = 3.0, floor: NonNegative = 1e-3) -> None:
        """Set the peak.

        Args:
            escape_lr_multiplier: factor at the start of each epoch (default 3.0).
            floor: factor that each epoch falls to (default 0.001).
        """
        super().__init__(period="1 epochs", peak=escape_lr_multiplier, floor=floor)


@registry.schedules.register
class PolynomialDecay(Schedule):
    """A linear warm-up to 1 and a polynomial decay, as in AdamWPolyDecay (see polynomial_decay)."""

    def __init__(self, *, warmup: Length = 0.1, power: Positive = 1.0, floor: ProperFraction = 0.0) -> None:
        """Set both parts.

        Args:
            warmup: `10 epochs`, `500 steps`, or a share of the run; rounded down to whole steps (default 0.1).
            power: exponent of the decay: 1 is linear, larger ones fall faster at first (default 1.0).
            floor: factor that the decay ends at (default 0.0).
        """
        self.warmup = duration(warmup)
        self.power = power
        self.floor = floor

    def bind(self, run: Horizon) -> Curve:
        """Return the curve; raise ConfigError unless the warm-up ends before the run does."""
        warmup = int(self.warmup.steps(run))
        curve = partial(polynomial_decay, total=int(run.steps), warmup=warmup, power=self.power, end_factor=self.floor)
        curve(0)  # raises here rather than at the first step
        return curve
