"""Figures for the closed-form, the stateful and the raw strategies, and observations with coordinates for them."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference_values import GRADIENTS

from coral_mtl.engine.observation import Observation
from coral_mtl.engine.raw import CollectedRows

_FOLDER = Path(__file__).parent / "reference"
_CONTENT = json.loads((_FOLDER / "closed_form_and_stateful_strategies.json").read_text())
SHAPES = {"first.weight": (2, 3), "first.bias": (1,), "second.weight": (3,)}
"""The parameters that the ten coordinates of a recorded gradient are taken for."""


@dataclass(frozen=True)
class Value:
    """The direction that a certified solution or a peer has for one gradient matrix."""

    name: str
    gradients: np.ndarray
    losses: np.ndarray
    direction: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)
    rtol: float = 0.0
    atol: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sequence:
    """Five steps of a peer: gradients (5, T, D) of three independent batches, losses, and what came out of each."""

    name: str
    gradients: np.ndarray
    second: np.ndarray
    third: np.ndarray
    losses: np.ndarray
    params: dict[str, Any]
    steps: list[dict[str, Any]]


def exact_directions(strategy: str) -> list[Value]:
    """All certified directions of `strategy`."""
    return [_value(entry) for entry in _CONTENT["exact"] if entry["strategy"] == strategy]


def peer_directions(strategy: str, peer: str = "") -> list[Value]:
    """The directions of all peers whose name contains `peer`."""
    found = [e for e in _CONTENT["values"] if e["strategy"] == strategy and peer in e["peer"]]
    assert found
    return [_value(entry) for entry in found]


def peer_sequences(strategy: str, peer: str) -> list[Sequence]:
    """The sequences of all peers whose name contains `peer`."""
    found = [e for e in _CONTENT["steps"] if e["strategy"] == strategy and peer in e["peer"]]
    assert found
    return [_sequence(entry) for entry in found]


def names(count: int) -> tuple[str, ...]:
    """Task names."""
    return tuple(f"task_{i}" for i in range(count))


def observe(gradients, losses=None, tasks=None, **fields) -> Observation:
    """An observation with the Gram matrix alone."""
    losses = np.ones(len(gradients)) if losses is None else np.array(losses, dtype=float)
    return Observation(tasks or names(len(gradients)), losses, gradients @ gradients.T, **fields)


def observe_rows(gradients, *others, losses=None, tasks=None, shapes=SHAPES, dtype=torch.float64) -> Observation:
    """An observation of one independent batch, or of several, with the coordinates cut up into parameters."""
    parameters = [torch.zeros(shape, dtype=dtype) for shape in shapes.values()]
    batches = [[_row(g / (1 + len(others)), parameters) for g in batch] for batch in (gradients, *others)]
    rows = CollectedRows(list(shapes), parameters, batches)
    whole = np.mean([gradients, *others], axis=0)
    return observe(whole, losses, tasks, rows=rows)


def flat(direction) -> np.ndarray:
    """A direction as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in direction]).double().numpy()


def through_a_file(state):
    """Save and load as a checkpoint is."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _value(entry: dict[str, Any]) -> Value:
    case = GRADIENTS["cases"][entry["case"]]
    known = {"strategy", "case", "options", "direction", "rtol", "atol", "peer"}
    return Value(
        name="-".join([entry["case"], entry.get("peer", "exact"), *entry.get("options", {}).values()]),
        gradients=np.array(case["G"]),
        losses=np.array(case["losses"]),
        direction=np.array(entry["direction"]),
        options=entry.get("options", {}),
        rtol=entry.get("rtol", 0.0),
        atol=entry.get("atol", 0.0),
        extra={key: value for key, value in entry.items() if key not in known},
    )


def _sequence(entry: dict[str, Any]) -> Sequence:
    data = GRADIENTS["sequences"][entry["sequence"]]
    return Sequence(
        name=f"{entry['sequence']}-{entry['peer']}",
        gradients=np.array(data["G"]),
        second=np.array(data["G_second_sample"]),
        third=np.array(data["G_third_sample"]),
        losses=np.array(data["losses"]),
        params=entry["params"],
        steps=entry["steps"],
    )


def _row(gradient: np.ndarray, parameters: list[torch.Tensor]) -> dict[torch.Tensor, torch.Tensor]:
    pieces = torch.from_numpy(gradient).split([parameter.numel() for parameter in parameters])
    return {p: piece.reshape(p.shape).to(p.dtype) for p, piece in zip(parameters, pieces, strict=True)}
