"""Rules with a memory, which follow a metric or a ratio of gradients; a checkpoint keeps their state."""

from coral_mtl.schedules.controllers.average import Average
from coral_mtl.schedules.controllers.plateau import Plateau
from coral_mtl.schedules.controllers.regimes import Regimes

__all__ = ["Average", "Plateau", "Regimes"]
