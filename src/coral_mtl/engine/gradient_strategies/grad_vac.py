"""GradVac: gradients are turned towards one another as far as they have been similar so far."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from coral_mtl import registry
from coral_mtl.engine.generator import SeededGenerator
from coral_mtl.engine.gradient_strategies.coordinates import weighted_sum
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.strategy import GradientStrategy, Memory, State
from coral_mtl.options import Fraction, NonNegativeInt, PositiveInt

_MODEL = "model"
_CLOSEST = 0.999
"""Largest target: the correction grows as 1 / sqrt(1 - target^2) and would soon outweigh the gradient itself."""


def vaccinate(
    cosines: np.ndarray, present: np.ndarray, targets: np.ndarray, orders: np.ndarray, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return X with p_i / |g_i| = sum_j X_ij g_j / |g_j|, (T, T), and the targets after this step.

    p_i starts as g_i and visits the others in the order of row i. With phi = cos(p_i, g_j): if phi < target_ij, as much
    of g_j is added as brings the cosine up to target_ij. Then target_ij moves to phi by the share beta, corrected or
    not. All rows take their k-th visit at once.

    Args:
        cosines: (T, T) cosine matrix of the gradients.
        present: (T,) bool, the tasks whose gradient is not zero; the others are neither corrected nor visited.
        targets: (T, T) target cosines.
        orders: (T, T - 1) task indices, row i a permutation of all tasks but i.
        beta: share of the new cosine in the target.
    """
    rows = np.arange(len(cosines))
    mixture = np.eye(len(cosines))
    products = cosines.copy()
    lengths = np.where(present, 1.0, 0.0)
    learned = targets.copy()
    for visited in orders.T:
        alive = (lengths > 0.0) & present[visited]
        phi = np.clip(products[rows, visited] / np.where(alive, lengths, 1.0), -1.0, 1.0)
        target = targets[rows, visited]
        goal = np.clip(target, -_CLOSEST, _CLOSEST)
        corrected = alive & (phi < goal)
        sine, goal_sine = np.sqrt((1.0 - phi) * (1.0 + phi)), np.sqrt((1.0 - goal) * (1.0 + goal))
        added = np.where(corrected, lengths * (goal * sine / goal_sine - phi), 0.0)
        mixture[rows, visited] += added
        products += added[:, None] * cosines[visited]
        lengths = np.where(corrected, lengths * sine / goal_sine, lengths)
        learned[rows, visited] += np.where(alive, beta * (phi - target), 0.0)
    return mixture, learned


