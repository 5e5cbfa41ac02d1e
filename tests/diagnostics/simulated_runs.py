"""Runs made up from random gradients, healthy or with one planted ailment, as records of the real code."""

import json
import math
from pathlib import Path

import numpy as np

from coral_mtl.diagnostics.record import Context, make_record
from coral_mtl.engine.gradient_strategies.imgrad import IMGrad
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.step import Step

TASKS = ("genus", "health", "cover", "depth", "ink")


def healthy(seed, strategy="Uncertainty", ailment=None, *, tasks=None, records=None, every=1):
    """The records of one run, a generator of dicts; `ailment(step, arrays) -> arrays` changes its raw material.

    Gradients are a common direction plus noise; losses fall to a floor, under noise of up to 30 %; norms differ by up
    to a factor of 4 between tasks and fall with the losses; weights follow the strategy, decided once in `every` steps.
    """
    rng = np.random.default_rng(seed)
    tasks = tasks or TASKS[: rng.integers(2, 6)]
    count = len(tasks)
    records = records or int(rng.integers(60, 250))
    dimension = int(rng.integers(12, 60))
    common = rng.uniform(0.1, 0.5) * rng.normal(size=dimension)
    sizes = 2.0 ** rng.uniform(-1, 1, size=count)
    levels, floors = 2.0 ** rng.uniform(-1, 1, size=count), rng.uniform(0.02, 0.5, size=count)
    noise, weights = rng.uniform(0.05, 0.3), np.ones(count)
    for step in range(1, records + 1):
        decay = floors + (1 - floors) * math.exp(-4 * step / records)
        losses = levels * decay * np.exp(noise * rng.normal(size=count))
        gradients = (sizes * decay)[:, None] * (common + rng.normal(size=(count, dimension)))
        gradients *= np.exp(0.3 * rng.normal(size=(count, 1)))
        material = {"losses": losses, "gradients": gradients, "tasks": tasks, "step": step, "records": records}
        if ailment:
            material = ailment(material)
        refreshed, own = step % every == 1 % every, {}
        if refreshed:
            weights, own = _next_weights(strategy, weights, material)
        yield _record(strategy, weights, material, refreshed, own)


def imbalance(task, factor=100.0):
    """The gradient of `task` is `factor` times as long."""

    def ailment(material):
        gradients = material["gradients"].copy()
        gradients[material["tasks"].index(task)] *= factor
        return material | {"gradients": gradients}

    return ailment


def conflict(one, other, cosine=-0.6):
    """The gradient of `other` leans against that of `one`, with this cosine on average."""

    def ailment(material):
        gradients, tasks = material["gradients"].copy(), material["tasks"]
        a, b = gradients[tasks.index(one)], gradients[tasks.index(other)]
        free = b - a * (a @ b) / (a @ a)
        free /= np.linalg.norm(free)
        direction = cosine * a / np.linalg.norm(a) + math.sqrt(1 - cosine**2) * free
        gradients[tasks.index(other)] = np.linalg.norm(b) * direction
        return material | {"gradients": gradients}

    return ailment


def hurt(task):
    """The gradient of `task` leans against the sum of the others, which are longer."""

    def ailment(material):
        gradients, place = material["gradients"].copy(), material["tasks"].index(task)
        others = gradients.sum(0) - gradients[place]
        own = gradients[place] - others * (1.5 * np.linalg.norm(gradients[place]) / np.linalg.norm(others))
        gradients[place] = 0.3 * own * np.linalg.norm(others) / np.linalg.norm(own)
        return material | {"gradients": gradients}

    return ailment


def dead(task):
    """The gradient of `task` is exactly zero."""

    def ailment(material):
        gradients = material["gradients"].copy()
        gradients[material["tasks"].index(task)] = 0.0
        return material | {"gradients": gradients}

    return ailment


def swinging(length=1.5):
    """The lengths of all gradients go up and down by this much in the logarithm, each in its own time."""

    def ailment(material):
        times = 0.9 + 0.37 * np.arange(len(material["tasks"]))
        factors = np.exp(length * np.sin(times * material["step"] + times))
        return material | {"gradients": material["gradients"] * factors[:, None]}

    return ailment


def divergence(task, share=0.2, rate=1.05):
    """The loss of `task` grows by `rate` a step in the last `share` of the run."""

    def ailment(material):
        losses = material["losses"].copy()
        late = max(0, material["step"] - (1 - share) * material["records"])
        losses[material["tasks"].index(task)] *= rate ** (late * 100 / (share * material["records"]))
        return material | {"losses": losses}

    return ailment


def sound(step, **fields):
    """A record without any finding, of two tasks."""
    return {
        "schema": 1,
        "run": "r",
        "step": step,
        "strategy_type": "Equal",
        "unweighted_losses": {"a": step**-0.5, "b": step**-0.5},
        "task_weights": {"a": 1.0, "b": 1.0},
        "gradient_norm": {"a": 1.0, "b": 1.0},
        "gradient_cosine_similarity": {"a_vs_b": 0.2},
        "descent": {"a": 1.2, "b": 1.2},
        "gradient_update_norm": 1.55,
    } | fields


def run(change, count=100):
    """Flat records of `count` steps with `change(step)` in them."""
    return [sound(step, **change(step)) for step in range(1, count + 1)]


def write(path: Path, records):
    """Write records as lines, with bare NaN where they hold one."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _next_weights(strategy, weights, material):
    """The weights of the next step, and what the strategy records."""
    norms = np.maximum(np.linalg.norm(material["gradients"], axis=1), 1e-30)
    if strategy == "Uncertainty":
        return weights * 0.98 + 0.02 / (2 * np.minimum(np.maximum(material["losses"], 1e-3), 1e3)), {}
    if strategy == "NashMTL":
        return math.sqrt(len(norms)) / norms, {}
    if strategy == "IMGrad":
        gram = material["gradients"] @ material["gradients"].T
        decision = IMGrad().decide(Observation(material["tasks"], material["losses"], gram))
        return decision.coefficients, decision.records
    return weights, {}


def _record(strategy, weights, material, refreshed, own):
    tasks, gram = material["tasks"], material["gradients"] @ material["gradients"].T
    active = [i for i in range(len(tasks)) if gram[i, i] > 0]
    names = tuple(tasks[i] for i in active)
    gram, coefficients = gram[np.ix_(active, active)], weights[active]
    descent = gram @ coefficients
    step = Step(
        tasks=names,
        inactive={task: "zero gradient" for task in tasks if task not in names},
        losses=dict(zip(tasks, material["losses"].tolist(), strict=True)),
        weights=dict(zip(names, coefficients.tolist(), strict=True)),
        gram=gram,
        descent=dict(zip(names, descent.tolist(), strict=True)),
        update_norm=math.sqrt(max(coefficients @ descent, 0.0)),
        refreshed=refreshed,
        records=own,
    )
    number = material["step"]
    return make_record(
        step, Context(run="simulated", strategy_type=strategy, step=number, micro_step=number, epoch=0, lr=1e-3)
    )
