"""Optimiser steps of a configuration, again and again on the same samples."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from coral_mtl import registry
from coral_mtl.bench.memory import peak_bytes
from coral_mtl.config import Config
from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.engine.batches import Batches
from coral_mtl.engine.randomness import deterministic_algorithms
from coral_mtl.engine.step import Step
from coral_mtl.experiment import build_experiment


class Plain:
    """`sum(losses).backward()` in the place of an engine."""

    gram_on = "parameters"

    def __init__(self) -> None:
        self.strategy = registry.strategies.get("Equal")()

    def backward(self, losses: Mapping[str, Tensor], *, scaler: GradScaler | None = None, **_: Any) -> Step:
        """Fill `.grad`; nothing is told of it."""
        total = torch.stack(list(losses.values())).sum()
        (total if scaler is None else scaler.scale(total)).backward()
        return Step()


class Repeated:
    """The trainer of a configuration, on the first samples of its training data, which are loaded once."""

    def __init__(self, config: Config, *, plain: bool = False) -> None:
        """Build everything; `plain` trains on the sum of the losses in place of the configuration's strategy."""
        experiment = build_experiment(config)
        if plain:
            experiment = replace(experiment, engine=Plain())  # type: ignore[arg-type]
        self.tasks = tuple(experiment.data.tasks)
        self.engine, self.device = experiment.engine, experiment.device
        self._trainer = experiment.trainer()
        self._deterministic = config.trainer.deterministic
        batches = Batches(
            experiment.data.train,
            ResumableSampler(len(experiment.data.train), seed=config.seed),  # type: ignore[arg-type]
            batch_size=config.data.batch_size,
            num_workers=0,
            device=self.device,
        )
        self._batches = list(islice(batches, config.trainer.gradient_accumulation_steps))
        self.samples = sum(len(inputs) for inputs, _ in self._batches)
        experiment.model.train()

    def steps(self, count: int = 1) -> None:
        """Take steps of the training loop: all but reading data, validation and diagnostics."""
        with deterministic_algorithms(self._deterministic):
            for _ in range(count):
                self._trainer.sampler.set_epoch(0)
                self._trainer.take_step(iter(self._batches))

    def peak(self) -> int:
        """Bytes at the peak of a step, beside the model and the optimiser's state."""
        self._trainer.optimizer.zero_grad()
        return peak_bytes(self.steps, self.device)
