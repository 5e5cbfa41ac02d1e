"""From a run's folder to the evaluation of its model on a whole split."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from torch import Tensor

from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.diagnostics.strict import dumps
from coral_mtl.engine.batches import Batches
from coral_mtl.engine.precision import Precision
from coral_mtl.engine.randomness import deterministic_algorithms
from coral_mtl.engine.validation import validate
from coral_mtl.errors import ConfigError
from coral_mtl.evaluation.confusions import Confusions
from coral_mtl.evaluation.folder import REPORT, evaluation_folder
from coral_mtl.evaluation.images import EvaluatedImage, images_of, names_of
from coral_mtl.evaluation.overlays import Overlays
from coral_mtl.evaluation.report import report_of
from coral_mtl.evaluation.surface.beside import SurfaceMetrics
from coral_mtl.evaluation.trained import TrainedRun, Which
from coral_mtl.inference import Inference, SlidingWindow, WholeImage
from coral_mtl.options import options_of
from coral_mtl.running.environment import usable_cores

Split = Literal["validation", "train"]

FOLDER = "evaluation"
CONFUSION = "confusion.jsonl"
OVERLAYS = "overlays"
SURFACE = "surface.jsonl"
_OVERLAYS = 8


class ImageObserver(Protocol):
    """What is told of every image of a segmentation."""

    def add(self, image: EvaluatedImage) -> None: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Where an evaluation is, and what its report.json says."""

    folder: Path
    report: dict[str, Any]


def evaluate(
    run: Path,
    *,
    checkpoint: Which = "best",
    split: Split = "validation",
    inference: Inference | None = None,
    overlays: int | None = None,
    surface: bool = False,
    workers: int | None = None,
    device: str | None = None,
    output: Path | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Evaluation:
    """Measure a run's model on all items of a split, and write what was found.

    `report.json` holds the metrics, figures by class, settings and versions. Where there are segmentation tasks, there
    are also `confusion.jsonl`, `overlays/`, and `surface.jsonl` where it was asked for. The folder appears when all is
    written; an evaluation that it holds already is replaced.

    Args:
        run: folder of the run.
        checkpoint: `best`, that of the best validation, or `last` (default best).
        split: `validation`, or `train`, whose items are as in training (default validation).
        inference: how images are given to the model; None does it as the run's own validations.
        overlays: images to draw at most, 0 for none; None draws 8.
        surface: also measure surfaces, segments and partitions, in processes beside this one (default false).
        workers: how many processes; None takes one for each core but one.
        device: where to compute, as `trainer.device`; None takes the run's own.
        output: the folder to write; None takes `evaluation` in the run's folder.
        tell: called after each batch with the number of items that are done, and of all.

    Raises:
        ConfigError: `run` is no run, `output` holds something else, or an option has no effect on this run.
        CheckpointError: the checkpoint is missing, damaged, or of another run or configuration.
        MissingExtraError: Pillow, scipy or scikit-learn is needed and not installed.
    """
    trained = TrainedRun.load(run, checkpoint, device)
    tasks = trained.segmentations
    _refuse_idle(tasks, overlays=overlays, surface=surface, workers=workers)
    dataset = getattr(trained.experiment.data, split)
    inference = inference or trained.experiment.inference
    target = run / FOLDER if output is None else output.resolve()
    with evaluation_folder(target) as folder, ExitStack() as stack:
        observers: list[ImageObserver] = []
        measured = None
        if tasks:
            observers.append(Confusions(stack.enter_context(_lines(folder / CONFUSION)), trained.folder.id))
        if tasks and overlays != 0:
            observers.append(Overlays(folder / OVERLAYS, images=len(dataset), most=overlays or _OVERLAYS))
        if surface:
            file = stack.enter_context(_lines(folder / SURFACE))
            measured = stack.enter_context(
                SurfaceMetrics(file, trained.folder.id, workers=workers or max(1, usable_cores() - 1))
            )
            observers.append(measured)
        _measure(trained, dataset, inference, observers, tell)
        settings = {"checkpoint": checkpoint, "split": split, "images": len(dataset), **_told(inference)}
        report = report_of(trained, settings, measured.averages() if measured else None)
        (folder / REPORT).write_text(f"{dumps(report, indent=2)}\n", encoding="utf-8")
    return Evaluation(target, report)


def inference_of(whole_image: bool, **sizes: int | None) -> Inference | None:
    """Return how to predict, by what was asked for: `sizes` are options of SlidingWindow; None where nothing was.

    Raises:
        ConfigError: the sizes do not fit, or have no effect.
    """
    given: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    if whole_image and given:
        raise ConfigError(f"{', '.join(given)} has no effect on whole images\n    ask for one or the other")
    if whole_image:
        return WholeImage()
    return SlidingWindow(**given) if given else None


def _refuse_idle(tasks: Mapping[str, TaskSpec], *, overlays: int | None, surface: bool, workers: int | None) -> None:
    """Raise ConfigError for an option that this run has no use for."""
    if not tasks and (overlays is not None or surface):
        raise ConfigError("no task of this run is a segmentation: there is nothing to draw, and no surface to measure")
    if workers is not None and not surface:
        raise ConfigError("there is no work for workers without surface metrics\n    ask for these, or leave it out")


def _measure(
    trained: TrainedRun,
    dataset: Any,
    inference: Inference,
    observers: Sequence[ImageObserver],
    tell: Callable[[int, int], None],
) -> None:
    """Predict all items of a data set as in a validation of the run, and show the images to the observers."""
    experiment, names, done = trained.experiment, names_of(dataset), 0
    config, device = experiment.config, experiment.device

    def after_batch(inputs: Tensor, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        nonlocal done
        if observers:
            for image in images_of(trained.segmentations, inputs, predictions, targets, first=done, names=names):
                for observer in observers:
                    observer.add(image)
        done += len(inputs)
        tell(done, len(dataset))

    batches = Batches(
        dataset,
        ResumableSampler(len(dataset), seed=config.seed, shuffle=False),
        batch_size=config.evaluator.batch_size or config.data.batch_size,
        num_workers=config.data.num_workers,
        device=device,
    )
    number_format = config.trainer.mixed_precision_dtype if config.trainer.use_mixed_precision else "float32"
    with deterministic_algorithms(config.trainer.deterministic):
        validate(
            experiment.model,
            batches,
            experiment.metrics,
            precision=Precision(device, number_format),
            inference=inference,
            after_batch=after_batch,
        )


def _told(inference: Inference) -> dict[str, Any]:
    kind: Any = type(inference)
    return {"inference": {"type": kind.__name__, **{name: getattr(inference, name) for name in options_of(kind)}}}


def _lines(file: Path) -> IO[str]:
    return file.open("w", encoding="utf-8")
