"""Hashes by which two runs can be seen to start from the same weights and the same data in the same order."""

import hashlib
from typing import Any

import numpy as np
import torch

from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.engine.randomness import generators_state, load_generators_state
from coral_mtl.experiment import Experiment

_ITEMS = 4


def fingerprints(experiment: Experiment) -> dict[str, str]:
    """Return the hashes of the model's state and of the data, before the first step.

    `data` covers the order of the first epoch, and the contents of its first four items and of the first four for
    validation. Nothing that the run depends on changes, the random generators included.
    """
    return {"weights": _hashed(experiment.model.state_dict()), "data": _hashed(_data(experiment))}


def _data(experiment: Experiment) -> dict[str, Any]:
    train, validation = experiment.data.train, experiment.data.validation
    order = ResumableSampler(len(train), seed=experiment.config.seed).order()  # type: ignore[arg-type]
    in_order = range(min(_ITEMS, len(validation)))  # type: ignore[arg-type]
    before = generators_state()
    contents = [train[int(index)] for index in order[:_ITEMS]], [validation[index] for index in in_order]
    load_generators_state(before)
    return {"order": order, "train": contents[0], "validation": contents[1]}


def _hashed(value: Any) -> str:
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Feed a tree of dicts, lists, tuples, tensors, arrays and plain values to a hash, types and shapes included."""
    if isinstance(value, dict):
        for key, item in value.items():
            digest.update(f"{key}:".encode())
            _feed(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)}[".encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    else:
        digest.update(repr(value).encode())
