"""Sets that a tensor of parameters may be asked to stay in."""

from coral_mtl.constraints.sets.ball import Ball
from coral_mtl.constraints.sets.box import Box
from coral_mtl.constraints.sets.feasible import FeasibleSet
from coral_mtl.constraints.sets.non_negative import NonNegative
from coral_mtl.constraints.sets.simplex import Simplex

__all__ = ["Ball", "Box", "FeasibleSet", "NonNegative", "Simplex"]
