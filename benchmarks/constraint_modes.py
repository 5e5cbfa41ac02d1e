"""How near each way to keep w >= 0 comes to an optimum that is known: `python benchmarks/constraint_modes.py`.

A logistic regression with 84 weights, of which 63 are 0 at the optimum. It is built around that optimum: for any X and
w the votes h = sigmoid(X w) - r, with X' r / n = lambda, make w the minimum over w >= 0 with the multipliers lambda,
since the gradient X' (sigmoid(X w) - h) / n is lambda: 0 where w is above 0, and above 0 where w is 0.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from coral_mtl.constraints import AugmentedLagrangian, LogBarrier, NonNegative, Penalty, Projected, Reparametrised
from coral_mtl.schedules import Cosine, Horizon

STEPS = 2000
WEIGHTS, ZEROS, VOTES = 84, 63, 400
MODES: dict[str, Callable[..., object]] = {
    "none, cut off at the end": lambda *given: None,
    "projected": Projected,
    "reparametrised": Reparametrised,
    "penalty, rho 1": lambda *given: Penalty(*given, rho=1.0),
    "penalty, rho 100": lambda *given: Penalty(*given, rho=100.0),
    "log barrier, mu from 0.1 to 1e-4": LogBarrier,
    "augmented Lagrangian, rho 1": lambda *given: AugmentedLagrangian(*given, rho=1.0),
}


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return X (n, 84), the votes h (n,) and the optimum (84,)."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(VOTES, WEIGHTS, generator=generator, dtype=torch.float64)
    at_zero = torch.randperm(WEIGHTS, generator=generator) < ZEROS
    drawn = torch.rand(2, WEIGHTS, generator=generator, dtype=torch.float64)
    optimum = torch.where(at_zero, 0.0, 0.05 + 0.15 * drawn[0])
    multipliers = torch.where(at_zero, 0.003 + 0.006 * drawn[1], 0.0)
    r = VOTES * X @ torch.linalg.solve(X.T @ X, multipliers)
    return X, torch.sigmoid(X @ optimum) - r, optimum


def measured(make: Callable[..., object], seed: int) -> dict[str, float]:
    """Return what 2,000 full steps of Adam come to: loss above the optimum after max(0, w), violation, exact zeros."""
    X, votes, optimum = problem(seed)
    model = nn.Linear(WEIGHTS, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(model.weight)
    constraint: object = make(NonNegative(), model, ["weight"], Horizon(STEPS, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    falling = Cosine(start=1.0, end=0.0, length=1.0).bind(Horizon(STEPS, 1))
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, falling)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits((X @ model.weight.T)[:, 0], votes)
        term = None if constraint is None else constraint.term(step)  # type: ignore[attr-defined]
        (loss if term is None else loss + term).backward()
        if constraint is not None:
            constraint.before_step()  # type: ignore[attr-defined]
        optimizer.step()
        if constraint is not None:
            constraint.after_step(step)  # type: ignore[attr-defined]
        rates.step()
    weights = model.weight.detach()[0]

    def loss_at(w: Tensor) -> float:
        return functional.binary_cross_entropy_with_logits(X @ w, votes).item()

    return {
        "gap": loss_at(weights.clamp(min=0.0)) - loss_at(optimum),
        "violation": max(0.0, -weights.min().item()),
        "zeros": int((weights == 0.0).sum()),
    }


def main() -> None:
    """Print the table, and write the figures where a file is named."""
    found = {name: [measured(make, seed) for seed in range(3)] for name, make in MODES.items()}
    sys.stdout.write("| mode | gap | largest violation | exact zeros of 63 |\n| --- | --- | --- | --- |\n")
    for name, figures in found.items():
        worst = {key: max(each[key] for each in figures) for key in ("gap", "violation")}
        zeros = ", ".join(str(each["zeros"]) for each in figures)
        sys.stdout.write(f"| {name} | {worst['gap']:.1e} | {worst['violation']:.1e} | {zeros} |\n")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
