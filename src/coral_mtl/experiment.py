"""From a validated configuration to the objects of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from coral_mtl import registry
from coral_mtl.config import Config
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.optimizer import ScheduledOptimizer
from coral_mtl.engine.randomness import seed_everything
from coral_mtl.engine.reports import Observer
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.strategy import Strategy
from coral_mtl.engine.trainer import Splits, Trainer
from coral_mtl.engine.wrappers import ClippedDirection, WeightAveraging
from coral_mtl.errors import ConfigError
from coral_mtl.metrics import MetricSet


class DataSet(Splits, Protocol):
    """What `registry.data` builds."""

    tasks: Mapping[str, TaskSpec]
    input_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Experiment:
    """All parts of a run, in their first state."""

    config: Config
    strategy_name: str
    device: torch.device
    data: DataSet
    model: nn.Module
    loss: Any
    engine: Engine
    optimizer: ScheduledOptimizer
    metrics: MetricSet
    total_steps: int

    def trainer(self, checkpoints: Checkpoints | None = None, observers: Sequence[Observer] = ()) -> Trainer:
        """Return the trainer of these parts."""
        return Trainer(
            self.model,
            self.loss,
            self.engine,
            self.optimizer,
            self.data,
            metrics=self.metrics,
            settings=self.config.trainer,
            batch_size=self.config.data.batch_size,
            num_workers=self.config.data.num_workers,
            seed=self.config.seed,
            gradient_every=self.config.diagnostics.gradient_every,
            checkpoints=checkpoints,
            observers=observers,
        )


def build_experiment(config: Config) -> Experiment:
    """Build every part that `config` names; the model's first weights follow from the seed.

    Raises:
        CoralError: a part refuses its options, or misses a package or its data.
    """
    device = choose_device(config.trainer.device)
    data = config.data.build()
    seed_everything(config.seed)  # after the data, whose packages may draw numbers when they are imported
    model = config.model.build(data.input_shape, data.tasks).to(device)
    loss = config.loss.build(data.tasks)
    balancing = config.loss.weighting_strategy
    engine = Engine(
        build_strategy(config),
        model,
        tasks=loss.terms,
        nonfinite=config.trainer.nonfinite,
        gram_on=balancing.gram_on,
        rows=balancing.rows,
        row_dtype=None if balancing.row_type is None else getattr(torch, balancing.row_type),
    )
    window = config.data.batch_size * config.trainer.gradient_accumulation_steps
    total_steps = config.trainer.epochs * math.ceil(len(data.train) / window)
    optimizer = config.optimizer.build(model.named_parameters(), total_steps, engine.parameter_groups())
    return Experiment(
        config=config,
        strategy_name=strategy_name(config),
        device=device,
        data=data,
        model=model,
        loss=loss,
        engine=engine,
        optimizer=optimizer,
        metrics=MetricSet(data.tasks),
        total_steps=total_steps,
    )


def build_strategy(config: Config) -> Strategy:
    """Return the strategy of `loss.weighting_strategy` with what lies under it and around it.

    Underneath: the loss weighting `over`. Above: PCGrad, with `optimizer.use_pcgrad_wrapper`. Around: the average of
    the coefficients first, then the limit to the direction's length.
    """
    block = config.loss.weighting_strategy
    strategy = block.build()
    if block.over is not None:
        strategy = Stack(block.over.build(), strategy)
    if config.optimizer.use_pcgrad_wrapper:
        strategy = Stack(strategy, registry.strategies.get("PCGrad")())
    if block.weight_averaging is not None:
        strategy = WeightAveraging(strategy, momentum=block.weight_averaging)
    if block.clip_direction is not None:
        strategy = ClippedDirection(strategy, max_norm=block.clip_direction)
    return strategy


def strategy_name(config: Config) -> str:
    """Return the strategy's name in records and folders: `NashMTL`, or `Uncertainty+PCGrad` for a stack."""
    block = config.loss.weighting_strategy
    names = [block.over.type] if block.over is not None else []
    names += [block.type, *(["PCGrad"] if config.optimizer.use_pcgrad_wrapper else [])]
    return "+".join(registry.strategies.canonical(name) for name in names)


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is a CUDA GPU where there is one, else the CPU.

    Raises:
        ConfigError: this machine does not have that device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(
            f"this machine has no device {name!r}, or this build of torch does not support it\n"
            "    take trainer.device: auto, or install a build of torch for it",
            option="device",
        )
    return device
