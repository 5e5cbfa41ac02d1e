"""What the engine set out to reach, and whether measured cases do."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Case = dict[str, Any]

BACKGROUND = 1.12
"""Everything beside the backward passes themselves may cost this much: Gram matrix, decision, combination."""

LARGE = 1_000_000
"""Shared parameters from which on rows are compared with TorchJD's."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure beside its limit."""

    what: str
    net: str
    tasks: int
    figure: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.figure <= self.limit


def judged(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return every bar that the cases can be judged by."""
    return [asdict(bar) | {"met": bar.met} for case in cases for bar in _bars(case)]


def _bars(case: Case) -> Iterator[Bar]:
    net, tasks = case["net"], case["tasks"]
    backward = {name: times["min"] for name, times in case["backward"].items()}
    step = {name: times["min"] for name, times in case["step"].items()}
    for what, figure, limit in (
        ("reuse step / plain step", step["reuse"] / step["plain"], 1.04),
        *_explicit(case, backward),
        *_automatic(net, tasks, backward),
        *_against_peers(case, backward),
        *_whole_steps(case, step),
        *_memory(case),
        *_gram(case, backward),
    ):
        yield Bar(what, net, tasks, round(figure, 9), limit)


def floor(case: Case) -> float:
    """Milliseconds of a backward part that runs the trunk once per task and every head once: heads + T trunk."""
    backward = case["backward"]
    heads = backward["heads"]["min"]
    return heads + case["tasks"] * (backward["plain"]["min"] - heads)


def _explicit(case: Case, backward: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    if case["net"] != "mlp":
        yield "stored rows / floor", backward["stored"] / floor(case), BACKGROUND


def _automatic(net: str, tasks: int, backward: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    limits = {("resnet", 3): 3.1, ("resnet", 7): 6.9, ("resnet", 20): 19.5, ("mlp", 7): 4.5}
    if (net, tasks) in limits:
        yield "automatic rows / plain backward", backward["auto"] / backward["plain"], limits[net, tasks]


def _against_peers(case: Case, backward: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    best = case["net"], case["tasks"]
    if "TorchJD" in backward and case["parameters"] >= LARGE:
        ours, lower = backward["auto"], best == ("resnet", 7)
        yield "automatic rows / TorchJD sequential", ours / backward["TorchJD sequential"], 0.80 if lower else 0.95
        yield "automatic rows / TorchJD", ours / backward["TorchJD"], 0.60 if lower else 0.80
    if best == ("segformer-heavy", 7):
        yield "automatic rows / LibMTL loop", backward["auto"] / backward["LibMTL loop"], 0.45


def _whole_steps(case: Case, step: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    if case["tasks"] == 7:
        yield "feature-space step / plain step", step["features"] / step["plain"], 1.25
    window = {name: times["min"] for name, times in case.get("window", {}).items()}
    if window:
        yield "NashMTL every 10, mean step / plain step", window["NashMTL"] / window["plain"], 1.20
    peers = [time for name, time in window.items() if name.startswith("TorchJD")]
    if peers:
        yield "NashMTL every 10 / TorchJD's better mode", window["NashMTL"] / min(peers), 0.60


def _memory(case: Case) -> Iterator[tuple[str, float, float]]:
    peak = case["peak"]
    if case["net"] == "resnet":
        rows = peak["plain"] + (case["tasks"] - 1) * case["parameters"] * 4
        yield "peak, stored rows / (plain + (T-1) D)", peak["stored"] / rows, 1.05
        if case["tasks"] == 20:
            yield "peak, automatic rows / plain", peak["auto"] / peak["plain"], 3.0


def _gram(case: Case, backward: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    gram = case["gram"]
    if case["net"] == "resnet":
        yield "Gram matrix, relative error", gram["error"], 2e-6
        yield "Gram matrix, - smallest eigenvalue / trace", -gram["smallest eigenvalue / trace"], 1e-6
        spent = gram["ms"] + gram["combine ms"]
        yield "Gram matrix and sum / T backwards", spent / (backward["stored"] - spent), 0.06
