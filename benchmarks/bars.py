"""What the engine set out to reach, and whether measured cases do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Case = dict[str, Any]
Times = Mapping[str, float]
Figure = tuple[str, float, float]
"""What, how much, and how much it may be."""

BACKGROUND = 1.12
"""Everything beside the backward passes themselves may cost this much: Gram matrix, decision, combination."""

LARGE = 1_000_000
"""Shared parameters from which on rows are compared with TorchJD's."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure beside its limit, from the fastest runs and from the medians; the first decides."""

    what: str
    net: str
    tasks: int
    figure: float
    median: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.figure <= self.limit


def judged(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return every bar that the cases can be judged by."""
    return [asdict(bar) | {"met": bar.met} for case in cases for bar in _bars(case)]


def _bars(case: Case) -> Iterator[Bar]:
    fastest, median = (list(_figures(case, statistic)) for statistic in ("min", "median"))
    for (what, figure, limit), (_, middle, _) in zip(fastest, median, strict=True):
        yield Bar(what, case["net"], case["tasks"], round(figure, 9), round(middle, 9), limit)


def _figures(case: Case, statistic: str) -> Iterator[Figure]:
    times = {
        part: {name: each[statistic] for name, each in case[part].items()}
        for part in ("backward", "peers", "step", "window")
        if part in case
    }
    net, tasks = case["net"], case["tasks"]
    if "backward" in times:
        yield from _rows(net, tasks, times["backward"])
    if "peers" in times:
        yield from _against_peers(net, tasks, case["parameters"], times["peers"])
    if "step" in times:
        yield from _steps(tasks, times["step"])
    if "window" in times:
        yield from _windows(times["window"])
    if "peak" in case and net == "resnet":
        yield from _memory(tasks, case["parameters"], case["peak"])
    if "gram" in case and net == "resnet":
        yield from _gram(case["gram"], times.get("backward"))


def floor(tasks: int, times: Times) -> float:
    """Milliseconds of a backward part that runs the trunk once per task and every head once: heads + T trunk."""
    return times["heads"] + tasks * (times["plain"] - times["heads"])


def _rows(net: str, tasks: int, times: Times) -> Iterator[Figure]:
    if net != "mlp":
        yield "stored rows / floor", times["stored"] / floor(tasks, times), BACKGROUND
    limits = {("resnet", 3): 3.1, ("resnet", 7): 6.9, ("resnet", 20): 19.5, ("mlp", 7): 4.5}
    if (net, tasks) in limits:
        yield "automatic rows / plain backward", times["auto"] / times["plain"], limits[net, tasks]


def _against_peers(net: str, tasks: int, parameters: int, times: Times) -> Iterator[Figure]:
    ours, lower = times["auto"], (net, tasks) == ("resnet", 7)
    if "TorchJD" in times and parameters >= LARGE:
        yield "automatic rows / TorchJD sequential", ours / times["TorchJD sequential"], 0.80 if lower else 0.95
        yield "automatic rows / TorchJD", ours / times["TorchJD"], 0.60 if lower else 0.80
    if (net, tasks) == ("segformer-heavy", 7):
        yield "automatic rows / LibMTL loop", ours / times["LibMTL loop"], 0.45


def _steps(tasks: int, times: Times) -> Iterator[Figure]:
    yield "reuse step / plain step", times["reuse"] / times["plain"], 1.04
    if tasks == 7:
        yield "feature-space step / plain step", times["features"] / times["plain"], 1.25


def _windows(times: Times) -> Iterator[Figure]:
    yield "NashMTL every 10, mean step / plain step", times["NashMTL"] / times["plain"], 1.20
    peers = [time for name, time in times.items() if name.startswith("TorchJD")]
    if peers:
        yield "NashMTL every 10 / TorchJD's better mode", times["NashMTL"] / min(peers), 0.60


def _memory(tasks: int, parameters: int, peak: Times) -> Iterator[Figure]:
    rows = peak["plain"] + (tasks - 1) * parameters * 4
    yield "peak, stored rows / (plain + (T-1) D)", peak["stored"] / rows, 1.05
    if tasks == 20:
        yield "peak, automatic rows / plain", peak["auto"] / peak["plain"], 3.0


def _gram(gram: Times, times: Times | None) -> Iterator[Figure]:
    yield "Gram matrix, relative error", gram["error"], 2e-6
    yield "Gram matrix, - smallest eigenvalue / trace", -gram["smallest eigenvalue / trace"], 1e-6
    if times is not None:
        spent = gram["ms"] + gram["combine ms"]
        yield "Gram matrix and sum / T backwards", spent / (times["stored"] - spent), 0.06
