"""Every registered strategy, with its defaults and with notable options, and steps that properties are tested on."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.engine.loss_weighting.gradient_normalised import GradientNormalised
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.engine.loss_weighting.value_normalised import ValueNormalised
from coral_mtl.engine.observation import Decision, Observation
from coral_mtl.engine.pcgrad import PCGrad
from coral_mtl.engine.product import Product
from coral_mtl.engine.raw import CollectedRows
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.strategy import Strategy
from coral_mtl.engine.wrappers import ClippedDirection, WeightAveraging
from coral_mtl.options import options_of
from coral_mtl.schedules import Horizon

Options = dict[str, Any]


RUN = Horizon(steps=100, steps_per_epoch=10)


def falling(tasks: Sequence[str]) -> dict[str, float]:
    """A preference for each task, the first most of all."""
    return {task: 1.0 / (1.0 + position) for position, task in enumerate(tasks)}


def switched(tasks: Sequence[str]) -> Options:
    """Two sets of weights, the second where the first task's gradient is longer than the last one's."""
    sets = [falling(tasks), dict.fromkeys(tasks, 1.0)]
    return {"weights": sets, "ratio": (tasks[0], tasks[-1]), "thresholds": [1.0], "dwell": 1, "beta": 0.5}


REQUIRED: dict[str, Callable[[Sequence[str]], Options]] = {
    "Static": lambda tasks: {"weights": falling(tasks)},
    "Mixture": lambda tasks: {"term": tasks[0], "alpha": 0.3},
    "Curriculum": lambda tasks: {"plan": "complexity_cascade", "terms": list(tasks)},
    "Switch": switched,
}
"""Options that must be given, by strategy and from the task names."""

NOTABLE: dict[str, list[Options | Callable[[Sequence[str]], Options]]] = {
    "Aligned-MTL": [{"scale_mode": "median"}, {"scale_mode": "rmse", "reduction": "sum"}, {"smoothing": 1e-3}],
    "CAGrad": [{"c": 0.0}, {"c": 1.0}, {"c": 2.0, "rescale": 1}],
    "CappedMGDA": [{"cap": 0.3}, {"cap": 1.0}],
    "ConFIG": [lambda tasks: {"preference": falling(tasks)}],
    "DB-MTL": [{"beta": 0.0}],
    "DualProj": [{"reduction": "sum"}, lambda tasks: {"preference": falling(tasks)}],
    "Equal": [{"reduction": "mean"}],
    "FairGrad": [{"alpha": 0.1}, {"alpha": 0.5}, {"alpha": 1.0}, {"alpha": 5.0}, {"alpha": 50.0}],
    "FAMO": [{"losses_after": "forward"}],
    "GradDrop": [{"reduction": "sum"}],
    "GradVac": [{"reduction": "sum"}, {"groups": "layer"}],
    "IMGrad": [
        {"f": "one_minus_cos"},
        {"f": "half", "guard": False},
        {"mode": "cagrad"},
        {"mode": "cagrad", "variant": "official", "c": 1.5},
    ],
    "MGDA": [
        {"normalization": "l2"},
        {"normalization": "loss+"},
        {"solver": "pgd", "tolerance": 1e-10, "max_iterations": 500},
    ],
    "NashMTL": [{"max_norm": 0.1}, {"update_frequency": 3}],
    "NTKMTL": [{"batches": 3}],
    "PCGrad": [{"reduction": "sum"}, {"update_frequency": 2, "seed": 5}],
    "STCH": [{"on": "losses", "mu": 0.1}],
    "UPGrad": [{"reduction": "sum"}, lambda tasks: {"preference": falling(tasks)}],
}

COMPOSED: dict[str, Callable[[], Strategy]] = {
    "Uncertainty under PCGrad": lambda: Stack(Uncertainty(), PCGrad()),
    "Uncertainty under NashMTL": lambda: Stack(Uncertainty(), NashMTL()),
    "averaged MGDA": lambda: WeightAveraging(MGDA()),
    "clipped NashMTL": lambda: ClippedDirection(NashMTL(), max_norm=0.1),
    "ValueNormalised times GradientNormalised": lambda: Product(ValueNormalised(), GradientNormalised(beta=0.5)),
    "clipped Uncertainty": lambda: ClippedDirection(Uncertainty(), max_norm=0.1),
}


@dataclass(frozen=True)
class Case:
    """A strategy with options: `build(count)` makes a fresh one that knows its `count` tasks."""

    name: str
    build: Callable[[int], Strategy]

    def __repr__(self) -> str:
        return self.name


def names(count: int) -> tuple[str, ...]:
    """Task names."""
    return tuple(f"task_{i}" for i in range(count))


def _registered(name: str, options: Options | Callable[[Sequence[str]], Options]) -> Case:
    def build(count: int) -> Strategy:
        tasks = names(count)
        given = options(tasks) if callable(options) else options
        required = REQUIRED.get(name, lambda tasks: {})(tasks)
        strategy = registry.strategies.get(name)(**required, **given)
        strategy.bind(tasks)
        strategy.begin(RUN)
        return strategy

    shown = ", ".join(f"{key}={value}" for key, value in options.items()) if isinstance(options, dict) else "preference"
    return Case(f"{name}({shown})" if options else name, build)


def _composed(name: str, make: Callable[[], Strategy]) -> Case:
    def build(count: int) -> Strategy:
        strategy = make()
        strategy.bind(names(count))
        return strategy

    return Case(name, build)


CASES = [_registered(name, options) for name in registry.strategies.names() for options in [{}, *NOTABLE.get(name, [])]]
CASES += [_composed(name, make) for name, make in COMPOSED.items()]


def missing_options() -> set[str]:
    """Registered strategies that need options this table does not give."""
    needy = {
        name
        for name in registry.strategies.names()
        if any(option.default is ... for option in options_of(registry.strategies.get(name)).values())
    }
    return needy - REQUIRED.keys()


def observe(strategy, gradients, losses=None, *, step=0, tasks=None, dtype=torch.float64) -> Observation:
    """What `strategy` is shown of these gradients, (T, D), which are those of every independent batch it asks for."""
    count, dimension = gradients.shape
    parameter = torch.zeros(dimension, dtype=dtype)
    rows = [{parameter: torch.from_numpy(np.array(gradient)).to(dtype)} for gradient in gradients]
    shares = [[{parameter: row[parameter] / strategy.batches} for row in rows]] * strategy.batches
    return Observation(
        tasks=names(count) if tasks is None else tasks,
        losses=np.linspace(1.0, 2.0, count) if losses is None else losses,
        gram=gradients @ gradients.T,
        step=step,
        rows=CollectedRows(["layer.weight"], [parameter], shares),
    )


def direction(decision: Decision, gradients: np.ndarray) -> np.ndarray:
    """The direction d, (D,)."""
    if decision.direction is not None:
        return torch.cat([part.reshape(-1) for part in decision.direction]).double().numpy()
    return decision.coefficients @ gradients


def take(strategy: Strategy, observation: Observation) -> Decision:
    """A step as the engine takes it: decide, train the strategy's own parameters, losses after it, epochs of two."""
    decision = strategy.decide(observation)
    with torch.no_grad():
        for parameter, gradient in strategy.parameter_gradients(observation):
            parameter.sub_(0.1 * gradient)
    if strategy.wants_losses_after:
        factors = np.array([1.0 / (2 + len(task) + ord(task[-1]) % 7) for task in observation.tasks])
        strategy.observe_after(Observation(observation.tasks, factors * observation.losses))
    if observation.step % 2:
        strategy.end_epoch()
    return decision


def through_a_file(state: Any) -> Any:
    """Save and load as a checkpoint is."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def run(strategy: Strategy, steps: Sequence[tuple[np.ndarray, np.ndarray]], *, start: int = 0) -> list[np.ndarray]:
    """The directions of several steps, each of gradients and losses."""
    found = []
    for index, (gradients, losses) in enumerate(steps):
        decision = take(strategy, observe(strategy, gradients, losses, step=start + index))
        found.append(direction(decision, gradients))
    return found


def walk(number: int, *, count: int = 4, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gradients and losses of consecutive steps, in conflict, of different lengths, and changing slowly."""
    generator = np.random.default_rng(seed)
    gradients = generator.standard_normal((count, 12)) * 10.0 ** generator.uniform(-1, 1, (count, 1))
    losses = generator.uniform(0.5, 2.0, count)
    steps = []
    for _ in range(number):
        gradients = gradients + 0.2 * generator.standard_normal(gradients.shape) * np.abs(gradients)
        losses = losses * generator.uniform(0.8, 1.05, count)
        steps.append((gradients, losses))
    return steps
