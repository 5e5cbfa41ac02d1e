"""From a validated configuration to the objects of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from coral_mtl import registry
from coral_mtl.config import Config
from coral_mtl.config.bases import Block
from coral_mtl.config.building import told_at
from coral_mtl.config.sections import LossWeighting, WeightingStrategy
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.batches import Splits, run_length
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.optimizer import ScheduledOptimizer
from coral_mtl.engine.product import Product
from coral_mtl.engine.randomness import seed_everything
from coral_mtl.engine.reports import Observer
from coral_mtl.engine.restraints import Restraints
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.stages import staged
from coral_mtl.engine.strategy import Strategy
from coral_mtl.engine.trainer import Trainer
from coral_mtl.engine.wrappers import ClippedDirection, WeightAveraging
from coral_mtl.errors import ConfigError
from coral_mtl.inference import Inference
from coral_mtl.losses.objective import Objective
from coral_mtl.metrics import Metrics
from coral_mtl.options import options_of
from coral_mtl.parameters import Rule, Treatment, apply_rules, matching_names
from coral_mtl.registry import takes_augmentations
from coral_mtl.restraining import build_restraints
from coral_mtl.schedules import PRESETS, Horizon, Schedule, bounded_curve, schedule_of, unfinished_cycle


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
    objective: Objective
    engine: Engine
    optimizer: ScheduledOptimizer
    metrics: Metrics
    inference: Inference
    total_steps: int
    restraints: Restraints
    treatments: Mapping[str, Treatment]
    remarks: tuple[str, ...] = ()

    def trainer(self, checkpoints: Checkpoints | None = None, observers: Sequence[Observer] = ()) -> Trainer:
        """Return the trainer of these parts."""
        return Trainer(
            self.model,
            self.objective,
            self.engine,
            self.optimizer,
            self.data,
            metrics=self.metrics,
            settings=self.config.trainer,
            batch_size=self.config.data.batch_size,
            num_workers=self.config.data.num_workers,
            seed=self.config.seed,
            gradient_every=self.config.diagnostics.gradient_every,
            restraints=self.restraints,
            plateau=self.config.optimizer.plateau,
            treatments=self.treatments,
            inference=self.inference,
            validation_batch_size=self.config.evaluator.batch_size,
            checkpoints=checkpoints,
            observers=observers,
        )


def build_experiment(config: Config) -> Experiment:
    """Build every part that `config` names; the model's first weights follow from the seed.

    Raises:
        CoralError: a part refuses its options, or misses a package or its data.
    """
    device = choose_device(config.trainer.device)
    data = build_data(config)
    seed_everything(config.seed)  # after the data, whose packages may draw numbers when they are imported
    with told_at(config, "model"):
        model = config.model.build(data.input_shape, data.tasks).to(device)
    treatments = treat(model, config)
    window = config.data.batch_size * config.trainer.gradient_accumulation_steps
    run = run_length(len(data.train), window, config.trainer.epochs)
    restraints = build_restraints(config, model, run)  # before the optimiser, which trains what is reparametrised
    loss = config.loss
    objective = Objective(loss.build(data.tasks), balance=loss.balance, weights=loss.term_weights, run=run)
    balancing = loss.weighting_strategy
    engine = Engine(
        build_strategy(config),
        model,
        tasks=objective.terms,
        run=run,
        nonfinite=config.trainer.nonfinite,
        gram_on=balancing.gram_on,
        rows=balancing.rows,
        row_dtype=None if balancing.row_type is None else getattr(torch, balancing.row_type),
    )
    return Experiment(
        config=config,
        strategy_name=strategy_name(config),
        device=device,
        data=data,
        model=model,
        objective=objective,
        engine=engine,
        optimizer=build_optimizer(config, model, engine, treatments, run),
        metrics=config.metrics.build(data.tasks),
        inference=config.evaluator.build(),
        total_steps=int(run.steps),
        restraints=restraints,
        treatments=treatments,
        remarks=remarks_on(config, run),
    )


def build_data(config: Config) -> Any:
    """Return the data, with the training items augmented where the data set takes augmentations."""
    taken = takes_augmentations(registry.data.get(config.data.type))
    return _seeded(config.data, config.seed, *([config.augmentations.build()] if taken else []))


def treat(model: nn.Module, config: Config) -> dict[str, Treatment]:
    """Begin parameters anew and freeze them as the section `parameters` says, and return the treatment of each."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for position, rule in enumerate(config.parameters):
        with told_at(config, "parameters", position, "pattern"):
            matching_names(names, rule.pattern)
    with told_at(config, "parameters"):
        return apply_rules(model, [Rule(**rule.model_dump()) for rule in config.parameters])


