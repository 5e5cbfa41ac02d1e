"""Random models in random runs, step by step beside plain autograd: what nobody thought of testing by itself."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.observation import Decision
from coral_mtl.engine.strategy import GradientStrategy

WIDTH = 5
STEPS = 8


class Drawn(GradientStrategy):
    """Coefficients that are drawn, mild ones or extreme ones."""

    def __init__(self, draw, update_frequency):
        super().__init__(update_frequency=update_frequency)
        self.draw = draw

    def solve(self, observation):
        extremes, mild = (0.0, 1e-8, 1e8, -1.0, 1 / 64, 1.0), (0.3, 2.0, -1.5, 5.0, 1.0)
        pool = extremes if self.draw.random() < 0.4 else mild
        return Decision(np.array([self.draw.choice(pool) for _ in observation.tasks]))


class Wild(nn.Module):
    """A trunk; a block that some tasks share; a layer that trunk and heads may use; parameters of losses.

    Each part may be recomputed in the backward pass, and two parameters of other kinds may take part.
    """

    def __init__(self, draw):
        super().__init__()
        tasks = [f"task_{index}" for index in range(draw.choice((2, 3, 3, 5)))]
        self.trunk = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.block, self.tied = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.heads = nn.ModuleDict({t: nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, 1)) for t in tasks})
        self.offsets = nn.ParameterDict({task: nn.Parameter(torch.randn(())) for task in tasks})
        self.pair = nn.ParameterList(torch.randn(1, WIDTH) for _ in range(2))
        self.double()
        self.phase = nn.Parameter(torch.randn(WIDTH, dtype=torch.complex128))
        self.uses = {what: {t for t in tasks if draw.random() < 0.5} for what in ("block", "tied", "offset", "pair")}
        self.in_trunk = {what: draw.random() < 0.3 for what in ("tied", "phase", "pair")}
        self.recomputed = {part: draw.choice((None, None, None, False, True)) for part in ("trunk", "block", *tasks)}
        pairs = self.uses["pair"] | ({"trunk"} if self.in_trunk["pair"] else set())
        for part in pairs:
            if self.recomputed[part]:  # would add to `.grad` in pieces, where torch gives the pair the same memory
                self.recomputed[part] = False

    def plainly(self):
        """Compute nothing twice."""
        self.recomputed = dict.fromkeys(self.recomputed)
        return self

    def part(self, name, compute, inputs):
        mode = self.recomputed[name]
        return compute(inputs) if mode is None else checkpoint(compute, inputs, use_reentrant=mode)

    def features(self, inputs):
        found = self.trunk(inputs)
        if self.in_trunk["tied"]:
            found = torch.tanh(self.tied(found))
        if self.in_trunk["phase"]:
            found = found * (self.phase.abs() + self.phase.imag)
        return found + self.together() if self.in_trunk["pair"] else found

    def together(self):
        return self.pair[0].view(-1) + self.pair[1].view(-1)

    def output(self, task, features):
        if task in self.uses["tied"]:
            features = torch.tanh(self.tied(features))
        if task in self.uses["pair"]:
            features = features + self.together()
        return self.heads[task](features)

    def losses(self, inputs, targets, tasks):
        features = self.part("trunk", self.features, inputs)
        block = self.part("block", lambda found: torch.tanh(self.block(found)), features)
        losses = {}
        for index, task in enumerate(tasks):
            seen = block if task in self.uses["block"] else features
            output = self.part(task, lambda found, task=task: self.output(task, found), seen)
            losses[task] = 3**index * (output - targets).square().mean()
            if task in self.uses["offset"]:
                losses[task] = losses[task] + self.offsets[task] ** 2
        return losses


def expected(model, engine, batches, step, scale):
    """What `.grad` gains by parameter name: from one autograd.grad per task and micro-batch."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    rows = []
    for inputs, targets, tasks in batches:
        for task, loss in model.losses(inputs, targets, tasks).items():
            found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            rows.append((task, dict(zip(named, found, strict=True))))
    owned = {name for names in engine.task_parameters().values() for name in names}
    gains = {}
    for name in named:
        reached = {task: [] for task, row in rows if row[name] is not None}
        for task, row in rows:
            if row[name] is not None:
                reached[task].append(row[name])
        shared = name in engine.shared_parameters() or (len(reached) > 1 and name not in owned)
        factors = step.weights if shared else step.head_weights
        gains[name] = scale * sum(factors.get(task, 0.0) * sum(found) for task, found in reached.items())
    return gains


def draw_batch(draw, tasks, *, all_tasks):
    present = tasks if all_tasks else [task for task in tasks if draw.random() < 0.75] or tasks[:1]
    inputs = torch.randn(6, WIDTH, dtype=torch.float64).requires_grad_()  # which reentrant checkpointing asks for
    return inputs, torch.randn(6, 1, dtype=torch.float64), present


@pytest.mark.parametrize("seed", range(120))
def test_every_step_is_what_plain_autograd_makes_of_its_coefficients(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    model = Wild(draw)
    tasks, named = list(model.heads), dict(model.named_parameters())
    settled = draw.random() < 0.3  # shared= given, all that is not a task's own or the tied layer
    shared = [p for name, p in named.items() if name.startswith(("trunk", "block", "phase"))] if settled else None
    engine = Engine(Drawn(draw, draw.choice((1, 3, STEPS))), model, shared=shared, rows=draw.choice(("auto", "stored")))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**7) if draw.random() < 0.2 else None
    for number in range(STEPS):
        if number and draw.random() < 0.3:
            frozen = draw.choice([p for name, p in named.items() if not name.startswith("heads")])
            frozen.requires_grad_(not frozen.requires_grad)
        before = {name: torch.randn_like(p) if draw.random() < 0.3 else None for name, p in named.items()}
        for name, parameter in named.items():
            parameter.grad = None if before[name] is None else before[name].clone()
        batches = [draw_batch(draw, tasks, all_tasks=not number) for _ in range(draw.choice((1, 1, 2)))]
        for inputs, targets, present in batches:
            last = inputs is batches[-1][0]
            step = engine.backward(model.losses(inputs, targets, present), scaler=scaler, accumulate=not last)
        assert not step.skipped
        modes, scale = model.recomputed, 1.0 if scaler is None else 2.0**7
        gains = expected(model.plainly(), engine, batches, step, scale)
        model.recomputed = modes
        size = scale * max(1.0, *(abs(weight) for weight in step.weights.values()))
        for name, parameter in named.items():
            wanted = torch.zeros_like(parameter) if before[name] is None else before[name]
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            error = (found - wanted - gains.get(name, 0.0)).abs().max()
            assert error <= 1e-11 * max(size, float(found.abs().max())), f"step {number}: {name}"
