"""What steps cost under plain training and under strategies, on the model and data of a configuration."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from coral_mtl import registry
from coral_mtl.bench.repeated import Repeated
from coral_mtl.bench.timing import Stopwatch, in_turns, unprepared
from coral_mtl.config import Config, load_config
from coral_mtl.engine.observation import Needs
from coral_mtl.experiment import strategy_name
from coral_mtl.running.environment import describe_environment
from coral_mtl.strategy_catalogue import strategy_row
from coral_mtl.study.contenders import contender, split_outside

TURNS = 3
"""How often each kind of step has its turn; the fastest turn counts."""

FREQUENCIES = (5, 10, 20)
"""Update frequencies whose mean step is told."""

NEVER = sys.maxsize


@dataclass(frozen=True, slots=True)
class Cost:
    """A kind of optimiser step: milliseconds, and bytes at its peak beside the model and the optimiser's state."""

    milliseconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the tasks' gradients were kept.

    stored: shared layers with a gradient per task although ghost rows were allowed, each with the reason. ghost: layers
    that did without. bytes: of all stored gradients.
    """

    stored: tuple[tuple[str, str], ...]
    ghost: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class StrategyCosts:
    """A strategy's steps.

    refresh: a step at which it decides; all steps do where `reuse` is None. mean: milliseconds of the mean step, by
    update frequency. rows: None where it looks at no gradients of the shared parameters.
    """

    name: str
    refresh: Cost
    reuse: Cost | None
    mean: dict[int, float]
    rows: Rows | None


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, and where."""

    name: str
    tasks: tuple[str, ...]
    samples: int
    precision: str
    clock: str
    environment: dict[str, str]
    plain: Cost
    strategies: list[StrategyCosts]


def measure_costs(path: Path, overrides: Sequence[str], strategies: Sequence[str], steps: int) -> Costs:
    """Measure all kinds of steps in turns.

    Args:
        path: the configuration's file.
        overrides: `key.path=value` each.
        strategies: `NAME`, `NAME(option=value, ...)` or `WEIGHTING+NAME`, several with commas between; none measures
            the configuration's own.
        steps: steps of a turn.

    Raises:
        CoralError: the configuration or a strategy is wrong, or a part cannot be built.
    """
    configs = _configs(path, overrides, strategies)
    own = next(iter(configs.values()))
    plain = Repeated(own, plain=True)
    kinds = {name: _kinds(config) for name, config in configs.items()}
    costs = _measured([plain, *(each for found in kinds.values() for each in found)], steps)
    return Costs(
        name=own.name,
        tasks=plain.tasks,
        samples=plain.samples,
        precision=own.trainer.mixed_precision_dtype if own.trainer.use_mixed_precision else "float32",
        clock=Stopwatch(plain.device).name,
        environment=describe_environment(plain.device),
        plain=costs[plain],
        strategies=[_summary(name, found, costs) for name, found in kinds.items()],
    )


def _configs(path: Path, overrides: Sequence[str], strategies: Sequence[str]) -> dict[str, Config]:
    config = load_config(path, overrides)
    named = [contender(part, config) for text in strategies for part in split_outside(text, ",")]
    if not named:
        return {strategy_name(config): config}
    return {each.label: load_config(path, [*overrides, *each.variants[0]]) for each in named}


def _kinds(config: Config) -> list[Repeated]:
    """A strategy's refresh steps, and its reuse steps where it has any (the first of them is a refresh)."""
    block = config.loss.weighting_strategy
    if config.optimizer.use_pcgrad_wrapper or not strategy_row(registry.strategies.get(block.type)).reusable:
        return [Repeated(_unmeasured(config))]
    return [Repeated(_unmeasured(_with_options(config, update_frequency=every))) for every in (1, NEVER)]


def _unmeasured(config: Config) -> Config:
    diagnostics = config.diagnostics.model_copy(update={"gradient_every": NEVER})
    return config.model_copy(update={"diagnostics": diagnostics})


def _with_options(config: Config, **options: Any) -> Config:
    block = config.loss.weighting_strategy
    block = block.model_copy(update={"params": block.params | options})
    return config.model_copy(update={"loss": config.loss.model_copy(update={"weighting_strategy": block})})


def _measured(kinds: Sequence[Repeated], steps: int) -> dict[Repeated, Cost]:
    turns = {each: unprepared(partial(each.steps, steps)) for each in kinds}
    seconds = in_turns(turns, TURNS, Stopwatch(kinds[0].device))
    return {each: Cost(1e3 * min(seconds[each]) / steps, each.peak()) for each in kinds}


def _summary(name: str, kinds: Sequence[Repeated], costs: dict[Repeated, Cost]) -> StrategyCosts:
    refresh, reuse = costs[kinds[0]], costs[kinds[1]] if len(kinds) > 1 else None
    mean = {}
    if reuse is not None:
        mean = {n: (refresh.milliseconds + (n - 1) * reuse.milliseconds) / n for n in FREQUENCIES}
    return StrategyCosts(name, refresh, reuse, mean, _rows(kinds[0]))


def _rows(refresh: Repeated) -> Rows | None:
    engine = refresh.engine
    if engine.strategy.needs < Needs.GRAM or engine.gram_on == "features":
        return None
    shared = set(engine.shared_parameters())
    stored = [(layer, why) for layer, why in engine.stored_layers().items() if f"{layer}.weight" in shared]
    return Rows(tuple(stored), tuple(engine.ghost_layers()), engine.row_bytes(len(refresh.tasks)))
