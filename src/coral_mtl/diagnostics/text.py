"""A diagnosis as plain text for a terminal or a log; task names are shown so that they cannot act on either."""

from collections.abc import Sequence

from coral_mtl.diagnostics.diagnosis import Diagnosis
from coral_mtl.diagnostics.finding import Finding, percent, two_digits
from coral_mtl.diagnostics.statistics import Statistics

_WIDEST = 48
_MOST_PAIRS = 20
_WORDS = {True: "yes", False: "no", None: "cannot be judged yet"}


def render(diagnosis: Diagnosis) -> str:
    """Return what there is to say about one run: its figures, the findings, the workflow and the advice."""
    statistics, advice = diagnosis.statistics, diagnosis.advice
    blocks = [
        _heading(diagnosis),
        _table(_task_rows(statistics)),
        _table(_pair_rows(statistics)),
        [line for finding in diagnosis.findings for line in _finding(finding)] or ["no findings"],
        [f"{step.question} {_WORDS[step.answer]} ({step.evidence})" for step in advice.workflow],
        [f"Advice: {advice.sentence}"],
        [f"note: {remark}" for remark in diagnosis.remarks],
    ]
    return "\n\n".join("\n".join(map(shown, lines)) for lines in blocks if lines) + "\n"


def shown(text: str) -> str:
    """Return a line of text with every character that is not printable written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _heading(diagnosis: Diagnosis) -> list[str]:
    statistics = diagnosis.statistics
    solves = ", ".join(f"{count} {status}" for status, count in statistics.statuses.most_common())
    return [
        f"{diagnosis.path}: {diagnosis.run}",
        f"{statistics.strategy}, steps {statistics.first_step} to {statistics.last_step},"
        f" {statistics.records} records, gradients measured in {statistics.measured}",
        *([f"solves: {solves}"] if solves else []),
    ]


def _task_rows(statistics: Statistics) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("task", "loss at first", "best", "last", "weight", "gradient norm", "hurt", "part of the direction")
    ]
    trends, weights, norms = statistics.course.trends, statistics.weights.figures(), statistics.norms.figures()
    descent, parts = statistics.descent.figures(), statistics.direction_share.figures()
    for task in statistics.tasks:
        losses = trends[task].means() if task in trends else None
        rows.append(
            (
                _cut(task),
                *((f"{x:.4g}" for x in (losses[0], losses.min(), losses[-1])) if losses is not None else ("-",) * 3),
                f"{weights[task].mean:.4g}" if task in weights else "-",
                f"{norms[task].mean:.4g}" if task in norms else "-",
                percent(descent[task].share()) if task in descent else "-",
                percent(parts[task].mean) if task in parts else "-",
            )
        )
    return rows


def _pair_rows(statistics: Statistics) -> list[tuple[str, ...]]:
    """The pairs with the lowest mean cosine, at most 20 of them; shares of smoothed cosines stand in brackets."""
    pairs = sorted(statistics.cosines.figures().items(), key=lambda item: item[1].mean)
    if not pairs:
        return []
    smoothed = statistics.smoothed.figures()
    levels = range(len(statistics.conflict_levels))
    return [
        ("pair", "mean cosine", *(f"below {level:g} (smoothed)" for level in statistics.conflict_levels)),
        *(
            (
                f"{_cut(a)} and {_cut(b)}",
                two_digits(cosine.mean),
                *(f"{percent(cosine.share(k))} ({percent(smoothed[a, b].share(k))})" for k in levels),
            )
            for (a, b), cosine in pairs[:_MOST_PAIRS]
        ),
        *([(f"... and {len(pairs) - _MOST_PAIRS} more pairs", *("",) * 4)] if len(pairs) > _MOST_PAIRS else []),
    ]


def _finding(finding: Finding) -> list[str]:
    thresholds = ", ".join(f"{name} {value:g}" for name, value in finding.threshold.items())
    return [
        f"{finding.severity.name.lower()}: {finding.title}",
        f"    {finding.kind}; steps {finding.steps[0]} to {finding.steps[1]}; thresholds: {thresholds}",
        f"    {finding.advice}",
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, the first to the left and the others to the right."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in cells
    ]


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST else name[: _WIDEST - 3] + "..."
