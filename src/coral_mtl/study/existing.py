"""Runs that were made before, put beside one another; whatever they differ in beside their strategies is named."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.finding import listed
from coral_mtl.errors import ConfigError
from coral_mtl.running.folder import CONFIG
from coral_mtl.running.settings import SELECTION, Settings, deciding, differing, label, read_settings
from coral_mtl.study.assessment import Assessment, assess
from coral_mtl.study.compare import COMPARISON
from coral_mtl.study.contenders import BASELINE
from coral_mtl.study.measured import Measured, idle_strategies, read_run, require_metric
from coral_mtl.study.search import STORAGE
from coral_mtl.study.target import Target, known_target

_ALIKE = "these runs are all of one strategy with the same settings"
_NO_RUN = "no run is named"
_STRATEGY = ("loss.weighting_strategy.", "optimizer.use_pcgrad_wrapper")


@dataclass(frozen=True, slots=True)
class _Run:
    measured: Measured
    settings: Settings
    selection: str


def compare_runs(paths: Sequence[Path], metric: str | None = None) -> Assessment:
    """Compare finished runs by the metric, or by the one that all of them select models by.

    Runs of one strategy with equal settings are one row, paired with the others by seed. There is no winner where
    strategies differ in settings, steps, seeds, first weights or data, or where one was never used. A comparison or a
    study, which the folder of a configuration's runs also holds, is left out, and a note says so.

    Raises:
        ConfigError: a folder is not that of a finished run, there are fewer than two strategies, a seed is there twice,
            or the runs have no metric in common.
        DataError: the strategies have no seed in common, or every run diverged.
    """
    others = [path for path in paths if any((path / file).exists() for file in (COMPARISON, STORAGE))]
    runs = [_read(path) for path in paths if path not in others]
    groups = _grouped(runs)
    left_out = [f"left out, being no run but a comparison or a study: {path}" for path in others]
    if len(groups) < 2:
        raise ConfigError("\n    ".join([f"{_ALIKE if groups else _NO_RUN}: there is nothing to compare", *left_out]))
    target = _target(runs, metric)
    by_label = {label: {run.measured.seed: run.measured for run in group} for label, group in groups.items()}
    baseline = BASELINE if BASELINE in by_label else next(iter(by_label))
    return assess(by_label, target, baseline, differences=_differences(groups), notes=left_out)


def _read(path: Path) -> _Run:
    measured, settings = read_run(path), read_settings(path / CONFIG)
    return _Run(measured, deciding(settings), settings[SELECTION])


def _grouped(runs: Sequence[_Run]) -> dict[str, list[_Run]]:
    """Runs of equal settings by the strategy's name, with what tells it from others of that name."""
    gathered: dict[tuple[str, frozenset[tuple[str, str]]], list[_Run]] = {}
    for run in runs:
        gathered.setdefault((run.measured.strategy, frozenset(run.settings.items())), []).append(run)
    groups: dict[str, list[_Run]] = {}
    for (name, _), group in gathered.items():
        twins = [other[0].settings for (twin, _), other in gathered.items() if twin == name]
        called = label(name, group[0].settings, twins)
        _check_seeds(called, group)
        groups[called] = group
    return groups


def _check_seeds(label: str, group: Sequence[_Run]) -> None:
    seeds = [run.measured.seed for run in group]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        folders = [str(run.measured.folder) for run in group if run.measured.seed == twice]
        raise ConfigError(f"{listed(folders)} are runs of {label} with the same seed, {twice}\n    name one of them")


def _target(runs: Sequence[_Run], metric: str | None) -> Target:
    selections = {run.selection for run in runs}
    if metric is None and len(selections) > 1:
        raise ConfigError(
            f"the runs select their models by different metrics, {listed(sorted(selections))}\n    say which: --metric"
        )
    chosen = metric or selections.pop()
    require_metric(chosen, (run.measured for run in runs))
    return known_target(chosen)


def _differences(groups: Mapping[str, Sequence[_Run]]) -> list[str]:
    """Return in what else than their strategies the runs differ, each with its values."""
    settings = [group[0].settings for group in groups.values()]
    own = [key for key in differing(settings) if not key.startswith(_STRATEGY)]
    values = {key: [each.get(key, "none") for each in settings] for key in own}
    values |= {
        "seeds": [_each(run.measured.seed for run in group) for group in groups.values()],
        "optimiser steps": [_each(_steps(group)) for group in groups.values()],
        "device": [_each(run.measured.environment.get("device") for run in group) for group in groups.values()],
    }
    found = [_spelt(what, dict(zip(groups, each, strict=True))) for what, each in values.items() if len(set(each)) > 1]
    if not any(key.startswith(("data.", "model.")) for key in own):
        found += _starts(groups)
    return [*found, *idle_strategies({name: [run.measured for run in group] for name, group in groups.items()})]


def _steps(group: Sequence[_Run]) -> Iterator[int]:
    """Steps of the runs; of one that diverged those of the others, where there are any."""
    through = [run.measured for run in group if run.measured.diverged is None]
    return (run.steps for run in through or [run.measured for run in group])


def _each(values: Iterable[Any]) -> str:
    """The different values, in order."""
    return ", ".join(str(value) for value in sorted(set(values)))


def _starts(groups: Mapping[str, Sequence[_Run]]) -> list[str]:
    """What runs of one seed do not start from together, as far as they tell."""
    prints: dict[tuple[str, int], set[str]] = {}
    for group in groups.values():
        for run in group:
            for what, value in run.measured.fingerprints.items():
                prints.setdefault((what, run.measured.seed), set()).add(value)
    return [f"first {what} of seed {seed}: not the same" for (what, seed), values in prints.items() if len(values) > 1]


def _spelt(what: str, values: Mapping[str, str]) -> str:
    return f"{what}: " + "; ".join(f"{value} ({label})" for label, value in values.items())
