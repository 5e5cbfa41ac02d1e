"""What a strategy name in a record stands for, also where another program wrote it."""

import functools
from dataclasses import dataclass

from coral_mtl.engine.strategy import Needs
from coral_mtl.registry import canonical_key, strategies

_SUFFIXES = ("strategy", "weighting", "optimizer", "method", "loss")
_FIXED = ("Equal", "Static")
_PROJECTIONS = ("PCGrad", "UPGrad", "DualProj")


@functools.lru_cache(maxsize=1024)
def canonical_strategy(name: str) -> str:
    """Return the registered spelling of a strategy or class name: NashMTL for `NashMTLStrategy` or `nash_mtl`.

    The parts of a stack, joined by "+", are looked up each for itself; a name that no strategy has stays as it is.
    """
    return "+".join(_canonical_part(part.strip()) for part in name.split("+"))


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
    """What a diagnosis has to know about a strategy.

    moves: its weights are meant to change from step to step.
    projects: it changes weights where gradients are in conflict, and does nothing about their lengths.
    looks_at_gradients: it chooses its weights by the tasks' gradients.
    """

    moves: bool = False
    projects: bool = False
    looks_at_gradients: bool = False


@functools.lru_cache(maxsize=1024)
def character(name: str) -> Character:
    """Return the character of the strategy with this canonical name; nothing is claimed of an unknown one."""
    parts = {part: strategies.get(part) for part in name.split("+") if part in strategies.names()}
    return Character(
        moves=any(part not in _FIXED + _PROJECTIONS for part in parts),
        projects=any(part in _PROJECTIONS for part in parts),
        looks_at_gradients=any(cls.needs > Needs.LOSSES for cls in parts.values()),
    )