@registry.strategies.register
class GradVac(GradientStrategy):
    """The mean (or sum) of the gradients, each turned towards those it is less similar to than it used to be.

    p_i = g_i; for j != i in random order, phi = cos(p_i, g_j): if phi < target_ij,
    p_i <- p_i + |p_i| (target sqrt(1 - phi^2) - phi sqrt(1 - target^2)) / (|g_j| sqrt(1 - target^2)) g_j;
    target_ij <- (1 - beta) target_ij + beta phi at every visit, from 0, so that the first step is PCGrad.
    d = mean_i p_i.

    With `groups: layer` all of this happens in each layer by itself, with targets of its own; the layer of a parameter
    is its name without the last part. That needs the gradients' coordinates. Tasks may be hurt. Coefficients are
    nonnegative; nothing to solve, so it cannot fail. Targets are kept by task name and capped at 0.999 where they are
    used.

    Records `gradvac_target`, the mean target of the present pairs.
    """

    convention = "mean"
    steady = "without conflict"
    paper = (
        "Wang et al.: Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual "
        "Models (ICLR 2021), algorithm 1"
    )

    def __init__(
        self,
        *,
        beta: Fraction = 0.01,
        groups: Literal["model", "layer"] = "model",
        reduction: Literal["mean", "sum"] = "mean",
        seed: NonNegativeInt | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the pace of the targets, where they apply, and the randomness.

        Args:
            beta: share of the newest cosine in the target (default 0.01; other libraries have 0.5).
            groups: compare gradients of the whole model or of each layer (default model).
            reduction: d is the `mean` or the `sum` of the corrected gradients; the sum, the paper's, multiplies the
                effective learning rate by the number of tasks (default mean).
            seed: seed of the strategy's own generator of visiting orders (default: the seed of the run, and 0 without
                one).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.beta = beta
        self.groups = groups
        self.reduction = reduction
        self.seed = seed
        if groups == "layer":
            self.needs = Needs.ROWS
        self._generator = SeededGenerator(seed)
        self._tasks: list[str] = []
        self._targets: dict[str, np.ndarray] = {}

    @property
    def promises(self) -> Promises:
        by_model = self.groups == "model"
        return Promises(nonnegative=by_model, permutation=False, combination=by_model)

    def unused_options(self) -> dict[str, str]:
        if self.groups == "model":
            return {}
        return {"update_frequency": "with groups: layer the direction has no coefficients that could be reused"}

    def solve(self, observation: Observation) -> Decision:
        places = self._places(observation.tasks)
        orders = self._generator.visiting_orders(len(places))
        if self.groups == "layer":
            decision = self._by_layer(observation, places, orders)
        else:
            decision = Decision(self._coefficients(_MODEL, observation.require_gram(), places, orders))
        chosen = np.ix_(places, places)
        targets = [float(t[chosen].sum()) for t in self._targets.values()]
        pairs = len(targets) * len(places) * (len(places) - 1)
        decision.records["gradvac_target"] = sum(targets) / max(pairs, 1)
        return decision

    def memories(self) -> dict[str, Memory]:
        return {"generator": self._generator}

    def reset(self) -> None:
        super().reset()
        self._tasks, self._targets = [], {}

    def state_dict(self) -> State:
        targets = {group: torch.from_numpy(t.copy()) for group, t in self._targets.items()}
        return super().state_dict() | {"tasks": list(self._tasks), "targets": targets}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._tasks = list(state["tasks"])
        self._targets = {group: t.cpu().numpy().copy() for group, t in state["targets"].items()}

    def _places(self, tasks: Sequence[str]) -> list[int]:
        """Where the tasks stand in the target matrices, which grow when a new one appears."""
        new = [task for task in tasks if task not in self._tasks]
        self._tasks += new
        self._targets = {group: np.pad(t, (0, len(new))) for group, t in self._targets.items()}
        return [self._tasks.index(task) for task in tasks]

    def _coefficients(self, group: str, gram: np.ndarray, places: list[int], orders: np.ndarray) -> np.ndarray:
        cosines, norms = cosine_matrix(gram)
        targets = self._targets.setdefault(group, np.zeros((len(self._tasks), len(self._tasks))))
        chosen = np.ix_(places, places)
        mixture, targets[chosen] = vaccinate(cosines, norms > 0.0, targets[chosen], orders, self.beta)
        coefficients = (norms @ mixture) / np.where(norms > 0.0, norms, 1.0)
        return coefficients / len(places) if self.reduction == "mean" else coefficients

    def _by_layer(self, observation: Observation, places: list[int], orders: np.ndarray) -> Decision:
        rows = observation.require_rows()
        layers: dict[str, list[int]] = {}
        for index, name in enumerate(rows.names):
            layers.setdefault(name.rpartition(".")[0], []).append(index)
        grams = rows.group_grams(list(layers.values()))
        gradients = [rows.gradients(task) for task in range(len(places))]
        direction: dict[int, torch.Tensor] = {}
        for (layer, members), gram in zip(layers.items(), grams, strict=True):
            coefficients = self._coefficients(layer, gram, places, orders).tolist()
            for index in members:
                direction[index] = weighted_sum(coefficients, [gradient[index] for gradient in gradients])
        plain = np.full(len(places), 1.0 / len(places) if self.reduction == "mean" else 1.0)
        return Decision(plain, direction=[direction[index] for index in range(len(rows.names))])
