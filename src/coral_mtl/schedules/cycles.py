"""Whether a run stops in the middle of a cycle, where the learning rate is still high."""

from dataclasses import dataclass

from coral_mtl.schedules.horizon import Horizon, settled
from coral_mtl.schedules.joined import Clamped, Joined, Warmup
from coral_mtl.schedules.restarts import Cycle, Restarts
from coral_mtl.schedules.schedule import Schedule


@dataclass(frozen=True, slots=True)
class UnfinishedCycle:
    """The cycle that the end of a run cuts short.

    cycle: the cycle; its first step is counted from the first step of the run.
    progress: share of it that has passed at the end of the run, above 0 and below 1.
    shorter, longer: the nearest lengths of the run, in steps, that end with the end of a cycle; `shorter` is 0 where
        the first cycle is the one cut short.
    """

    cycle: Cycle
    progress: float
    shorter: float
    longer: float


def unfinished_cycle(schedule: Schedule, run: Horizon) -> UnfinishedCycle | None:
    """Return the cycle of `schedule` that `run` stops in the middle of, or None if there is none.

    A schedule after a warm-up or at the end of a `Joined` is looked into; a length given as a share of the run moves
    with the run, so `shorter` and `longer` hold for lengths in steps and epochs.
    """
    begin, last, rest = _last_part(schedule, run)
    if not isinstance(last, Restarts):
        return None
    cycle = last.cycle(rest.steps, rest)
    start = begin + cycle.start
    progress = settled((run.steps - start) / cycle.length)
    if progress == 0.0:
        return None
    return UnfinishedCycle(Cycle(cycle.index, start, cycle.length), progress, start, settled(start + cycle.length))


def _last_part(schedule: Schedule, run: Horizon) -> tuple[float, Schedule, Horizon]:
    """Return the schedule that rules at the end of the run, its first step and how much of the run it has."""
    if isinstance(schedule, Clamped) and schedule.until.steps(run) >= run.steps:
        return _last_part(schedule.schedule, run)
    if isinstance(schedule, Warmup):
        begin, then, own = schedule.steps(run), schedule.then, run.after(schedule.steps(run))
    elif isinstance(schedule, Joined):
        (begin, own), then = schedule.stretches(run)[-1], schedule.parts[-1]
    else:
        return 0.0, schedule, run
    inner_begin, last, rest = _last_part(then, own)
    return begin + inner_begin, last, rest
