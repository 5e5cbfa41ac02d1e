"""What a strategy name in a record stands for, also where another program wrote it."""

import functools
import re
from dataclasses import dataclass
from typing import Literal

from coral_mtl.engine.observation import Needs, Promises
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.strategy import Strategy
from coral_mtl.errors import CoralError
from coral_mtl.options import options_of
from coral_mtl.registry import canonical_key, strategies

BASELINE = "Uncertainty"
"""What the workflow for choosing a strategy starts with."""

UNHARMING = ("NashMTL", "IMGrad", "MGDA")
"""Proposed where no task may be hurt: each promises that, as several others do."""

_SUFFIXES = ("strategy", "weighting", "optimizer", "method", "loss")


@functools.lru_cache(maxsize=1024)
def canonical_strategy(name: str) -> str:
    """Return the registered spelling of a strategy or class name: NashMTL for `NashMTLStrategy` or `nash_mtl`.

    The parts of a stack, joined by "+", and those of a product, joined by "*", are looked up each for itself; a name
    that no strategy has stays as it is.
    """
    parts = re.split(r"([+*])", name)
    return "".join(part if part in "+*" else _canonical_part(part.strip()) for part in parts)


def _canonical_part(name: str) -> str:
    known = {canonical_key(registered): registered for registered in strategies.names()}
    key = canonical_key(name)
    while key not in known:
        suffix = next((s for s in _SUFFIXES if key.endswith(s) and key != s), None)
        if suffix is None:
            return name
        key = key.removesuffix(suffix)
    return known[key]


@dataclass(frozen=True, slots=True)
class Character:
    """What a diagnosis has to know about a strategy: the facts that its class declares, under its default options.

    steady: when its weights rightly stay the same (see `Strategy.steady`).
    by_epoch: whether an epoch's end can change its weights.
    is_gradient_strategy: whether it is one, or a stack with one on top.
    looks_at_gradients: whether it chooses its weights by the tasks' gradients.
    promises: what it guarantees.
    """

    steady: Literal["always", "without conflict", "at bounds", "never"]
    by_epoch: bool
    is_gradient_strategy: bool
    looks_at_gradients: bool
    promises: Promises


@functools.lru_cache(maxsize=1024)
def character(name: str) -> Character | None:
    """Return the character of the strategy with this canonical name; None where a part of it is not registered."""
    parts = re.split(r"[+*]", name)
    if not set(parts) <= set(strategies.names()):
        return None
    *below, top = (_character(strategies.get(part)) for part in parts)
    if not below:
        return top
    return Character(
        steady=next((part.steady for part in below if part.steady != "always"), top.steady),
        by_epoch=any(part.by_epoch for part in (*below, top)),
        is_gradient_strategy=top.is_gradient_strategy,
        looks_at_gradients=any(part.looks_at_gradients for part in (*below, top)),
        promises=top.promises,
    )


def _character(cls: type[Strategy]) -> Character:
    default = _built(cls)
    return Character(
        steady=cls.steady,
        by_epoch=cls.end_epoch not in (Strategy.end_epoch, Stack.end_epoch),
        is_gradient_strategy=cls.kind == "gradient strategy",
        looks_at_gradients=cls.needs > Needs.LOSSES,
        promises=default.promises if default else Promises(),
    )


def _built(cls: type[Strategy]) -> Strategy | None:
    """The strategy with its default options; None where one must be given, or a package that it needs is missing."""
    if any(option.default is ... for option in options_of(cls).values()):
        return None
    try:
        return cls()
    except CoralError:
        return None
