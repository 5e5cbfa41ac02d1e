"""The plainest model: a weighted sum of the inputs."""

from collections.abc import Mapping

from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.models.naming import by_task


@registry.models.register
class LinearMap(nn.Module):
    """Rows (N, n, features) to X w, (N, n), with weights `maps.<task>.weight` of each task that all begin at 1."""

    def __init__(self, input_shape: tuple[int, ...], tasks: Mapping[str, TaskSpec]) -> None:
        """Build the weights for items of `input_shape` (n, features).

        Raises:
            ConfigError: items are no rows, or a task is no regression with a value for each row.
        """
        super().__init__()
        if len(input_shape) != 2 or any((t.kind, t.size) != ("regression", input_shape[0]) for t in tasks.values()):
            raise ConfigError(
                f"LinearMap takes items of rows and regressions with a value for each row, not inputs of the shape "
                f"{input_shape} and the tasks {', '.join(tasks)}\n    take a model that belongs to the data set"
            )
        self.maps = by_task({task: nn.Linear(input_shape[1], 1, bias=False) for task in tasks})
        for parameter in self.parameters():
            nn.init.ones_(parameter)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return a value for each row and task."""
        return {task: own(inputs)[..., 0] for task, own in self.maps.items()}
