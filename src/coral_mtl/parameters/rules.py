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

    Raises ConfigError for a negative factor or decay, and for either of parameters that the same rule freezes.
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
            if value is not None and self.frozen:
                raise ConfigError(
                    f"rule {self.pattern!r}: {name} has no effect on what is frozen\n    leave one of the two out"
                )

    def apply(self, treatment: Treatment) -> Treatment:
        """Return a treatment changed by what this rule says."""
        said = {field.name: getattr(self, field.name) for field in fields(Treatment)}
        return replace(treatment, **{name: value for name, value in said.items() if value is not None})


def treatments(model: nn.Module, rules: Sequence[Rule]) -> dict[str, Treatment]:
    """Return the treatment of each parameter of the model; of rules that contradict each other the later one wins.

    A parameter with several names (tied weights) is meant by each of them, and has one treatment. What no rule says
    about being frozen stays as the model has it. Raise ConfigError for a rule that matches no parameter.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    found = {parameter: Treatment(frozen=not parameter.requires_grad) for parameter in named.values()}
    for rule in rules:
        for name in matching_names(named, rule.pattern):
            found[named[name]] = rule.apply(found[named[name]])
    return {name: found[parameter] for name, parameter in named.items()}


def apply_rules(model: nn.Module, rules: Sequence[Rule]) -> dict[str, Treatment]:
    """Begin parameters anew and freeze them as the rules say, and return the treatment of each.

    Random numbers come from torch's global generator.

    Raises:
        ConfigError: a rule matches nothing; a module cannot begin anew, or could only with parameters that should stay.
    """
    treated = treatments(model, rules)
    _reset(model, {name for name, treatment in treated.items() if treatment.reset})
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


def _reset(model: nn.Module, anew: set[str]) -> None:
    """Let the modules all of whose own parameters are to begin anew do so, which must leave none of these out."""
    begun: set[nn.Parameter] = set()
    parted: list[tuple[nn.Module, dict[str, nn.Parameter]]] = []
    for prefix, module in model.named_modules():
        own = dict(module.named_parameters(prefix, recurse=False))
        if own and own.keys() <= anew:
            _begin(prefix, module, next(iter(own)))
            begun |= set(own.values())
        else:
            parted.append((module, own))
    for module, own in parted:
        for name, parameter in own.items():
            if name in anew and parameter not in begun:  # by another module, which it is tied to
                staying = next(other for other in own if other not in anew)
                raise ConfigError(
                    f"{name} cannot begin anew without {staying}, which belongs to the same {type(module).__name__}"
                    "\n    let one rule match both"
                )


def _begin(prefix: str, module: nn.Module, name: str) -> None:
    begin = getattr(module, "reset_parameters", None)
    if begin is None:
        raise ConfigError(
            f"{name} cannot begin anew: {type(module).__name__} {prefix!r} has no reset_parameters()"
            "\n    give it one, or build the model without pretrained weights"
        )
    begin()
