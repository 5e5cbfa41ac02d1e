"""Schedules made of schedules: a warm-up, one after another, and one that stops."""

from collections.abc import Sequence

from coral_mtl import registry
from coral_mtl.errors import ConfigError
from coral_mtl.options import NonNegative
from coral_mtl.schedules.horizon import Horizon, Length, duration, positive_duration
from coral_mtl.schedules.schedule import Curve, Schedule
from coral_mtl.schedules.timetable import last_at
from coral_mtl.schedules.written import AnySchedule, schedule_of


@registry.schedules.register
class Warmup(Schedule):
    """A linear rise to the first value of another schedule, which then begins.

    v(step) = then(0) (start + (1 - start) step / W) for step < W, then(step - W) from W on, with W = `length`. Lengths
    of `then` are measured in what the warm-up leaves of the run.
    """

    def __init__(self, *, length: Length, then: AnySchedule, start: NonNegative = 0.0) -> None:
        """Set the warm-up and what follows.

        Args:
            length: `10 epochs`, `500 steps`, or a share of the run; 0 for none.
            then: the schedule that follows.
            start: factor at step 0; with 0 the first step changes nothing (default 0.0).
        """
        self.length = duration(length)
        self.then = schedule_of(then)
        self.start = start

    def steps(self, run: Horizon) -> float:
        """Return the steps of the warm-up; raise ConfigError unless it ends before the run does."""
        steps = self.length.steps(run)
        if steps >= run.steps:
            raise ConfigError(
                f"a warm-up of {steps:g} steps does not fit into {run.steps:g}: it must end before training does"
                "\n    train longer or shorten the warm-up"
            )
        return steps

    def bind(self, run: Horizon) -> Curve:
        """Return the curve; raise ConfigError unless the warm-up ends before the run does."""
        length = self.steps(run)
        then = self.then.bind(run.after(length))
        peak = then(0)

        def value(step: float) -> float:
            if step < length:
                return peak * (self.start + (1.0 - self.start) * step / length)
            return then(step - length)

        return value


@registry.schedules.register
class Joined(Schedule):
    """One schedule after another, each counting its steps from its own beginning.

    Lengths of a part are measured in that part: with `length: 1.0` a ramp fills it.
    """

    def __init__(self, *, parts: Sequence[AnySchedule], lengths: Sequence[Length]) -> None:
        """Set the parts.

        Args:
            parts: two schedules or more.
            lengths: how long each part but the last holds, which has what is left of the run.

        Raises:
            ConfigError: the numbers of parts and lengths do not fit.
        """
        self.parts = [schedule_of(part) for part in parts]
        self.lengths = [positive_duration("Joined: a part", length) for length in lengths]
        if len(parts) < 2 or len(lengths) != len(parts) - 1:
            raise ConfigError(
                f"Joined: {len(parts)} parts and {len(lengths)} lengths"
                "\n    give two parts or more, and a length to each but the last"
            )

    def stretches(self, run: Horizon) -> list[tuple[float, Horizon]]:
        """Return the first step of each part and its own length; raise ConfigError where one begins after the run."""
        begin, found = 0.0, []
        for length in self.lengths:
            steps = length.steps(run)
            found.append((begin, Horizon(steps, run.steps_per_epoch)))
            begin += steps
        if begin >= run.steps:
            raise ConfigError(
                f"Joined: the last part begins at step {begin:g}, and the run has {run.steps:g} steps"
                "\n    shorten the parts before it, or train longer"
            )
        return [*found, (begin, run.after(begin))]

    def bind(self, run: Horizon) -> Curve:
        """Return the curve; raise ConfigError where a part would begin after the end of the run."""
        stretches = self.stretches(run)
        begins = [begin for begin, _ in stretches]
        curves = [part.bind(own) for part, (_, own) in zip(self.parts, stretches, strict=True)]

        def value(step: float) -> float:
            part = last_at(begins, step)
            return curves[part](step - begins[part])

        return value


@registry.schedules.register
class Clamped(Schedule):
    """Another schedule whose value stays what it is at the time `until`."""

    def __init__(self, *, schedule: AnySchedule, until: Length = 1.0) -> None:
        """Set where the schedule stops.

        Args:
            schedule: the schedule.
            until: `10 epochs`, `500 steps`, or a share of the run (default 1.0, the end of the run).
        """
        self.schedule = schedule_of(schedule)
        self.until = duration(until)

    def bind(self, run: Horizon) -> Curve:
        curve, until = self.schedule.bind(run), self.until.steps(run)
        return lambda step: curve(min(step, until))