def build_optimizer(
    config: Config, model: nn.Module, engine: Engine, treatments: Mapping[str, Treatment], run: Horizon
) -> ScheduledOptimizer:
    """Return the optimiser of the model and the strategy, with the schedule and the stages of its learning rates."""
    groups = engine.parameter_groups()
    with told_at(config, "parameters"):  # which may leave nothing to train
        optimizer = config.optimizer.build(model.named_parameters(), int(run.steps), groups, treatments)
    if config.optimizer.schedule is not None:
        with told_at(config, "optimizer", "schedule"):
            optimizer.follow(bounded_curve("the factor", config.optimizer.schedule, run))
    if config.trainer.stages:
        optimizer.follow(staged(optimizer.factor, config.trainer.stages, run))
    return optimizer


def remarks_on(config: Config, run: Horizon) -> tuple[str, ...]:
    """Return what is legal in a configuration and yet hardly meant, in words."""
    schedule = config.optimizer.schedule
    return () if schedule is None else (*_another_rate(config), *_cut_short(schedule_of(schedule), run))


def _another_rate(config: Config) -> Iterator[str]:
    """Say that the base learning rate is not the one that the schedule, a preset, is meant for."""
    name, rate = config.optimizer.schedule, config.optimizer.params.get("lr")
    meant = PRESETS[name].learning_rate if isinstance(name, str) and name in PRESETS else rate
    if rate not in (None, meant):
        yield (
            f"optimizer.schedule: {name} is meant for a base learning rate of {meant:g} and sets none; "
            f"optimizer.params.lr is {rate:g}"
        )


def _cut_short(schedule: Schedule, run: Horizon) -> Iterator[str]:
    """Say that the run ends within a cycle of learning rates."""
    cut = unfinished_cycle(schedule, run)
    if cut is None:
        return
    whole = [f"{steps / run.steps_per_epoch:g} epochs" for steps in (cut.shorter, cut.longer) if steps]
    yield (
        f"the run ends at {cut.progress:.0%} of a cycle of optimizer.schedule, where learning rates are still high; "
        f"cycles end after {' and '.join(whole)}"
    )


def build_strategy(config: Config) -> Strategy:
    """Return the strategy of `loss.weighting_strategy` with what lies under it and around it.

    Underneath: the loss weighting `over`. Above: PCGrad, with `optimizer.use_pcgrad_wrapper`. Around: the average of
    the coefficients first, then the limit to the direction's length.
    """
    block = config.loss.weighting_strategy
    strategy = build_weighting(block, config.seed)
    if block.over is not None:
        strategy = Stack(build_weighting(block.over, config.seed), strategy)
    if config.optimizer.use_pcgrad_wrapper:
        strategy = Stack(strategy, registry.strategies.get("PCGrad")(seed=config.seed))
    if block.weight_averaging is not None:
        strategy = WeightAveraging(strategy, momentum=block.weight_averaging)
    if block.clip_direction is not None:
        strategy = ClippedDirection(strategy, max_norm=block.clip_direction)
    return strategy


def build_weighting(block: WeightingStrategy | LossWeighting, seed: int) -> Any:
    """Return the strategy of a block, times the second weighting where it has one."""
    own = _seeded(block, seed)
    return own if block.times is None else Product(own, _seeded(block.times, seed))


def _seeded(block: Block, seed: int, *arguments: Any) -> Any:
    """Build a data set or a strategy; a `seed` of its own that is null follows the run's."""
    cls: Any = block.registry.get(block.type)
    follows = "seed" in options_of(cls) and block.params.get("seed") is None
    return cls(*arguments, **block.params | ({"seed": seed} if follows else {}))


def strategy_name(config: Config) -> str:
    """Return the strategy's name in records and folders: `NashMTL`, or `Uncertainty+PCGrad` for a stack.

    Two weightings that are multiplied are `Static*GradientNormalised`.
    """
    block = config.loss.weighting_strategy
    names = [_written_name(part) for part in (block.over, block) if part is not None]
    return "+".join([*names, *(["PCGrad"] if config.optimizer.use_pcgrad_wrapper else [])])


def _written_name(block: WeightingStrategy | LossWeighting) -> str:
    parts = [block.type, *([block.times.type] if block.times is not None else [])]
    return "*".join(map(registry.strategies.canonical, parts))


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
