"""Certified directions and right outputs of peers for the gradient strategies, and the gradients of all figures."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_FOLDER = Path(__file__).parent / "reference"
_CONTENT = json.loads((_FOLDER / "gradient_strategies.json").read_text())
GRADIENTS = json.loads((_FOLDER / "gradients.json").read_text())
"""`cases` (G, losses) by name, and `sequences` of steps."""


@dataclass(frozen=True)
class Case:
    """Gradients, (T, D), and the losses they belong to."""

    gradients: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Exact:
    """The direction of a strategy with these options, certified at 60 digits, and what else it should record."""

    name: str
    case: Case
    options: dict[str, Any]
    direction: np.ndarray
    records: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """<g_i, d> of a peer's direction, which is `times` ours to the relative tolerance."""

    name: str
    case: Case
    options: dict[str, Any]
    products: np.ndarray
    times: float
    tolerance: float


_CASES = {name: Case(np.array(c["G"]), np.array(c["losses"])) for name, c in GRADIENTS["cases"].items()}


def exact_values(strategy: str) -> list[Exact]:
    """All certified directions of `strategy`."""
    return [
        Exact(
            name=f"{entry['case']}-{'-'.join(map(str, entry['options'].values())) or 'default'}",
            case=_CASES[entry["case"]],
            options=entry["options"],
            direction=np.array(entry["direction"]),
            records=entry.get("records", {}),
        )
        for entry in _CONTENT["exact"]
        if entry["strategy"] == strategy
    ]


def peer_values(strategy: str) -> list[Peer]:
    """All outputs of peers for `strategy` that are right to their tolerance."""
    return [
        Peer(
            name=f"{entry['case']}-{entry['peer']}",
            case=_CASES[entry["case"]],
            options=entry["options"],
            products=np.array(entry["products"]),
            times=entry["times"],
            tolerance=entry["tolerance"],
        )
        for entry in _CONTENT["values"]
        if entry["strategy"] == strategy
    ]
