"""The small grid of a comparison: each strategy gets the same number of trials, on seeds that are not compared."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from coral_mtl.study.measured import read_run
from coral_mtl.study.plan import Planned


def choose(trials: Sequence[Planned]) -> int:
    """Return the variant with the fewest diverged runs, and of these the best mean; the first where none was tried."""
    gains = _gains(trials)
    return min(gains, key=lambda variant: _badness(gains[variant])) if gains else 0


def described(trials: Sequence[Planned], chosen: int) -> dict[str, Any]:
    """Return what was tried, with the figures by seed (None: diverged), and what was chosen."""
    figures: dict[int, dict[int, float | None]] = {}
    for trial, gain in zip(trials, map(_gain, trials), strict=True):
        figure = None if math.isnan(gain) else trial.target.sign * gain
        figures.setdefault(trial.variant, {})[trial.seed] = figure
    variants = trials[0].contender.variants
    tried = [{"overrides": list(variants[variant]), "figures": by_seed} for variant, by_seed in figures.items()]
    return {"metric": trials[0].target.metric, "chosen": list(variants[chosen]), "tried": tried}


def noted(trials: Sequence[Planned], chosen: int) -> str:
    """Return in a sentence what was chosen for a contender, among how many, and on which seeds."""
    each, seeds = trials[0].contender, dict.fromkeys(str(trial.seed) for trial in trials)
    common = set.intersection(*map(set, each.variants))
    settings = ", ".join(override for override in each.variants[chosen] if override not in common)
    edge = ", at the edge of the grid: a wider one may do better" if at_edge(each.variants, chosen) else ""
    return f"{each.label} was tuned: {settings}, best of {len(each.variants)} on the seeds {', '.join(seeds)}{edge}"


def at_edge(variants: Sequence[Sequence[str]], chosen: int) -> bool:
    """Return whether the chosen variant has the smallest or the largest of three or more numbers tried for a key."""
    tried: dict[str, set[float]] = {}
    for key, value in (pair for variant in variants for pair in _numbers(variant)):
        tried.setdefault(key, set()).add(value)
    ends = {key: (min(values), max(values)) for key, values in tried.items() if len(values) > 2}
    return any(value in ends.get(key, ()) for key, value in _numbers(variants[chosen]))


def _numbers(variant: Sequence[str]) -> Iterator[tuple[str, float]]:
    for override in variant:
        key, _, value = override.partition("=")
        with suppress(ValueError):
            yield key, float(value)


def _gains(trials: Sequence[Planned]) -> dict[int, list[float]]:
    gains: dict[int, list[float]] = {}
    for trial in trials:
        gains.setdefault(trial.variant, []).append(_gain(trial))
    return gains


def _gain(trial: Planned) -> float:
    """A trial's figure with larger better, NaN where it diverged."""
    return trial.target.sign * read_run(trial.job.folder).figure(trial.target.metric)


def _badness(gains: list[float]) -> tuple[int, float]:
    known = [gain for gain in gains if not math.isnan(gain)]
    return len(gains) - len(known), -sum(known) / len(known) if known else 0.0
