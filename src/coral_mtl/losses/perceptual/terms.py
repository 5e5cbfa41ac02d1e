"""The losses of judged triplets as named terms."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from torch import Tensor

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.elements import in_full_precision, prediction_of, require_kind
from coral_mtl.losses.perceptual.judgement import brier, cross_entropy, focal, hinge, ranking, smoothed
from coral_mtl.options import Fraction, NonNegative

TermName = Literal["cross_entropy", "brier", "hinge", "ranking", "focal"]
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@registry.losses.register
class JudgementLoss:
    """Losses of the choice between two images, each the mean over the triplets, for votes h that chose the second.

    With the logit G: cross_entropy log(1 + exp(G)) - h G, brier (sigmoid(G) - h)^2, hinge max(0, m - (2h - 1) G), focal
    (Lin et al. 2017, for hard votes); with the distances: ranking h max(0, m + d1 - d0) + (1 - h) max(0, m + d0 - d1).
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        *,
        terms: Sequence[TermName] = ("cross_entropy",),
        margin: NonNegative = 1.0,
        gamma: NonNegative = 2.0,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        """Create the terms of the one task.

        Args:
            terms: one or more of cross_entropy, brier, hinge, ranking and focal (default [cross_entropy]).
            margin: the m of hinge, in logits, and of ranking, in units of distance (default 1.0).
            gamma: how much less the focal loss counts what is right already (default 2.0).
            label_smoothing: share a of a vote that goes to a half, h (1 - a) + a / 2 (default 0.0).

        Raises:
            ConfigError: a task is no judgement, there are several, no term, or one twice.
        """
        require_kind("JudgementLoss", tasks, "judgement")
        if len(tasks) != 1:
            raise ConfigError(f"JudgementLoss is for a single task, not for {', '.join(tasks)}")
        if not terms or len(set(terms)) < len(terms):
            raise ConfigError(
                f"JudgementLoss: terms are one or more names, each once, not {list(terms)}", option="terms"
            )
        self.terms = tuple(terms)
        (self.task,) = tasks
        self.terms_by_task = {self.task: self.terms}
        self.label_smoothing = label_smoothing
        self._losses: dict[str, Loss] = {
            "cross_entropy": lambda first, second, logits, votes: cross_entropy(logits, votes),
            "brier": lambda first, second, logits, votes: brier(logits, votes),
            "hinge": lambda first, second, logits, votes: hinge(logits, votes, margin=margin),
            "ranking": lambda first, second, logits, votes: ranking(first, second, votes, margin=margin),
            "focal": lambda first, second, logits, votes: focal(logits, votes, gamma=gamma, alpha=None),
        }

    def unused_options(self) -> dict[str, str]:
        unused = {} if "focal" in self.terms else {"gamma": "there is no term focal"}
        return unused if {"hinge", "ranking"} & {*self.terms} else {**unused, "margin": "no term hinge or ranking"}

    def __call__(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], only: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the scalar terms, or those named in `only`.

        Raise DataError where predictions are not (N, 3), distances and logit, or votes not (N,) shares.
        """
        prediction = prediction_of(self.task, predictions)
        if prediction.ndim != 2 or prediction.shape[1] != 3:
            raise DataError(
                f"a judgement is predicted as (N, 3), two distances and a logit, not {tuple(prediction.shape)}"
            )
        votes = smoothed(targets[self.task], self.label_smoothing)
        seen = (*in_full_precision(prediction).unbind(dim=1), votes)
        return {term: self._losses[term](*seen).mean() for term in self.terms if only is None or term in only}
