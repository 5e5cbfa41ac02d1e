"""What a diagnosis knows of one run: running figures, of the same size however long the run is."""

import math
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from coral_mtl.diagnostics.reader import Pair, Record
from coral_mtl.diagnostics.tally import Figures, Tally, Trend
from coral_mtl.diagnostics.thresholds import Thresholds

_MOST_TEXTS = 1000


class Statistics:
    """Running figures of one run.

    losses, weights, norms, scalars: by name. weights: of decisions, not of cached ones.
    log_ratio: log10(|g_a| / |g_b|) by pair (a, b), counted where it is beyond the imbalance ratio either way.
    cosines: by pair, counted below the three conflict levels.
    descent: <g_t, d> by task, counted below 0. alignment: cos(g_t, d) by task.
    weight_share: |c_t| / sum |c|. direction_share: |c_t| |g_t| / sum |c| |g|. Both counted from domination on.
    trends: of the losses. log_trends: of the logarithms of the positive ones.
    inactive: steps without the task, by task; silent: those of the measured ones at which it was left out or its
        gradient was exactly 0; reasons: the last one, by task. statuses: solves by outcome. skipped: steps by reason.
    """

    def __init__(self, run: str, thresholds: Thresholds) -> None:
        """Start before the first record of the run."""
        self.run = run
        self.strategy = "unknown"
        self.records = 0
        self.epochs = 0
        self._epoch: int | None = None
        self._rounding = thresholds.hurt_rounding
        self.measured = 0
        self.conflict_levels = (thresholds.any_conflict, thresholds.clear_conflict, thresholds.strong_conflict)
        self.first_step = self.last_step = 0
        self.inactive: Counter[str] = Counter()
        self.silent: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self.statuses: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.trends: dict[str, Trend] = {}
        self.log_trends: dict[str, Trend] = {}
        self.losses, self.weights, self.norms, self.scalars = Tally(), Tally(), Tally(), Tally()
        self.alignment = Tally()
        self.descent = Tally([0.0])
        self.log_ratio = Tally([np.log10(thresholds.imbalance_ratio)], beyond=_either_way)
        self.cosines = Tally(self.conflict_levels)
        self.weight_share = Tally([thresholds.domination_share], beyond=np.greater_equal)
        self.direction_share = Tally([thresholds.domination_share], beyond=np.greater_equal)

    def add(self, record: Record) -> None:
        """Take in the next record."""
        step = record.step
        self.first_step = step if not self.records else min(self.first_step, step)
        self.last_step = step if not self.records else max(self.last_step, step)
        self.strategy = record.strategy
        self.records += 1
        self.epochs += record.epoch not in (None, self._epoch)
        self._epoch = record.epoch
        self._count(record)
        self._add_losses(record)
        self.scalars.add(step, record.scalars)
        self._add_weights(record)
        self._add_gradients(record)

    @property
    def tasks(self) -> list[str]:
        """All tasks that appear in any figure, in order of appearance."""
        names = [*self.losses.figures(), *self.weights.figures(), *self.norms.figures()]
        return list(dict.fromkeys([*names, *self.inactive]))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON; those by pair are under "a_vs_b"."""
        means = {"task_weights": self.weights, "gradient_norm": self.norms, "scalars": self.scalars}
        shares = {
            "gradient_cosine_similarity": self.cosines,
            "log10_norm_ratio": self.log_ratio,
            "descent": self.descent,
            "direction_share": self.direction_share,
        }
        return {
            "run": self.run,
            "strategy_type": self.strategy,
            "steps": [self.first_step, self.last_step],
            "records": self.records,
            "measured": self.measured,
            "tasks": self.tasks,
            "unweighted_losses": {task: trend.means() for task, trend in self.trends.items()},
            "inactive_tasks": dict(self.inactive),
            "skipped": dict(self.skipped),
            "solver": dict(self.statuses),
            **{
                name: {key: _range(figures) for key, figures in tally.figures().items()}
                for name, tally in means.items()
            },
            **{name: {_key(key): _share(f) for key, f in tally.figures().items()} for name, tally in shares.items()},
        }

    def _count(self, record: Record) -> None:
        for task, reason in record.inactive.items():
            _count(self.inactive, task)
            if task in self.inactive:
                self.reasons[task] = reason
        if record.skipped is not None:
            _count(self.skipped, record.skipped)
        if record.status is not None and not record.reused:
            _count(self.statuses, record.status)

    def _add_losses(self, record: Record) -> None:
        self.losses.add(record.step, record.losses)
        for task, loss in record.losses.items():
            if np.isfinite(loss):
                self.trends.setdefault(task, Trend()).add(loss)
            if 0.0 < loss < np.inf:
                self.log_trends.setdefault(task, Trend()).add(math.log(loss))

    def _add_weights(self, record: Record) -> None:
        if not record.reused:
            self.weights.add(record.step, record.weights)
        self.weight_share.add(record.step, _shares(record.weights))

    def _add_gradients(self, record: Record) -> None:
        step, norms = record.step, record.norms
        if norms or record.cosines:
            self.measured += 1
            for task in {*record.inactive, *(task for task, norm in norms.items() if norm == 0.0)}:
                _count(self.silent, task)
        self.norms.add(step, norms)
        self.cosines.add(step, record.cosines)
        logs = {task: float(np.log10(norm)) for task, norm in norms.items() if 0.0 < norm < np.inf}
        self.log_ratio.add(step, {(a, b): logs[a] - logs[b] for a, b in combinations(sorted(logs), 2)})
        contributions = {t: weight * norms[t] for t, weight in record.weights.items() if norms.get(t)}
        self.direction_share.add(step, _shares(contributions))
        update = record.scalars.get("gradient_update_norm", 0.0)
        cosines = {t: d / norms[t] / update for t, d in record.descent.items() if norms.get(t) and update > 0.0}
        rounded = {t: 0.0 for t, cosine in cosines.items() if abs(cosine) <= self._rounding}
        self.descent.add(step, {**record.descent, **rounded})
        self.alignment.add(step, cosines)


def _count(counter: Counter[str], text: str) -> None:
    """Count a text, or the first ones where a file makes up ever new ones."""
    counter[text if text in counter or len(counter) < _MOST_TEXTS else "others"] += 1


def _range(figures: Figures) -> dict[str, float]:
    return {"mean": figures.mean, "low": figures.low, "high": figures.high, "records": figures.count}


def _share(figures: Figures) -> dict[str, Any]:
    shares = [figures.share(level) for level in range(len(figures.hits))]
    return {"mean": figures.mean, "shares": shares, "records": figures.count}


def _key(name: str | Pair) -> str:
    return name if isinstance(name, str) else "_vs_".join(name)


def _either_way(values: np.ndarray, level: float) -> Any:
    return np.abs(values) >= level


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    """|p_t| / sum |p|, by task; nothing where there is one task only, or no sum to take a share of."""
    total = sum(abs(part) for part in parts.values())
    return {task: abs(part) / total for task, part in parts.items()} if len(parts) > 1 and 0.0 < total < np.inf else {}
