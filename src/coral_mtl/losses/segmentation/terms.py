"""The terms of all segmentation tasks, each with the options of its own."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.losses.elements import prediction_of
from coral_mtl.losses.segmentation.mixture import Mixture, OfOneTask, weights_of_classes
from coral_mtl.losses.segmentation.pixels import Pixels, pixels


class SegmentationTerms:
    """A mixture of losses for each segmentation task: that of all, changed where a task has its own options."""

    def __init__(
        self, tasks: Mapping[str, TaskSpec], common: Mixture, task_specific: Mapping[str, OfOneTask] | None
    ) -> None:
        """Resolve the options of each of `tasks`.

        Raises:
            ConfigError: `task_specific` names a task or a class that is not there.
        """
        self.tasks = dict(tasks)
        self.task_specific = dict(task_specific or {})
        for name in self.task_specific:
            if name not in self.tasks:
                raise ConfigError(
                    f"task_specific: there is no segmentation task {name!r}\n    known: {', '.join(self.tasks)}",
                    option="task_specific",
                )
        self.mixtures = {name: self._own(name, common) for name in self.tasks}

    def _own(self, name: str, common: Mixture) -> Mixture:
        given = self.task_specific.get(name, OfOneTask())
        weights = given.get("class_weights")
        own = {option: value for option, value in given.items() if option != "class_weights"}
        if weights is not None:
            own["class_weights"] = weights_of_classes(name, self.tasks[name], weights)
        return replace(common, **own)  # type: ignore[arg-type]

    def unused_options(self) -> dict[str, str]:
        """Return the options of Mixture, and `task_specific`, that change no task's loss, each with the reason."""
        common = [option for option in Mixture.__slots__ if option != "class_weights"]
        if not self.tasks:
            return dict.fromkeys((*common, "task_specific"), "no task of this data set is a segmentation")
        idle = {name: mixture.idle(self.tasks[name]) for name, mixture in self.mixtures.items()}
        own = {name: given.keys() & idle[name].keys() for name, given in self.task_specific.items()}
        specific = [f"{option} of {name}: {idle[name][option]}" for name in own for option in sorted(own[name])]
        unused = {"task_specific": "; ".join(specific)} if specific else {}
        for option in common:
            takers = [name for name in self.tasks if option not in self.task_specific.get(name, {})]
            if all(option in idle[name] for name in takers):
                unused[option] = idle[takers[0]][option] if takers else "task_specific has one for every task"
        return unused

    def pixels(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Pixels]:
        """Return the pixels of the tasks that there are targets for.

        Raises:
            DataError: a prediction is missing or of the wrong shape.
        """
        return {
            name: pixels(task, prediction_of(name, predictions), targets[name], self.mixtures[name].ignored())
            for name, task in self.tasks.items()
            if name in targets
        }

    def losses(self, by_task: Mapping[str, Pixels]) -> dict[str, Tensor]:
        """Return the scalar loss of each task from its pixels."""
        return {name: self.mixtures[name].loss(own) for name, own in by_task.items()}
