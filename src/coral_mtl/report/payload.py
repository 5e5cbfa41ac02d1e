"""Charts as JSON that can stand inside a page's script element, whatever the names in it are."""

import json
from typing import Any

import numpy as np

from coral_mtl.diagnostics.curves import Curve
from coral_mtl.diagnostics.strict import strict
from coral_mtl.report.charts import Chart
from coral_mtl.report.wording import name

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: Any) -> str:
    """Return `value` as strict JSON without any character that could end or open an element."""
    text = json.dumps(strict(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return "".join(_UNSAFE.get(character, character) for character in text)


def chart_data(chart: Chart) -> dict[str, Any]:
    """Return a chart's figures: steps at which buckets begin, and for each line means, lows and highs at these.

    Figures have four digits. A bucket without records is null; lows and highs equal to the means are left out.
    """
    buckets = np.unique(np.concatenate([line.curve.buckets for line in chart.lines]))
    return {
        "title": name(chart.title),
        "unit": name(chart.unit),
        "family": chart.family,
        "log": chart.logarithmic,
        "limits": chart.limits,
        "marks": chart.marks,
        "length": chart.length,
        "steps": (buckets * chart.length).tolist(),
        "lines": [
            {"name": name(line.name), "colour": line.colour, **_rows(line.curve, buckets)} for line in chart.lines
        ],
    }


def _rows(curve: Curve, buckets: np.ndarray) -> dict[str, list[float | int | None]]:
    """Means "m", lows "l" and highs "h" of a curve at the buckets of its chart."""
    rows = {"m": _four_digits(curve.means), "l": _four_digits(curve.lows), "h": _four_digits(curve.highs)}
    if rows["m"] == rows["l"] == rows["h"]:
        rows = {"m": rows["m"]}
    places = np.searchsorted(buckets, curve.buckets).tolist()
    return {key: _spread_out(row, places, len(buckets)) for key, row in rows.items()}


def _four_digits(values: np.ndarray) -> list[float | int]:
    rounded = [float(f"{value:.4g}") for value in values.tolist()]
    return [int(value) if value.is_integer() and abs(value) < 1e6 else value for value in rounded]


def _spread_out(figures: list[float | int], places: list[int], count: int) -> list[float | int | None]:
    row: list[float | int | None] = [None] * count
    for place, figure in zip(places, figures, strict=True):
        row[place] = figure
    return row
