"""Constraints: sets that named parameters stay in, and the modes of keeping them there."""

from coral_mtl.constraints.modes import (
    AugmentedLagrangian,
    Constraint,
    LogBarrier,
    Penalty,
    Projected,
    Reparametrised,
)
from coral_mtl.constraints.sets import Ball, Box, FeasibleSet, NonNegative, Simplex

__all__ = [
    "AugmentedLagrangian",
    "Ball",
    "Box",
    "Constraint",
    "FeasibleSet",
    "LogBarrier",
    "NonNegative",
    "Penalty",
    "Projected",
    "Reparametrised",
    "Simplex",
]
