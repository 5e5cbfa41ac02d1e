"""What a comparison is to be: everything that decides which runs it is made of, as it stands in comparison.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from coral_mtl.config import Config
from coral_mtl.errors import ConfigError
from coral_mtl.study.contenders import BASELINE, split_outside
from coral_mtl.study.folder import overrides_of
from coral_mtl.study.target import Target, target_of

_TUNING_SEEDS = 2
_TUNING_OFFSET = 1_000_000
"""Tuning seeds are those of the comparison plus this: none is ever both."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A comparison.

    strategies: as on the command line; none is the configuration's own.
    seeds: of the runs that are compared. target: what they are compared by.
    single_task: whether each task is also trained alone. static_grid: whether tuned static weights take part.
    grid: values to choose from for each strategy, as YAML, by dotted key.
    variants: in place of strategies, the overrides of each variant of the section `compare`, by name.
    baseline: what the others are compared with.
    """

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    target: Target
    single_task: bool = False
    static_grid: bool = False
    grid: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: str = BASELINE

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Seeds on which variants are chosen; none of them is a seed of the comparison."""
        return tuple(seed + _TUNING_OFFSET for seed in self.seeds[:_TUNING_SEEDS])

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Return the definition that `dataclasses.asdict` and JSON made a dict of."""
        return cls(
            strategies=tuple(found["strategies"]),
            seeds=tuple(found["seeds"]),
            target=Target(**found["target"]),
            single_task=found["single_task"],
            static_grid=found["static_grid"],
            grid={key: tuple(values) for key, values in found["grid"].items()},
            variants={name: tuple(settings) for name, settings in found.get("variants", {}).items()},
            baseline=found.get("baseline", BASELINE),
        )


def define(
    config: Config,
    strategies: Sequence[str],
    seeds: int,
    metric: str | None = None,
    *,
    single_task: bool = False,
    static_grid: bool = False,
    tune: Sequence[str] = (),
) -> Definition:
    """Return the comparison on `config` that a command line asks for.

    Args:
        strategies: names, several in one text with commas between them; none is the configuration's own.
        seeds: how many, from the configuration's own on.
        metric: what to compare by; None takes `trainer.model_selection_metric`.
        single_task: whether to train each task alone too.
        static_grid: whether tuned static weights are to take part.
        tune: `KEY=VALUE,VALUE,...`; a key without a dot is an option of the optimiser.

    The variants are those of the configuration's section `compare`.

    Raises:
        ConfigError: a metric or a grid that cannot be read.
    """
    asked = config.compare
    variants = asked.variants if asked else {}
    return Definition(
        strategies=tuple(name for text in strategies for name in split_outside(text, ",")),
        seeds=tuple(range(config.seed, config.seed + seeds)),
        target=target_of(config, metric),
        single_task=single_task,
        static_grid=static_grid,
        grid=dict(map(_grid_of, tune)),
        variants={name: overrides_of(settings) for name, settings in variants.items()},
        baseline=(asked.baseline or next(iter(variants))) if asked else BASELINE,
    )


def _grid_of(text: str) -> tuple[str, tuple[str, ...]]:
    key, _, values = text.partition("=")
    key, choices = key.strip(), tuple(dict.fromkeys(split_outside(values, ",")))
    if not key or len(choices) < 2:
        raise ConfigError(f'cannot read the grid "{text}"\n    write KEY=VALUE,VALUE,..., such as lr=1e-3,3e-3')
    return (key if "." in key else f"optimizer.params.{key}"), choices
