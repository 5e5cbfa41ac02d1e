"""What a diagnosis knows of one run: running figures, of the same size however long the run is."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from coral_mtl.diagnostics.course import Course
from coral_mtl.diagnostics.reader import Pair, Record
from coral_mtl.diagnostics.refreshes import Refreshes
from coral_mtl.diagnostics.tally import Averages, Counts, Figures, Tally
from coral_mtl.diagnostics.thresholds import Thresholds

_UNCLIPPED = 0.999
"""A factor of clipping from here on is rounding."""


class Statistics:
    """Running figures of one run.

    losses, weights, norms, scalars: by name. weights: of decisions, not of cached ones.
    log_ratio: log10(|g_a| / |g_b|) by pair (a, b), counted where it is beyond the imbalance ratio either way.
    cosines: by pair, counted below the three conflict levels. smoothed: their moving averages, counted below these and
        below the level of smoothed conflict.
    descent: <g_t, d> by task, counted below 0. alignment: cos(g_t, d) by task.
    weight_share: |c_t| / sum |c|. direction_share: |c_t| |g_t| / sum |c| |g|. Both counted from domination on.
    clipping: log10 of the factor by which clipping shortened the gradient, counted where it did. cos_theta: IMGrad's.
    course: of the losses. refreshes: how the weights changed where they are reused in between.
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
        self.inactive, self.silent, self.statuses, self.skipped = Counts(), Counts(), Counts(), Counts()
        self.reasons: dict[str, str] = {}
        self.course = Course(thresholds)
        self.refreshes = Refreshes(thresholds.stale_change)
        self.losses, self.weights, self.norms, self.scalars = Tally(), Tally(), Tally(), Tally()
        self.alignment = Tally()
        self.descent = Tally([0.0])
        self.log_ratio = Tally([np.log10(thresholds.imbalance_ratio)], beyond=_either_way)
        self.cosines = Tally(self.conflict_levels)
        self.smoothed = Tally((*self.conflict_levels, thresholds.smoothed_conflict))
        self._averages = Averages(thresholds.smoothing_window)
        self.clipping = Tally([np.log10(_UNCLIPPED)])
        self.cos_theta = Tally([thresholds.cos_theta])
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
        self.losses.add(step, record.losses)
        self.course.add(record)
        self.scalars.add(step, record.scalars)
        self._add_weights(record)
        self._add_gradients(record)
        self._add_directions(record)

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last step."""
        return self.first_step, self.last_step

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
            "smoothed_cosine_similarity": self.smoothed,
            "log10_norm_ratio": self.log_ratio,
            "descent": self.descent,
            "direction_share": self.direction_share,
            "log10_clip_factor": self.clipping,
            "weight_change": self.refreshes.changes,
        }
        return {
            "run": self.run,
            "strategy_type": self.strategy,
            "steps": self.span,
            "records": self.records,
            "measured": self.measured,
            "tasks": self.tasks,
            "unweighted_losses": {task: trend.means() for task, trend in self.course.trends.items()},
            "validation_losses": self.course.validations(),
            "lr": self.course.rate.means(),
            "spikes": self.course.spikes.counts,
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
            self.inactive.add(task, record.step)
            if task in self.inactive:
                self.reasons[task] = reason
        if record.skipped is not None:
            self.skipped.add(record.skipped, record.step)
        if record.status is not None and not record.reused:
            self.statuses.add(record.status, record.step)

    def _add_weights(self, record: Record) -> None:
        if not record.reused:
            self.weights.add(record.step, record.weights)
        self.refreshes.add(record)
        self.weight_share.add(record.step, _shares(record.weights))

    def _add_gradients(self, record: Record) -> None:
        step, norms = record.step, record.norms
        if norms or record.cosines:
            self.measured += 1
            for task in {*record.inactive, *(task for task, norm in norms.items() if norm == 0.0)}:
                self.silent.add(task, step)
        self.norms.add(step, norms)
        self.cosines.add(step, record.cosines)
        self.smoothed.add(step, self._averages.add(record.cosines))
        logs = {task: float(np.log10(norm)) for task, norm in norms.items() if 0.0 < norm < np.inf}
        self.log_ratio.add(step, {(a, b): logs[a] - logs[b] for a, b in combinations(sorted(logs), 2)})

    def _add_directions(self, record: Record) -> None:
        step, norms = record.step, record.norms
        contributions = {t: weight * norms[t] for t, weight in record.weights.items() if norms.get(t)}
        self.direction_share.add(step, _shares(contributions))
        update = record.scalars.get("gradient_update_norm", 0.0)
        cosines = {t: d / norms[t] / update for t, d in record.descent.items() if norms.get(t) and update > 0.0}
        rounded = {t: 0.0 for t, cosine in cosines.items() if abs(cosine) <= self._rounding}
        self.descent.add(step, {**record.descent, **rounded})
        self.alignment.add(step, cosines)
        clipped = record.scalars.get("gradient_update_norm_clipped", 0.0)
        if 0.0 < clipped < np.inf and 0.0 < update < np.inf:
            self.clipping.add(step, {"factor": float(np.log10(clipped) - np.log10(update))})
        if "imgrad_cos_theta" in record.scalars and not record.reused:
            self.cos_theta.add(step, {"cos_theta": record.scalars["imgrad_cos_theta"]})


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
