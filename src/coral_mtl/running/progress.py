"""How a run shows itself to people: a few lines about what it is, then plain lines, or a bar on a terminal."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from coral_mtl.config.effects import TELLING
from coral_mtl.engine.observation import Needs
from coral_mtl.engine.reports import Observer, StepReport, ValidationReport
from coral_mtl.experiment import Experiment
from coral_mtl.running.pace import Glance

Write = Callable[[str], object]

REFRESH = 0.25
"""Seconds for which a bar shows the same figures."""


class Lines(Observer):
    """Writes what the run is after its first step, skipped steps, validations, and every so many steps a line."""

    def __init__(self, experiment: Experiment, write: Write, *, every: int | None = 50) -> None:
        """Take the function that writes a line; `every` None leaves out the lines of the steps."""
        self._experiment = experiment
        self._write = write
        self._every = every
        self._described = False
        self._glance = Glance(experiment.total_steps)

    def on_step(self, report: StepReport) -> None:
        self._describe_once(report.saved_bytes)
        self._glance.take(report)
        if report.account.skipped or (self._every and report.number % self._every == 0):
            self._write(self._step_line(report))

    def on_validation(self, report: ValidationReport) -> None:
        self._describe_once(None)
        config = self._experiment.config.trainer
        scores = [name for name in report.metrics if name.endswith(tuple(f".{metric}" for metric in TELLING))]
        names = dict.fromkeys([config.model_selection_metric, "global.score", "global.loss", *scores])
        shown = [(name.removeprefix("tasks."), report.metrics[name]) for name in names if name in report.metrics]
        figures = "  ".join(f"{name} {figure:.4f}" for name, figure in shown)
        best = "  best so far" if report.best else ""
        self._write(f"epoch {report.epoch + 1}/{config.epochs}  {figures}{best}")

    def on_note(self, note: str) -> None:
        self._write(note)

    def _describe_once(self, saved_bytes: int | None) -> None:
        if not self._described:
            self._described = True
            self._write("\n".join(describe(self._experiment, saved_bytes)))

    def _step_line(self, report: StepReport) -> str:
        place = f"step {report.number}/{self._experiment.total_steps}"
        if report.account.skipped:
            return f"{place}  skipped: {report.account.skipped}"
        return f"{place}  {self._glance.words()}  lr {report.lr:.2e}"


class Bar(Observer):
    """Moves a progress bar."""

    def __init__(self, bar: Progress, experiment: Experiment) -> None:
        self._bar = bar
        self._task = bar.add_task("training", total=experiment.total_steps)
        self._glance = Glance(experiment.total_steps)
        self._shown = -math.inf

    def on_step(self, report: StepReport) -> None:
        self._glance.take(report)
        if monotonic() - self._shown >= REFRESH:  # a look at the losses of a step may wait for a GPU
            self._shown = monotonic()
            self._bar.update(self._task, figures=self._glance.words(to_go=False))
        self._bar.update(self._task, completed=report.number, description=f"epoch {report.epoch + 1}")


class _Bar(Progress):
    """A bar with a line of figures below it, cut where the terminal ends."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields.get("figures", ""), no_wrap=True, overflow="ellipsis")


@contextmanager
def progress_on(console: Console, experiment: Experiment) -> Iterator[list[Observer]]:
    """Yield the observers that show a run on `console`: a bar and few lines on a terminal, plain lines elsewhere."""

    def write(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield [Lines(experiment, write)]
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with _Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        yield [Lines(experiment, write, every=None), Bar(bar, experiment)]


def describe(experiment: Experiment, saved_bytes: int | None = None) -> list[str]:
    """What the run is, in five lines, and remarks on it; known once the first step has told who shares parameters."""
    config, engine = experiment.config, experiment.engine
    sizes = {name: parameter.numel() for name, parameter in experiment.model.named_parameters()}
    shared = sum(sizes[name] for name in engine.shared_parameters())
    heads = {task: sum(sizes[name] for name in names) for task, names in engine.task_parameters().items()}
    tasks = ", ".join(f"{task} ({spec.kind})" for task, spec in experiment.data.tasks.items())
    precision = config.trainer.mixed_precision_dtype if config.trainer.use_mixed_precision else "float32"
    return [
        f"{config.name}: {tasks}",
        f"parameters: {shared:,} shared; " + ", ".join(f"{count:,} of {task}" for task, count in heads.items()),
        f"strategy: {experiment.strategy_name}, {cost(experiment)}",
        f"{experiment.total_steps:,} steps in {config.trainer.epochs} epochs on {experiment.device}, {precision}, seed "
        f"{config.seed}",
        memory(experiment, saved_bytes),
        *(f"note: {remark}" for remark in experiment.remarks),
    ]


def cost(experiment: Experiment) -> str:
    """Backward passes through the shared parameters, for each batch."""
    strategy, tasks = experiment.engine.strategy, len(experiment.data.tasks)
    accumulates = experiment.config.trainer.gradient_accumulation_steps > 1
    every = strategy.update_frequency
    if strategy.needs >= Needs.GRAM and every > 1:
        return f"{tasks} backward passes a batch at one step in {every}, one at the others"
    if strategy.needs >= Needs.GRAM or (strategy.needs is Needs.LOSSES and accumulates):
        return f"{tasks} backward passes a batch"
    measured = experiment.config.diagnostics.gradient_every
    return f"one backward pass a batch ({tasks} at one step in {measured}, for the diagnostics)"


def memory(experiment: Experiment, saved_bytes: int | None) -> str:
    """What a step takes beside the model and the optimiser's state: activations, and gradients by task."""
    engine, tasks = experiment.engine, len(experiment.data.tasks)
    parts = [] if saved_bytes is None else [f"{_size(saved_bytes)} kept by each forward pass"]
    if engine.gram_on == "parameters":
        without = engine.ghost_forecast(tasks)
        form = f"rows: {engine.rows}" + (f", {len(without)} layers do without" if without else "")
        where = "" if engine.strategy.needs >= Needs.GRAM else " where they are measured"
        parts.append(f"{_size(engine.row_bytes(tasks))} of gradients by task{where} ({form})")
    return "memory: " + "; ".join(parts or ["as plain training (gram_on: features)"])


def _size(count: int) -> str:
    if count < 2**20:
        return f"{count / 2**10:.1f} KiB"
    return f"{count / 2**20:,.1f} MiB" if count < 2**30 else f"{count / 2**30:,.2f} GiB"
