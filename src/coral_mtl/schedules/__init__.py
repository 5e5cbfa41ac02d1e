"""Schedules: descriptions of a value over time that become pure functions of the optimiser step."""

from coral_mtl.schedules.cycles import UnfinishedCycle, unfinished_cycle
from coral_mtl.schedules.decay import constant, polynomial_decay
from coral_mtl.schedules.horizon import Horizon, Length
from coral_mtl.schedules.joined import Clamped, Joined, Warmup
from coral_mtl.schedules.knots import Knots
from coral_mtl.schedules.levels import Constant, Exponential, StepDecay, Steps
from coral_mtl.schedules.named import PRESETS, Preset, preset
from coral_mtl.schedules.presets import AggressiveRestart, PolynomialDecay, WarmupCosine
from coral_mtl.schedules.ramps import Cosine, Geometric, Linear, Polynomial
from coral_mtl.schedules.restarts import Cycle, Restarts
from coral_mtl.schedules.schedule import Curve, Schedule
from coral_mtl.schedules.timetable import stage_begins
from coral_mtl.schedules.written import (
    AnySchedule,
    NonNegativeSchedule,
    PositiveSchedule,
    Written,
    bounded_curve,
    curve_of,
    schedule_of,
)

__all__ = [
    "PRESETS",
    "AggressiveRestart",
    "AnySchedule",
    "Clamped",
    "Constant",
    "Cosine",
    "Curve",
    "Cycle",
    "Exponential",
    "Geometric",
    "Horizon",
    "Joined",
    "Knots",
    "Length",
    "Linear",
    "NonNegativeSchedule",
    "Polynomial",
    "PolynomialDecay",
    "PositiveSchedule",
    "Preset",
    "Restarts",
    "Schedule",
    "StepDecay",
    "Steps",
    "UnfinishedCycle",
    "Warmup",
    "WarmupCosine",
    "Written",
    "bounded_curve",
    "constant",
    "curve_of",
    "polynomial_decay",
    "preset",
    "schedule_of",
    "stage_begins",
    "unfinished_cycle",
]
