"""Ordered rules on named parameters: learning rate, weight decay, frozen, begun anew."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from coral_mtl.errors import ConfigError
from coral_mtl.parameters.matching import matching_names

NamedParameters = Iterable[tuple[str, nn.Parameter]]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to one parameter.

    lr_factor: factor on the base learning rate.
    weight_decay: its weight decay; None for that of the optimiser.
    frozen: not trained.
    reset: begun anew by its module's `reset_parameters` before training.
    """

    lr_factor: float = 1.0
    weight_decay: float | None = None
    frozen: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the parameters that a pattern matches; None leaves to earlier rules what they say.

    Raises ConfigError for a negative factor or decay.
    """

    pattern: str
    lr_factor: float | None = None
    weight_decay: float | None = None
    frozen: bool | None = None
    reset: bool | None = None

    def __post_init__(self) -> None:
        for name in ("lr_factor", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"rule {self.pattern!r}: {name} is {value}, and must be 0 or above")

    def apply(self, treatment: Treatment) -> Treatment:
        """Return a treatment changed by what this rule says."""
        said = {field.name: getattr(self, field.name) for field in fields(Treatment)}
        return replace(treatment, **{name: value for name, value in said.items() if value is not None})


def treatments(model: nn.Module, rules: Sequence[Rule]) -> dict[str, Treatment]:
    """Return the treatment of each parameter of the model; of rules that contradict each other the later one wins.

    Raise ConfigError for a rule that matches no parameter.
    """
    found = {name: Treatment() for name, _ in model.named_parameters()}
    for rule in rules:
        for name in matching_names(found, rule.pattern):
            found[name] = rule.apply(found[name])
    return found


def apply_rules(model: nn.Module, rules: Sequence[Rule]) -> dict[str, Treatment]:
    """Begin parameters anew and freeze them as the rules say, and return the treatment of each.

    Parameters that no rule freezes are trained. Random numbers come from torch's global generator.

    Raises:
        ConfigError: a rule matches nothing; a module cannot begin anew, or could only with parameters that should stay.
    """
    treated = treatments(model, rules)
    for prefix, module in model.named_modules():
        own = [f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
        anew = [name for name in own if treated[name].reset]
        if anew:
            _reset(prefix, module, anew, [name for name in own if name not in anew])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not treated[name].frozen)
    return treated


def keep_frozen_in_eval(model: nn.Module, treated: Mapping[str, Treatment]) -> None:
    """Put every submodule all of whose parameters are frozen into evaluation mode; to be called after `model.train()`.

    Its batch statistics and dropout stand still with it. Submodules without parameters follow the module they are in.
    """

    def visit(prefix: str, module: nn.Module) -> None:
        names = [f"{prefix}{name}" for name, _ in module.named_parameters()]
        if names and all(treated.get(_unparametrised(name), Treatment()).frozen for name in names):
            module.eval()
            return
        for name, child in module.named_children():
            visit(f"{prefix}{name}.", child)

    visit("", model)


def parameter_groups(
    named_parameters: NamedParameters,
    treated: Mapping[str, Treatment] | None = None,
    *,
    lr: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Return optimiser groups of the trained parameters: one for each learning rate and weight decay among them.

    Each has its own `lr`, so that a schedule of factors keeps their ratios, and the names of its parameters in `names`.
    Those with weight decay come first. Without a rule about it, 1-D parameters and biases have none. A reparametrised
    parameter is treated as what it stands for. Raise ConfigError where nothing is trained.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        meant = _unparametrised(name)
        treatment = (treated or {}).get(meant, Treatment())
        decay = treatment.weight_decay
        if decay is None:
            decay = 0.0 if parameter.ndim <= 1 or meant.endswith("bias") else weight_decay
        key = (treatment.lr_factor * lr, decay)
        group = groups.setdefault(key, {"params": [], "names": [], "lr": key[0], "weight_decay": key[1]})
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise ConfigError(
            "every parameter is frozen: there is nothing to train\n    leave out a rule with frozen: true"
        )
    return sorted(groups.values(), key=lambda group: not group["weight_decay"])


def _unparametrised(name: str) -> str:
    """The name that a parameter had before a constraint reparametrised it."""
    return re.sub(r"parametrizations\.(\w+)\.original$", r"\1", name)


def _reset(prefix: str, module: nn.Module, anew: list[str], staying: list[str]) -> None:
    begin = getattr(module, "reset_parameters", None)
    if begin is None:
        raise ConfigError(
            f"{anew[0]} cannot begin anew: {type(module).__name__} {prefix!r} has no reset_parameters()"
            "\n    give it one, or build the model without pretrained weights"
        )
    if staying:
        raise ConfigError(
            f"{anew[0]} cannot begin anew without {staying[0]}, which belongs to the same {type(module).__name__}"
            "\n    let one rule match both"
        )
    begin()
