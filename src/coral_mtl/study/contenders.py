"""The strategies of a comparison, from what was asked for on the command line to overrides of its configuration."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from coral_mtl import registry
from coral_mtl.config import Config
from coral_mtl.errors import ConfigError
from coral_mtl.experiment import strategy_name

BASELINE = "Equal"
ALWAYS = (BASELINE, "Random")
STATIC_GRID = "Static grid"
SINGLE_TASK = "only {}"

_STRATEGY = "loss.weighting_strategy"
_WRAPPER = "optimizer.use_pcgrad_wrapper"
_FACTORS = (5.0, 0.2)
_FORM = re.compile(r"(?P<name>[\w-]+)\s*(?:\((?P<options>.*)\))?", re.DOTALL)

_SHOWN_BY = {"weights": ("model", "parameters", "constraints", "data"), "data": ("data", "augmentations")}
"""Sections that decide on what a run starts from, by its fingerprint."""

Overrides = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    """A strategy as it is run.

    variants: overrides of the configuration; of several, those with the best figure on the tuning seeds are compared.
    unlike: which fingerprints of a run need not be those of the other contenders, since its settings say so.
    task: the only task that is trained, for runs on one task alone.
    """

    label: str
    variants: tuple[Overrides, ...]
    task: str | None = None
    unlike: frozenset[str] = frozenset()

    def overrides(self, variant: int, seed: int) -> Overrides:
        """Return the overrides of a run with this seed."""
        return (*self.variants[variant], f"seed={seed}")


@dataclass(frozen=True, slots=True)
class _Part:
    """A strategy with the options that were given, as YAML."""

    name: str
    options: Mapping[str, str]

    @property
    def label(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


def split_outside(text: str, separator: str) -> list[str]:
    """Split `A, B(x=1, y=2), C` at the separators outside brackets; empty parts are left out."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == separator and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def contender(text: str, config: Config) -> Contender:
    """Return the strategy that `NAME`, `NAME(option=value, ...)` or `WEIGHTING+NAME` stands for.

    Options are YAML, checked with the rest of the configuration; those not given are the configuration's own where it
    names the same strategy, and the defaults elsewhere.

    Raises:
        ConfigError: it has another form, or an unknown name.
    """
    texts = split_outside(text, "+")
    if not 1 <= len(texts) <= 2:
        raise _unreadable(text)
    parts = [_part(part, text) for part in texts]
    own = config.loss.weighting_strategy
    *below, above = parts
    overrides = [f"{_STRATEGY}.type={above.name}", f"{_WRAPPER}=false"]
    options = above.options if above.name == own.type else {**_inherited(above, config), **above.options}
    overrides += [f"{_STRATEGY}.params.{key}={value}" for key, value in options.items()]
    if below:
        options = {**_inherited(below[0], config), **below[0].options}
        params = ", ".join(f"{json.dumps(key)}: {value}" for key, value in options.items())
        overrides.append(f"{_STRATEGY}.over={{type: {below[0].name}, params: {{{params}}}}}")
    elif own.over is not None:
        overrides.append(f"{_STRATEGY}.over=null")
    if own.times is not None:
        overrides.append(f"{_STRATEGY}.times=null")
    return Contender("+".join(part.label for part in parts), (tuple(overrides),))


def contenders(texts: Sequence[str], config: Config) -> list[Contender]:
    """Return the named strategies, with equal and random weighting in front where they are not among them.

    Without names it is the configuration's own strategy, as it stands there.

    Raises:
        ConfigError: a name is wrong, or there twice.
    """
    named = [contender(text, config) for text in texts] or [Contender(strategy_name(config), ((),))]
    labels = [each.label for each in named]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ConfigError(f"{twice} is named twice\n    name it once, or with different options")
    return [*(contender(name, config) for name in ALWAYS if name not in labels), *named]


def variant(label: str, settings: Overrides) -> Contender:
    """Return the variant of a configuration that the overrides `settings` make."""
    sections = {setting.partition("=")[0].partition(".")[0] for setting in settings}
    unlike = frozenset(what for what, deciding in _SHOWN_BY.items() if sections & {*deciding})
    return Contender(label, (settings,), unlike=unlike)


def static_grid(terms: Sequence[str]) -> Contender:
    """Return static weighting, with each task in turn at five times and at a fifth of the others' weight.

    The weights add up to the number of tasks, as those of Equal.
    """
    rows = [[factor if term == special else 1.0 for term in terms] for special in terms for factor in _FACTORS]
    scaled = dict.fromkeys(tuple(round(w * len(terms) / sum(row), 6) for w in row) for row in rows)
    return Contender(STATIC_GRID, tuple(_static(dict(zip(terms, row, strict=True))) for row in scaled))


def single_task(terms: Sequence[str], task: str) -> Contender:
    """Return the run on one task alone: its weight is 1, that of the others 0."""
    weights = {term: float(term == task) for term in terms}
    return Contender(SINGLE_TASK.format(task), (_static(weights),), task=task)


def tuned(each: Contender, grid: Mapping[str, Sequence[str]]) -> Contender:
    """Return the contender with every combination of the grid's values, by dotted key, as variants."""
    rows = product(*grid.values())
    settings = [tuple(f"{key}={value}" for key, value in zip(grid, row, strict=True)) for row in rows]
    variants = tuple((*variant, *setting) for variant in each.variants for setting in settings)
    return replace(each, variants=variants)


def _part(text: str, whole: str) -> _Part:
    found = _FORM.fullmatch(text)
    if found is None:
        raise _unreadable(whole)
    options = {}
    for option in split_outside(found["options"] or "", ","):
        key, equals, value = option.partition("=")
        if not equals or not key.strip().isidentifier():
            raise _unreadable(whole)
        options[key.strip()] = value.strip()
    return _Part(registry.strategies.canonical(found["name"]), options)


def _inherited(part: _Part, config: Config) -> dict[str, str]:
    """The options that the configuration itself gives this strategy, as YAML."""
    own = config.loss.weighting_strategy
    blocks = [block for block in (own, own.over) if block is not None and block.type == part.name]
    return {key: json.dumps(value) for key, value in blocks[0].params.items()} if blocks else {}


def _static(weights: Mapping[str, float]) -> Overrides:
    block = json.dumps({"type": "Static", "params": {"weights": weights}})
    return f"{_STRATEGY}={block}", f"{_WRAPPER}=false"


def _unreadable(text: str) -> ConfigError:
    return ConfigError(
        f'cannot read the strategy "{text}"\n    write NAME, NAME(option=value, ...) or WEIGHTING+NAME, such as '
        "NashMTL(update_frequency=10) or Uncertainty+PCGrad"
    )
