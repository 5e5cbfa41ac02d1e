"""What keys of different sections mean for one another: which have no effect, and which select the worst."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from coral_mtl.config.draft import Draft
from coral_mtl.documents.problems import KeyPath, dotted
from coral_mtl.registry import data, takes_augmentations

METRIC: KeyPath = ("trainer", "model_selection_metric")
MODE: KeyPath = ("trainer", "metric_mode")
STRATEGY: KeyPath = ("loss", "weighting_strategy")
OVER: KeyPath = (*STRATEGY, "over")
TIMES: KeyPath = (*STRATEGY, "times")
OVER_TIMES: KeyPath = (*OVER, "times")
CLIP: KeyPath = (*STRATEGY, "clip_direction")
WRAPPER: KeyPath = ("optimizer", "use_pcgrad_wrapper")

Layers = Mapping[KeyPath, Any]
"""The built strategies of a run by the paths of their blocks."""

Get = Callable[[KeyPath], Any]
"""Returns the value of a key, its default where it is not given; raises Doubtful where a problem leaves it open."""


class Doubtful(Exception):  # noqa: N818 - not an error: the check at hand cannot be made
    """A check depends on a key that has a problem of its own."""


def _trainer(get: Get, key: str) -> Any:
    return get(("trainer", key))


def _mixed_precision_dtype(get: Get, layers: Layers) -> str | None:
    return None if _trainer(get, "use_mixed_precision") else "trainer.use_mixed_precision is false"


def _validation_choice(get: Get, layers: Layers) -> str | None:
    frequency, epochs = _trainer(get, "val_frequency"), _trainer(get, "epochs")
    if frequency <= epochs:
        return None
    return f"trainer.val_frequency ({frequency}) is above trainer.epochs ({epochs}), so that the end is validated alone"


def _snapshots(get: Get, layers: Layers) -> str | None:
    if _trainer(get, "early_stopping") is not None:
        return "trainer.early_stopping may end the run before its last epoch, whose validation they are for"
    epochs = _trainer(get, "epochs")
    late = [epoch for epoch in _trainer(get, "snapshots") if epoch >= epochs]
    return f"after epoch {late[0]} nothing is left of trainer.epochs ({epochs})" if late else None


def _augmentations(get: Get, layers: Layers) -> str | None:
    name = get(("data", "type"))
    if not isinstance(name, str):
        raise Doubtful
    return None if takes_augmentations(data.get(name)) else f"{name} takes no augmentations"


def _term_weights(get: Get, layers: Layers) -> str | None:
    if get(("loss", "balance")) == "terms":
        return "loss.balance is terms, which loss.weighting_strategy weighs, such as with the type Static"
    return None


def _max_nonfinite_steps(get: Get, layers: Layers) -> str | None:
    if _trainer(get, "nonfinite") != "raise":
        return None
    if _trainer(get, "use_mixed_precision") and _trainer(get, "mixed_precision_dtype") == "float16":
        return None  # steps that overflow the gradient scaler's range are skipped all the same
    return "the first such step ends the run (trainer.nonfinite: raise)"


def _gradient_every(get: Get, layers: Layers) -> str | None:
    if get(WRAPPER):
        return "PCGrad measures the gradients at every step (optimizer.use_pcgrad_wrapper: true)"
    looking = _looking_at_gradients(get, layers)
    always = [path for path in looking if layers[path].update_frequency == 1]
    if always:
        return f"{get((*always[0], 'type'))} measures the gradients at every step"
    if get(CLIP) is not None and not looking:
        return f"the direction is measured at every step ({dotted(CLIP)})"
    return None


def _gradient_space(get: Get, layers: Layers) -> str | None:
    if get(WRAPPER) or get(CLIP) is not None or _looking_at_gradients(get, layers):
        return None
    return f"{get((*STRATEGY, 'type'))} does not look at gradients"


def _looking_at_gradients(get: Get, layers: Layers) -> list[KeyPath]:
    """The paths of the strategies that look at gradients."""
    for path in (OVER, TIMES):
        get(path)  # doubtful where a problem leaves open what they are
    if STRATEGY not in layers:
        raise Doubtful
    return [path for path, layer in layers.items() if layer.needs >= type(layer.needs).GRAM]


def _row_type(get: Get, layers: Layers) -> str | None:
    if get((*STRATEGY, "gram_on")) == "features":
        return "with gram_on: features there are no gradients of parameters by task"
    return None


def _tracker(name: str) -> Callable[[Get, Layers], str | None]:
    """The rule for a tracker that null stands for: written with nothing behind it, it was meant to be there."""

    def rule(get: Get, layers: Layers) -> str | None:
        is_null = get(("trackers", name)) is None
        return "null asks for no tracker; {} asks for one with its defaults" if is_null else None

    return rule


_HIGHER = (
    *("accuracy", "r2", "score", "mIoU", "mDice", "H-Mean", "pixel_accuracy", "boundary_IoU", "boundary_F1"),
    *("iou", "above_50", "above_50_95", "zeros"),
)
_LOWER = ["loss", "excess", "mae", "rmse", "NLL", "Brier", "ECE", "gap", "violation"]
BETTER = {**dict.fromkeys(_HIGHER, "max"), **dict.fromkeys(_LOWER, "min")}
"""Which values of a metric are better, by the last part of its name."""

TELLING = ("accuracy", "r2", "grouped.mIoU", "iou", "score")
"""The metrics that tell most about a task; it has one of them by its kind."""

RULES: dict[KeyPath, Callable[[Get, Layers], str | None]] = {
    ("trainer", "mixed_precision_dtype"): _mixed_precision_dtype,
    MODE: _validation_choice,
    ("trainer", "early_stopping"): _validation_choice,
    ("trainer", "snapshots"): _snapshots,
    ("augmentations",): _augmentations,
    ("optimizer", "plateau"): _validation_choice,
    ("loss", "term_weights"): _term_weights,
    ("trainer", "max_nonfinite_steps"): _max_nonfinite_steps,
    ("diagnostics", "gradient_every"): _gradient_every,
    ("trackers", "wandb"): _tracker("wandb"),
    ("trackers", "mlflow"): _tracker("mlflow"),
    (*STRATEGY, "gram_on"): _gradient_space,
    (*STRATEGY, "rows"): _row_type,
    (*STRATEGY, "row_type"): _row_type,
}


def check_effects(draft: Draft, layers: Layers) -> None:
    """Note the written keys that have no effect, and report a metric whose worst values would be selected.

    `layers` are the strategies that could be built.
    """

    def get(path: KeyPath) -> Any:
        if not draft.sure(path):
            raise Doubtful
        return draft.value(path)

    idle = idle_keys(get, layers)
    draft.idle |= {path: reason for path, reason in idle.items() if draft.given(path)}
    if MODE not in idle:
        with suppress(Doubtful):
            _check_mode(draft, get(METRIC), get(MODE))


def idle_keys(get: Get, layers: Layers) -> dict[KeyPath, str]:
    """Return the keys that have no effect beside the others, each with the reason; doubtful ones are not among them."""
    idle: dict[KeyPath, str] = {}
    for path, rule in RULES.items():
        with suppress(Doubtful):
            reason = rule(get, layers)
            idle |= {path: reason} if reason else {}
    return idle


def _check_mode(draft: Draft, metric: str, mode: str) -> None:
    better = BETTER.get(metric.rpartition(".")[2], mode)
    if better != mode:
        message = f"{mode} selects the worst values of trainer.model_selection_metric ({metric})"
        draft.report(MODE, message, f"write metric_mode: {better}")
