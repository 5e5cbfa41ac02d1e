"""Weights kept along the way, and what they predict together with the last ones (Huang et al. 2017)."""

from collections.abc import Mapping, Sequence
from math import log

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import log_softmax, logsigmoid

from coral_mtl.data.tasks import TaskKind, TaskSpec

Weights = dict[str, Tensor]


class Snapshots:
    """A model's weights after certain epochs, on the CPU, one set for each."""

    def __init__(self, model: nn.Module, tasks: Mapping[str, TaskSpec], epochs: Sequence[int]) -> None:
        """Keep nothing yet.

        Args:
            model: whose weights, and buffers, are kept.
            tasks: what it predicts.
            epochs: after how many epochs, counted from 1.
        """
        self._model = model
        self._kinds = {task: spec.kind for task, spec in tasks.items()}
        self._epochs = tuple(epochs)
        self._kept: dict[int, Weights] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def after_epoch(self, epoch: int) -> None:
        """Keep the weights, if `epoch` is one of those that they are kept after."""
        if epoch in self._epochs:
            state = self._model.state_dict()
            self._kept[epoch] = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def ensemble(self) -> "Ensemble":
        """Return what the model predicts with all weights kept so far, those of the present among them."""
        return Ensemble(self._model, tuple(self._kept.values()), self._kinds)

    def state_dict(self) -> dict[int, Weights]:
        """The weights, by epoch."""
        return self._kept

    def load_state_dict(self, state: Mapping[int, Weights]) -> None:
        """Restore what `state_dict` returned, but for epochs that are none of this run's (after a fork)."""
        self._kept = {epoch: weights for epoch, weights in state.items() if epoch in self._epochs}


class Ensemble(nn.Module):
    """Predicts the mean of what a model predicts with several weights: of probabilities, where it predicts logits.

    The weights are put into the one model in turn, so that it need not be copied, and a GPU holds one set more.
    """

    def __init__(self, model: nn.Module, kept: Sequence[Weights], kinds: Mapping[str, TaskKind]) -> None:
        """Take the weights that are there beside those that the model has."""
        super().__init__()
        self.model = model
        self.kept = tuple(kept)
        self.kinds = dict(kinds)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the mean prediction of each task, in the form that its kind has."""
        with_kept = (functional_call(self.model, _on(inputs.device, each), (inputs,)) for each in self.kept)
        predictions = [*with_kept, self.model(inputs)]
        return {task: mean_prediction(kind, [each[task] for each in predictions]) for task, kind in self.kinds.items()}


def _on(device: torch.device, weights: Weights) -> Weights:
    return {name: tensor.to(device) for name, tensor in weights.items()}


def mean_prediction(kind: TaskKind, predictions: Sequence[Tensor]) -> Tensor:
    """Return one prediction for several.

    Logits of classes become the logarithms of their mean probabilities, log (1/K sum_k softmax(z_k)); of a judgement,
    the distances are averaged, and the logit is that of the mean probability. All else is averaged as it is.
    """
    if kind in {"classification", "segmentation"}:
        return _mean_of_logarithms([log_softmax(each, dim=1) for each in predictions])
    mean = torch.stack(list(predictions)).mean(dim=0)
    if kind == "judgement":
        second = _mean_of_logarithms([logsigmoid(each[:, -1:]) for each in predictions])
        first = _mean_of_logarithms([logsigmoid(-each[:, -1:]) for each in predictions])
        return torch.cat([mean[:, :-1], second - first], dim=1)
    return mean


def _mean_of_logarithms(logarithms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(logarithms)).logsumexp(dim=0) - log(len(logarithms))
