"""How parameters are kept in a set: by projection, by a map, or by a term of the loss."""

from coral_mtl.constraints.modes.augmented_lagrangian import AugmentedLagrangian
from coral_mtl.constraints.modes.constraint import Constraint
from coral_mtl.constraints.modes.log_barrier import LogBarrier
from coral_mtl.constraints.modes.penalty import Penalty
from coral_mtl.constraints.modes.projected import Projected
from coral_mtl.constraints.modes.reparametrised import Reparametrised

__all__ = ["AugmentedLagrangian", "Constraint", "LogBarrier", "Penalty", "Projected", "Reparametrised"]
