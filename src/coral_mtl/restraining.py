"""The regularisers and constraints of a configuration, on the parameters of a model."""

from torch import nn

from coral_mtl import registry
from coral_mtl.config import Config
from coral_mtl.config.building import told_at
from coral_mtl.config.restraints import Constraint as ConstraintSettings
from coral_mtl.config.restraints import Regulariser as RegulariserSettings
from coral_mtl.constraints import Constraint
from coral_mtl.engine.restraints import Regularisation, Restraints
from coral_mtl.kinds import build_kind
from coral_mtl.parameters import matching_names
from coral_mtl.schedules import Horizon


def build_restraints(config: Config, model: nn.Module, run: Horizon) -> Restraints:
    """Return the sections `regularisers` and `constraints`; a reparametrising constraint changes the model.

    Raises:
        ConfigError: a pattern matches no parameter, or a parameter is not where its constraint needs it.
    """
    names = [name for name, _ in model.named_parameters()]
    constraints, regularisers = {}, {}
    for name, constraint in config.constraints.items():
        with told_at(config, "constraints", name, "parameters"):
            matched = matching_names(names, *constraint.parameters)
        with told_at(config, "constraints", name, "mode"):
            constraints[name] = _constraint(constraint, model, matched, run)
    for name, regulariser in config.regularisers.items():
        with told_at(config, "regularisers", name, "parameters"):
            matched = matching_names(names, *regulariser.parameters)
        with told_at(config, "regularisers", name):
            regularisers[name] = _regularisation(regulariser, model, matched, run)
    return Restraints(regularisers, constraints)


def _constraint(settings: ConstraintSettings, model: nn.Module, names: list[str], run: Horizon) -> Constraint:
    allowed = build_kind(registry.constraint_sets, settings.set)
    return build_kind(registry.constraint_modes, settings.mode, allowed, model, names, run)


def _regularisation(settings: RegulariserSettings, model: nn.Module, names: list[str], run: Horizon) -> Regularisation:
    penalty = build_kind(registry.regularisers, settings.penalty)
    return Regularisation(penalty, model, names, run, factor=settings.schedule, apply=settings.apply)
