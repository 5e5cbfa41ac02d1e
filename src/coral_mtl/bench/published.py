"""The figures of benchmarks/engine.py as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

OURS = {"stored": "stored rows", "auto": "automatic rows", "reuse": "reuse step", "features": "feature space"}
PEERS = ("TorchJD sequential", "TorchJD", "LibMTL loop", "official Nash-MTL")
MEBIBYTE = 2**20


SUMMARY = ("auto", "reuse", "TorchJD sequential", "TorchJD", "LibMTL loop")
"""The columns of a summary, which has the rows of 3 and of 7 tasks."""


def engine_summary(results: Mapping[str, Any]) -> str:
    """Return the most telling part of `engine_table`."""
    cases = [case for case in results["cases"] if case["tasks"] in (3, 7)]
    return engine_table({**results, "cases": cases}, SUMMARY)


def engine_table(results: Mapping[str, Any], names: Sequence[str] = (*OURS, *PEERS)) -> str:
    """Return the cost of ways to the gradient: time as a multiple of the plain backward part, and peak memory."""
    header = ["net", "T", "plain", *(OURS.get(name, name) for name in names)]
    lines = [header, ["---"] * len(header), *(_case(case, names) for case in results["cases"] if "backward" in case)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + (
        "\n\nTimes the backward part of a plain step, and peak MiB of forward and backward; in the column *plain*, its "
        f"milliseconds. Fastest of up to {_rounds(results)} runs in turns, {measured_on(results)}."
    )


def measured_on(results: Mapping[str, Any]) -> str:
    """Return when, with what and on what results were measured."""
    environment = results["environment"]
    return (
        f"{results['clock']}, measured on {results['date']} with coral-mtl {environment['coral-mtl']}, torch "
        f"{environment['torch']} and {environment['threads']} thread(s) on {environment['processor']}"
    )


def bars_table(results: Mapping[str, Any]) -> str:
    """Return what the engine set out to reach beside what was measured, from the fastest runs and from the medians."""
    header = ["what", "net", "T", "measured", "median", "at most", ""]
    lines = [header, ["---"] * len(header)]
    for bar in results["bars"]:
        figures = [f"{bar[key]:.3g}" for key in ("figure", "median", "limit")]
        lines.append([bar["what"], bar["net"], str(bar["tasks"]), *figures, "" if bar["met"] else "missed"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _case(case: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    plain, peak = case["backward"]["plain"]["min"], case.get("peak", {})
    cells = [case["net"], str(case["tasks"]), _cell(f"{plain:.1f} ms", peak.get("plain"))]
    for name in names:
        times = case["backward"] if name in OURS else case.get("peers", {})
        factor = f"{times[name]['min'] / times['plain']['min']:.2f}" if name in times else ""
        cells.append(_cell(factor, peak.get(name)) if factor else "")
    return cells


def _cell(time: str, peak: int | None) -> str:
    return time if peak is None else f"{time}, {peak / MEBIBYTE:.0f}"


def _rounds(results: Mapping[str, Any]) -> int:
    return max(case["backward"]["plain"]["rounds"] for case in results["cases"] if "backward" in case)
