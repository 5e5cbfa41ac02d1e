"""Figures and names in the words of a page."""

import math

from coral_mtl.diagnostics.text import shown
from coral_mtl.report.charts import Chart

ABSENT = "-"


def figure(value: float | None, digits: int = 4) -> str:
    """Return a figure with so many significant digits, `ABSENT` where there is none."""
    if value is None or math.isnan(value):
        return ABSENT
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{max(digits - 2, 0)}e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(decimals, 0)}f}"


def signed(value: float) -> str:
    """Return a change with its sign, three digits."""
    return f"{'+' if value > 0.0 else ''}{figure(value, 3)}" if value else "0"


def name(text: str, longest: int = 64) -> str:
    """Return a name for people to read: without characters that act on what shows them, and not too long."""
    visible = shown(text)
    return visible if len(visible) <= longest else f"{visible[: longest - 1]}…"


def described(chart: Chart) -> str:
    """Return a chart in one sentence, for those who cannot see it."""
    curves = {name(line.name): line.curve.means for line in chart.lines}
    lines = [f"{label} from {figure(means[0], 3)} to {figure(means[-1], 3)}" for label, means in curves.items()]
    axis = ", logarithmic axis" if chart.logarithmic else ""
    return (
        f"Line chart of {name(chart.title)}, {name(chart.unit)}{axis}, over optimiser steps: {'; '.join(lines)}. "
        "Arrow keys move along the steps."
    )
