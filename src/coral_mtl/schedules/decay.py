"""Factors on a learning rate (or on anything else) as functions of the optimiser step, counted from 0."""

from coral_mtl.errors import ConfigError


def constant(step: int) -> float:
    """Return 1 at every step."""
    return 1.0


def polynomial_decay(step: int, *, total: int, warmup: int = 0, power: float = 1.0, end_factor: float = 0.0) -> float:
    """Return the factor of a linear warm-up to 1 and a polynomial decay to `end_factor`.

    With W = warmup, T = total and e = end_factor:

        (step + 1) / W                                          for step < W
        e + (1 - e) (1 - (step - W) / (T - W))^power            for W <= step < T
        e                                                       from T on

    Steps 0 .. T-1 are the steps of the run: each has a factor above 0, the first and the last included. Raise
    ConfigError unless 0 <= warmup < total.
    """
    if not 0 <= warmup < total:
        raise ConfigError(
            f"a warm-up of {warmup} steps does not fit into {total} optimiser steps: at least one must be left to decay"
            "\n    train longer or lower the warm-up"
        )
    if step < warmup:
        return (step + 1) / warmup
    remaining = max(0.0, 1.0 - (step - warmup) / (total - warmup))
    return end_factor + (1.0 - end_factor) * remaining**power
