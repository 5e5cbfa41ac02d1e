"""Cross-entropy or focal loss of the pixels mixed with the Dice loss of the classes, a term for each task."""

from collections.abc import Mapping

from torch import Tensor

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.losses.segmentation.mixture import Mixture, OfOneTask, PrimaryLoss
from coral_mtl.losses.segmentation.terms import SegmentationTerms
from coral_mtl.options import Fraction, NonNegative


@registry.losses.register
class HybridLoss:
    """alpha (focal loss or cross-entropy) + (1 - alpha) (Dice loss), one term for each segmentation task.

    Both parts are over the pixels of the batch that have a label (see `focal` and `dice`); a task without one has the
    loss 0 with a gradient of 0. Half precisions are computed in float32.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        *,
        primary_loss_type: PrimaryLoss = "focal",
        hybrid_alpha: Fraction = 0.5,
        focal_gamma: NonNegative = 2.0,
        dice_smooth: NonNegative = 1.0,
        ignore_index: int | None = None,
        task_specific: dict[str, OfOneTask] | None = None,
    ) -> None:
        """Create one term for each of `tasks`.

        Args:
            primary_loss_type: loss of the single pixels, focal or cross_entropy (default focal).
            hybrid_alpha: share of that loss, from 0 to 1; the rest is Dice (default 0.5).
            focal_gamma: how much less pixels count that are right already; 0 is cross-entropy (default 2.0).
            dice_smooth: pixels added above and below the ratio of Dice, which soften the verdict on small classes
                (default 1.0).
            ignore_index: class whose pixels are not counted, beside pixels without a label (default null: none).
            task_specific: other values of these options for single tasks, by task name, and `class_weights`: the weight
                of each class's pixels in the focal loss or cross-entropy, as a list, or by name with 1 for the others
                (default null: none).

        Raises:
            ConfigError: a task is no segmentation, or `task_specific` names a task or a class that is not there.
        """
        for name, task in tasks.items():
            if task.kind != "segmentation":
                raise ConfigError(
                    f"HybridLoss is for segmentation; {name!r} is a {task.kind} task\n    take CompositeHierarchical"
                )
        common = Mixture(primary_loss_type, hybrid_alpha, focal_gamma, dice_smooth, ignore_index)
        self.tasks = dict(tasks)
        self.segmentation = SegmentationTerms(tasks, common, task_specific)

    def unused_options(self) -> dict[str, str]:
        return self.segmentation.unused_options()

    @property
    def ignored_by_task(self) -> dict[str, tuple[int, ...]]:
        """The classes whose pixels are left out, beside pixels without a label."""
        return {name: mixture.ignored() for name, mixture in self.segmentation.mixtures.items()}

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms, in the order of the tasks."""
        return tuple(self.tasks)

    def __call__(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the scalar terms of the tasks that this batch has targets for.

        Raise DataError where a prediction is missing or of the wrong shape.
        """
        return self.segmentation.losses(self.segmentation.pixels(predictions, targets))
