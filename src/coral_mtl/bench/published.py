"""The figures of benchmarks/engine.py as Markdown tables."""

from collections.abc import Mapping
from typing import Any

OURS = {"stored": "stored rows", "auto": "automatic rows", "reuse": "reuse step", "features": "feature space"}
PEERS = ("TorchJD sequential", "TorchJD", "LibMTL loop", "official Nash-MTL")
MEBIBYTE = 2**20


def engine_tables(results: Mapping[str, Any]) -> str:
    """Return the cost of every way to the gradient: time as a multiple of the plain backward part, and peak memory."""
    names = [*OURS, *(peer for peer in PEERS if any(peer in case["backward"] for case in results["cases"]))]
    header = ["net", "T", "plain", *(OURS.get(name, name) for name in names)]
    lines = [header, ["---"] * len(header), *(_case(case, names) for case in results["cases"])]
    environment = results["environment"]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + (
        "\n\nTimes the backward part of a plain step, and peak MiB of forward and backward; in the column *plain*, its "
        f"milliseconds. Smallest of {results['rounds']} runs in turns, {results['clock']}, measured on "
        f"{results['date']} with coral-mtl {environment['coral-mtl']}, torch {environment['torch']} and "
        f"{environment['threads']} thread(s) on {environment['processor']}."
    )


def bars_table(results: Mapping[str, Any]) -> str:
    """Return what the engine set out to reach beside what was measured."""
    header = ["what", "net", "T", "measured", "at most", ""]
    lines = [header, ["---"] * len(header)]
    for bar in results["bars"]:
        figures = [f"{bar[key]:.3g}" for key in ("figure", "limit")]
        lines.append([bar["what"], bar["net"], str(bar["tasks"]), *figures, "" if bar["met"] else "missed"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _case(case: Mapping[str, Any], names: list[str]) -> list[str]:
    plain, peak = case["backward"]["plain"]["min"], case["peak"]
    cells = [case["net"], str(case["tasks"]), f"{plain:.1f} ms, {peak['plain'] / MEBIBYTE:.0f}"]
    for name in names:
        time = case["backward"].get(name)
        cells.append("" if time is None else f"{time['min'] / plain:.2f}, {peak[name] / MEBIBYTE:.0f}")
    return cells
