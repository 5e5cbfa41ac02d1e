"""The terms of HybridPolygonLoss for the polygon tasks of a data set."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import prediction_of, require_kind
from coral_mtl.losses.polygon.hybrid import HybridPolygonLoss, TermName
from coral_mtl.options import Positive, options_of


@registry.losses.named("HybridPolygonLoss")
class PolygonTerms:
    """Several losses of the same predicted polygon: distances of vertices, overlap of shapes, convexity.

    Terms are called `l2`, `mgiou`, ...; where there are several tasks, `<task>_l2`, ... With `loss.balance: terms` a
    strategy weighs them; without it a task's terms are added up, times `loss.term_weights`.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        *,
        terms: Sequence[TermName] = ("l2", "mgiou"),
        align: Literal["none", "cyclic"] = "none",
        falloff: Positive = 1.0,
    ) -> None:
        """Create the terms of each of `tasks`.

        Args:
            terms: one or more of l2 (squared distance over area), oks (1 - exp(-that / falloff)), log (log(1 + that)),
                mgiou (overlap of the shapes' shadows) and convexity (default [l2, mgiou]).
            align: how vertices of prediction and target are matched for l2, oks and log: `none`, one by one, or
                `cyclic`, by the rotation and direction of least squared distance (default none).
            falloff: the k of oks; COCO's is 8 sigma^2 (default 1.0).

        Raises:
            ConfigError: a task is no polygon, no term, or one twice.
        """
        require_kind("HybridPolygonLoss", tasks, "polygon")
        given: dict[str, Any] = {"align": align, "falloff": falloff}
        said = {name: value for name, value in given.items() if value != options_of(PolygonTerms)[name].default}
        self._losses = {task: HybridPolygonLoss(terms=terms, **said) for task in tasks}
        self._names: dict[str, dict[TermName, str]] = {
            task: {term: term if len(tasks) == 1 else f"{task}_{term}" for term in terms} for task in tasks
        }
        self.terms_by_task = {task: tuple(names.values()) for task, names in self._names.items()}

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms, in the order of the tasks."""
        return tuple(name for names in self.terms_by_task.values() for name in names)

    def unused_options(self) -> dict[str, str]:
        return next(iter(self._losses.values())).unused_options()

    def __call__(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], only: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the scalar terms of the tasks that this batch has targets for; of these, those named in `only`.

        Raise DataError where a prediction is missing or of another shape than its target.
        """
        wanted = set(self.terms if only is None else only)
        found: dict[str, Tensor] = {}
        for task, names in self._names.items():
            own = [term for term, name in names.items() if name in wanted]
            if own and task in targets:
                losses = self._losses[task](prediction_of(task, predictions), targets[task], only=own)
                found |= {names[term]: losses[term] for term in own}
        return found
