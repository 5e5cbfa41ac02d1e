"""Costs for people: a table of steps, and which layers keep a gradient per task."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coral_mtl.bench.costs import FREQUENCIES, Cost, Costs, Rows

MEBIBYTE = 2**20


def costs_table(costs: Costs) -> RenderableType:
    """Return everything that was measured."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = ["step", "ms", "x plain", "peak MiB", *(f"every {n}" for n in FREQUENCIES)]
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in _rows(costs):
        table.add_row(*map(Text, row))
    environment = costs.environment
    lines = [
        f"{costs.name}: {len(costs.tasks)} tasks, {costs.samples} samples a step, {costs.precision}, on "
        f"{environment['device']} with {environment['threads']} thread(s), torch {environment['torch']}, {costs.clock}",
        "peak: beside the model and the optimiser's state; every N: the mean step with update_frequency: N, x plain",
        *(line for rows, names in _by_rows(costs).items() for line in _kept(rows, names)),
    ]
    return Group(table, *map(Text, lines))


def _rows(costs: Costs) -> Iterator[list[str]]:
    plain = costs.plain.milliseconds

    def cells(step: str, cost: Cost) -> list[str]:
        factor = cost.milliseconds / plain
        return [step, f"{cost.milliseconds:.2f}", f"{factor:.2f}", f"{cost.peak / MEBIBYTE:.1f}"]

    yield cells("plain", costs.plain)
    for each in costs.strategies:
        if each.reuse is None:
            yield cells(each.name, each.refresh)
            continue
        yield cells(f"{each.name}, refresh", each.refresh) + [f"{each.mean[n] / plain:.2f}" for n in FREQUENCIES]
        yield cells(f"{each.name}, reuse", each.reuse)


def _by_rows(costs: Costs) -> dict[Rows, list[str]]:
    """The strategies that look at gradients, by what is kept for them."""
    found: dict[Rows, list[str]] = {}
    for each in costs.strategies:
        if each.rows is not None:
            found.setdefault(each.rows, []).append(each.name)
    return found


def _kept(rows: Rows, names: Sequence[str]) -> Iterator[str]:
    """What strategies keep: its size, and the layers with and without a gradient per task, by reason."""
    yield f"{', '.join(names)}: {rows.bytes / MEBIBYTE:.1f} MiB of gradients by task"
    if rows.ghost:
        yield f"    {_layers(rows.ghost)} without one per task (ghost rows)"
    by_reason: dict[str, list[str]] = {}
    for layer, reason in rows.stored:
        by_reason.setdefault(reason.partition(" (")[0], []).append(layer)
    for reason, layers in by_reason.items():
        yield f"    {_layers(layers)} with one per task: {reason}"


def _layers(names: Sequence[str]) -> str:
    return f"layer {names[0]}" if len(names) == 1 else f"{len(names)} layers ({names[0]} ... {names[-1]})"
