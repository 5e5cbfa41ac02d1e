"""Items that are all in memory."""

from collections.abc import Mapping

from torch import Tensor
from torch.utils.data import Dataset


class ItemsInMemory(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Items (inputs[i], {task: targets[task][i]}) of tensors whose first dimension is the item."""

    def __init__(self, inputs: Tensor, targets: Mapping[str, Tensor]) -> None:
        self.inputs = inputs
        self.targets = dict(targets)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return self.inputs[index], {task: target[index] for task, target in self.targets.items()}
