"""A SegFormer encoder, features of each task, and attention of the primary tasks to all others."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.models.naming import by_task
from coral_mtl.models.segmentation.cross_task import CrossTaskAttention, pooled
from coral_mtl.models.segmentation.features import Features
from coral_mtl.models.segmentation.fusion import normalised
from coral_mtl.models.segmentation.roles import TaskRoles, resolved_roles
from coral_mtl.models.segmentation.segformer_map import SegFormerMap
from coral_mtl.options import PositiveInt


@registry.models.register
class CoralMTL(SegFormerMap):
    """Images to logits {task: (N, size, H, W)}: one encoder, and a decoder in which primary tasks read the others.

    With S the map that all tasks share (SegFormer's encoder and decoder, see AllMLPFusion), every task t has features
    X_t = ReLU(GN(V_t S)) of d = `attention_dim` channels. Those of a primary task p attend to those of all other tasks,
    window by window (see CrossTaskAttention), and are mixed once more:

        Z_p = ReLU(GN(U_p (X_p + attention_p(X_p; {X_b, b != p})))),

    and Z_a = X_a for an auxiliary task. Logits are linear in Z_t, at a quarter of the resolution, enlarged bilinearly.

    The composition is our own. That a task's features are refined by those of preliminary predictions of others is from
    PAD-Net (Xu et al. 2018) and MTI-Net (Vandenhende et al. 2020); attention across tasks from ATRC (Bruggemann et al.
    2021) and DenseMTL (Lopes et al. 2023). Here it is local, one-way for auxiliary tasks, and at one scale.

    The features X_b of a task are reached by its own loss and by those of the primary tasks, so a gradient strategy
    sees V_b as shared; U_p, the attention and the last layers belong to one task each.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        specs: Mapping[str, TaskSpec],
        *,
        attention_dim: PositiveInt = 128,
        tasks: TaskRoles | None = None,
        **segformer: Any,
    ) -> None:
        """Build the model for images of the channels of `input_shape` and the tasks `specs`.

        Further options and errors are those of SegFormerMap.

        Args:
            attention_dim: channels of each task's features, a multiple of 4 (default 128).
            tasks: names of the `primary` tasks, which read the others' features, and of the `auxiliary` ones, which do
                not; a list that is left out holds all tasks that the other does not (default null: all are primary).

        Raises:
            ConfigError: a task has no role, a role names what is no task, or attention_dim is no multiple of 4.
        """
        roles = resolved_roles(tasks, specs)
        super().__init__(input_shape, specs, **segformer)
        self.branches = by_task({task: normalised(self.fusion.width, attention_dim) for task in specs})
        reading = roles.primary if len(specs) > 1 else ()
        self.attention = by_task({task: CrossTaskAttention(len(specs) - 1, attention_dim) for task in reading})
        self.mixing = by_task({task: normalised(attention_dim, attention_dim) for task in reading})
        self.heads = by_task({task: nn.Conv2d(attention_dim, spec.size, 1) for task, spec in specs.items()})

    @staticmethod
    def check_tasks(specs: Mapping[str, TaskSpec], *, tasks: TaskRoles | None = None, **options: Any) -> None:
        """Raise ConfigError where the roles do not fit the tasks `specs`; nothing is built."""
        resolved_roles(tasks, specs)

    def predict(self, features: Features) -> dict[str, Tensor]:
        """Return the logits of every task from the shared map."""
        own = {task: branch(features.map) for task, branch in self.branches.items()}
        small = {task: pooled(each) for task, each in own.items()} if self.attention else {}
        for task, attention in self.attention.items():
            others = [each for other, each in small.items() if other != task]
            own[task] = self.mixing[task](attention(own[task], others))
        return {task: features.to_pixels(head(own[task])) for task, head in self.heads.items()}
