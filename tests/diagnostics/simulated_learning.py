"""Runs made up from curves of losses under a learning-rate schedule, sound or with one planted ailment."""

import json
import math

import numpy as np

TASKS = ("genus", "health", "cover")
VALIDATIONS = 16

SCHEDULES = {
    "constant": lambda t: 1.0,
    "warm-up, linear": lambda t: min(t / 0.1, (1.0 - t) / 0.9),
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
    "restarts": lambda t: 0.5 * (1.0 + math.cos(math.pi * (4.0 * t % 1.0))),
}
"""Learning rate as a share of its peak, by the share of the run that is done."""


def learning(seed, schedule="warm-up, linear", ailment=None, *, records=None, noise=None):
    """Return the records and the validations of one run.

    With P the integral of the learning rate so far as a share of that of the run, a loss is its level times
    floor (1 + shake rate) + (1 - floor) exp(-k P): it converges as fast as the rate allows to a floor that shakes with
    it. The gap to validation grows to a few per cent. `ailment(curves, rng) -> curves` changes the smooth curves,
    {"training": (records, T), "validation": (records, T), "rate": (records,)}, and `noise` is that of single records.
    """
    rng = np.random.default_rng(seed)
    records = records or int(rng.integers(130, 270))
    done = (np.arange(records) + 0.5) / records
    rate = np.array([SCHEDULES[schedule](t) for t in done])
    progress = (np.cumsum(rate) / rate.sum())[:, None]
    count = len(TASKS)
    floors, shake, speed = rng.uniform(0.02, 0.5, count), rng.uniform(0.2, 0.8, count), rng.uniform(3.0, 4.0, count)
    curves = floors * (1.0 + shake * rate[:, None]) + (1.0 - floors) * np.exp(-speed * progress)
    curves = curves * 2.0 ** rng.uniform(-3, 3, count)
    material = {"training": curves, "validation": curves * (1.02 + 0.05 * done[:, None]), "rate": rate}
    if ailment:
        material = ailment(material, rng)
    noise = rng.uniform(0.02, 0.3) if noise is None else noise
    losses = material["training"] * np.exp(noise * rng.normal(size=curves.shape))
    clipped = material.get("clipped", np.where(rng.random(records) < 0.2, rng.uniform(0.3, 1.0, records), 1.0))
    lines = [
        {
            "schema": 1,
            "run": "simulated",
            "step": step + 1,
            "strategy_type": "Equal",
            "unweighted_losses": dict(zip(TASKS, losses[step].tolist(), strict=True)),
            "lr": 1e-3 * float(rate[step]),
            "gradient_update_norm": 2.0,
            "gradient_update_norm_clipped": 2.0 * float(clipped[step]),
        }
        for step in range(records)
    ]
    places = np.linspace(0, records - 1, VALIDATIONS + 1).astype(int)[1:]
    values = material["validation"][places] * np.exp(0.004 * rng.normal(size=(VALIDATIONS, count)))
    validations = [
        {
            "run": "simulated",
            "step": int(place) + 1,
            "metrics": {f"tasks.{task}.loss": value for task, value in zip(TASKS, row.tolist(), strict=True)},
        }
        for place, row in zip(places, values, strict=True)
    ]
    return lines, validations


def spiking(place, times=4):
    """The loss of one task shoots up tenfold, `times` times after the warm-up, and comes back within 15 steps."""

    def ailment(curves, rng):
        training = curves["training"].copy()
        for start in np.linspace(0.4, 0.9, times) * len(training):
            late = np.arange(len(training)) - int(start + rng.uniform(-4, 4))
            training[:, place] *= np.where(
                late >= 0, 1.0 + rng.uniform(15, 40) * np.exp(-np.maximum(late, 0) / 8.0), 1.0
            )
        return curves | {"training": training}

    return ailment


def clipping(factor):
    """Clipping shortens every gradient to about this part."""

    def ailment(curves, rng):
        return curves | {"clipped": factor * np.exp(0.3 * rng.normal(size=len(curves["rate"])))}

    return ailment


def steep(place, fall=3.0):
    """The logarithm of one task's loss falls by `fall` at an even pace, whatever the learning rate."""

    def ailment(curves, rng):
        done = np.linspace(0.0, 1.0, len(curves["rate"]))
        return _with(curves, place, np.exp(-fall * done))

    return ailment


def stuck(place):
    """The loss of one task stays what it was at the start."""

    def ailment(curves, rng):
        return _with(curves, place, np.full(len(curves["rate"]), 0.7))

    return ailment


def ending_early(place, share=0.35):
    """The loss of one task falls to a tenth in the first part of the run, and stays there."""

    def ailment(curves, rng):
        done = np.linspace(0.0, 1.0, len(curves["rate"]))
        return _with(curves, place, 0.1 ** np.minimum(done / share, 1.0))

    return ailment


def overfitting(place, since=0.4, rise=0.6):
    """The validation loss of one task rises from a certain point on, while its training loss goes on falling."""

    def ailment(curves, rng):
        done, validation = np.linspace(0.0, 1.0, len(curves["rate"])), curves["validation"].copy()
        start = validation[np.searchsorted(done, since), place]
        late = np.maximum(done - since, 0.0) / (1.0 - since)
        validation[:, place] = np.where(done > since, start * (1.0 + rise * late), validation[:, place])
        return curves | {"validation": validation}

    return ailment


def write_run(folder, records, validations=()):
    """Write both files of a run folder."""
    for name, lines in (("loss_diagnostics.jsonl", records), ("metrics.jsonl", validations)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _with(curves, place, curve):
    training, validation = curves["training"].copy(), curves["validation"].copy()
    training[:, place], validation[:, place] = curve, 1.05 * curve
    return curves | {"training": training, "validation": validation}
