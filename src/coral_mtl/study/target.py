"""What runs are compared by."""

from collections.abc import Iterable
from dataclasses import dataclass

from coral_mtl.config import Config
from coral_mtl.config.effects import BETTER
from coral_mtl.errors import ConfigError

_LEADING = {"accuracy": True, "grouped.mIoU": True, "iou": True, "score": True, "rmse": False}
"""Whether larger is better. The root of the squared error and not R2, of which a relative change means nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of the last validation, and whether larger is better."""

    metric: str
    larger_is_better: bool

    @property
    def sign(self) -> float:
        """The factor that makes larger better."""
        return 1.0 if self.larger_is_better else -1.0


def target_of(config: Config, metric: str | None = None) -> Target:
    """Return the target called `metric`; None takes the one that the configuration selects models by.

    Raises:
        ConfigError: whether larger is better is not known.
    """
    own = config.trainer.model_selection_metric
    return Target(own, config.trainer.metric_mode == "max") if metric in (None, own) else known_target(str(metric))


def known_target(metric: str) -> Target:
    """Return the target called `metric`, with larger or smaller values better as its name says.

    Raises:
        ConfigError: the name does not say.
    """
    mode = BETTER.get(metric.rpartition(".")[2])
    if mode is None:
        raise ConfigError(
            f"whether larger or smaller values of {metric} are better is not known\n"
            "    take a metric whose name ends in one of: " + ", ".join(BETTER)
        )
    return Target(metric, mode == "max")


def leading_targets(metrics: Iterable[str]) -> dict[str, Target]:
    """Return the figure that stands for each task among the names of metrics: its accuracy, mIoU, or RMSE."""
    names = dict.fromkeys(metrics)
    leading: dict[str, Target] = {}
    for kind, larger in _LEADING.items():
        for name in names:
            task = name.removeprefix("tasks.").removesuffix(f".{kind}")
            if name == f"tasks.{task}.{kind}":
                leading.setdefault(task, Target(name, larger))
    return leading
