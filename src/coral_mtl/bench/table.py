"""Costs for people: a table of steps, and which layers keep a gradient per task."""

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coral_mtl.bench.costs import FREQUENCIES, Cost, Costs, StrategyCosts

MEBIBYTE = 2**20


def costs_table(costs: Costs) -> RenderableType:
    """Return everything that was measured."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = ["step", "ms", "x plain", "peak MiB", *(f"mean of {n}" for n in FREQUENCIES)]
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in _rows(costs):
        table.add_row(*map(Text, row))
    environment = costs.environment
    lines = [
        f"{costs.name}: {len(costs.tasks)} tasks, {costs.samples} samples a step, {costs.precision}, on "
        f"{environment['device']} with {environment['threads']} thread(s), torch {environment['torch']}, {costs.clock}",
        "peak: beside the model and the optimiser's state; mean of N: a step with update_frequency: N, x plain",
        *(line for each in costs.strategies for line in _kept(each)),
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


def _kept(each: StrategyCosts) -> Iterator[str]:
    """What a strategy's rows hold: their size, and the layers with and without a gradient per task, by reason."""
    if each.rows is None:
        return
    size = f"{each.name}: {each.rows.bytes / MEBIBYTE:.1f} MiB of gradients by task"
    yield f"{size}; {len(each.rows.ghost)} layers do without" if each.rows.ghost else size
    reasons = Counter(reason.partition(" (")[0] for reason in each.rows.stored.values())
    for reason, count in reasons.most_common():
        layers = [layer for layer, found in each.rows.stored.items() if found.startswith(reason)]
        yield f"    {count} layer(s) kept, {layers[0]}{' ...' if count > 1 else ''}: {reason}"
