"""Logistic regressions under w >= 0 whose optimum is known: that of cvxpy, and one that is built around its optimum."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from coral_mtl.data.known_optimum import KnownOptimum

PEER = json.loads((Path(__file__).parents[1] / "reference" / "constraints.json").read_text())


def exact(values):
    return torch.tensor(values, dtype=torch.float64)


class Weights(nn.Module):
    """One named parameter."""

    def __init__(self, start):
        super().__init__()
        self.linear = nn.ParameterDict({"w": nn.Parameter(torch.as_tensor(start, dtype=torch.float64).clone())})


@dataclass
class Problem:
    """Minimise the mean of log(1 + exp(X w)) - h X w over w >= 0."""

    X: torch.Tensor
    h: torch.Tensor
    optimum: torch.Tensor
    multipliers: torch.Tensor | None

    def loss(self, w):
        return functional.binary_cross_entropy_with_logits(self.X @ w, self.h)

    def gap(self, w):
        return (self.loss(w.detach().clamp(min=0.0)) - self.loss(self.optimum)).item()


def reference_problem():
    """Six weights, three of them at zero."""
    peer = PEER["nonnegative_logistic"]
    return Problem(
        exact(peer["X"]),
        exact(peer["h"]),
        exact(peer["nonnegative_lbfgsb"]["w"]),
        exact(peer["nonnegative_cvxpy"]["multipliers"]),
    )


def built_problem():
    """84 weights, 63 of them at zero."""
    data = KnownOptimum()
    X, targets = data.train[0]
    return Problem(X.double(), targets["votes"], data.validation[0][1]["optimum"], None)


def train(problem, model, constraint, *, steps, optimizer, rates=None):
    """Full-batch steps in the order of the engine."""
    for step in range(steps):
        optimizer.zero_grad()
        loss, term = problem.loss(model.linear["w"]), constraint.term(step)
        (loss if term is None else loss + term).backward()
        constraint.before_step()
        optimizer.step()
        constraint.after_step(step)
        if rates is not None:
            rates.step()
