"""Acceptance: the figures of peer implementations, wherever they compute the same formula."""

import json
from pathlib import Path

import numpy as np
import pytest
from reference_values import GRADIENTS

from coral_mtl.engine.loss_weighting.dwa import DWA
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.loss_weighting.famo import FAMO
from coral_mtl.engine.loss_weighting.gls import GLS
from coral_mtl.engine.loss_weighting.gradnorm import gradnorm_slopes
from coral_mtl.engine.loss_weighting.imtl_l import IMTLL
from coral_mtl.engine.loss_weighting.si import SI
from coral_mtl.engine.loss_weighting.stch import STCH
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.engine.observation import Observation

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "loss_weighting_and_pcgrad.json").read_text())
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def entries(strategy, variant=""):
    found = [e for e in REFERENCE["values"] if e["strategy"] == strategy and variant in e["variant"]]
    assert found
    return found


def names(count):
    return tuple(f"task_{i}" for i in range(count))


def observe(losses, gram=None):
    return Observation(names(len(losses)), np.array(losses, dtype=float), gram)


def imtl_l_at_linspace(count):
    strategy = IMTLL()
    strategy.load_state_dict({"log_weights": dict(zip(names(count), np.linspace(-0.5, 0.5, count), strict=True))})
    return strategy


STATELESS = [
    ("EW", "sum", lambda count: Equal()),
    ("Mean", "mean", lambda count: Equal(reduction="mean")),
    ("SI", "sum log", lambda count: SI()),
    ("GLS", "LibMTL", lambda count: GLS()),
    ("STCH", "mu=0.1", lambda count: STCH(on="losses", mu=0.1)),
    ("STCH", "mu=1 ", lambda count: STCH(on="losses", mu=1.0)),
    ("UW", "LibMTL", lambda count: Uncertainty(loss_kind="regression", initial_log_variance=-0.5)),
    ("UW", "nash-mtl", lambda count: Uncertainty(loss_kind="regression")),
    ("IMTLL", "torchjd", imtl_l_at_linspace),
]


@pytest.mark.parametrize(("strategy", "variant", "build"), STATELESS, ids=[f"{s}-{v}" for s, v, _ in STATELESS])
def test_direction_of_every_case(strategy, variant, build):
    for entry in entries(strategy, variant):
        case = GRADIENTS["cases"][entry["case"]]
        rows = np.array(case["G"])
        built = build(len(rows))
        built.bind(names(len(rows)))
        decision = built.decide(observe(case["losses"]))
        np.testing.assert_allclose(decision.coefficients @ rows, entry["output"]["direction"], **CLOSE)
        np.testing.assert_array_equal(decision.head_coefficients, decision.coefficients)


@pytest.mark.parametrize(("strategy", "variant", "build"), STATELESS[-3:], ids=["UW-LibMTL", "UW-nash-mtl", "IMTLL"])
def test_gradients_of_the_learned_scalars(strategy, variant, build):
    for entry in entries(strategy, variant):
        losses = GRADIENTS["cases"][entry["case"]]["losses"]
        built = build(len(losses))
        built.bind(names(len(losses)))
        gradients = [gradient.item() for _, gradient in built.parameter_gradients(observe(losses))]
        wanted = entry["output"].get("grad_s", entry["output"].get("grad_loss_scale"))
        np.testing.assert_allclose(gradients, wanted, **CLOSE)


@pytest.mark.parametrize("entry", entries("DWA"), ids=lambda e: f"{e['case']}-{e['variant'][:7]}")
@pytest.mark.parametrize("window", [None, 1])
def test_dwa_sequence(entry, window):
    strategy = DWA(temperature=2.0, window=window)
    losses = GRADIENTS["sequences"][entry["case"]]["losses"]
    for step in entry["output"]["steps"]:
        weights = strategy.weigh(observe(losses[step["epoch"]]))
        strategy.end_epoch()
        np.testing.assert_allclose(weights, step["weights"], **CLOSE)


@pytest.mark.parametrize("entry", entries("FAMO"), ids=lambda e: f"{e['case']}-{e['params']['gamma']}")
@pytest.mark.parametrize("losses_after", ["forward", "next"])
def test_famo_sequence(entry, losses_after):
    strategy = FAMO(lr=entry["params"]["w_lr"], gamma=entry["params"]["gamma"], losses_after=losses_after)
    losses = GRADIENTS["sequences"][entry["case"]]["losses"]
    for before, after, step in zip(losses, losses[1:], entry["output"]["steps"], strict=False):
        decision = strategy.decide(observe(before))
        np.testing.assert_allclose(decision.coefficients, step["dloss_dL"], **CLOSE)
        np.testing.assert_allclose(list(decision.records["famo_logits"].values()), step["logits_before"], **CLOSE)
        if strategy.wants_losses_after:
            strategy.observe_after(observe(after))
            logits = strategy.records(observe(after))["famo_logits"]
            np.testing.assert_allclose(list(logits.values()), step["logits_after"], **CLOSE)


@pytest.mark.parametrize("entry", entries("GradNorm"), ids=lambda e: e["case"])
def test_gradnorm_slopes_are_those_of_a_double_backward(entry):
    """The peer learns p in w = T softmax(p) by double backward: dL/dp = w * (dL/dw - <w, dL/dw>/T)."""
    sequence = GRADIENTS["sequences"][entry["case"]]
    losses, rows = np.array(sequence["losses"]), np.array(sequence["G"])
    for k, step in enumerate(entry["output"]["steps"]):
        rates = losses[k + 1] / losses[0]
        weights = np.array(step["weights"])
        slopes = gradnorm_slopes(
            weights, np.linalg.norm(rows[k], axis=1), rates / rates.mean(), entry["params"]["alpha"]
        )
        np.testing.assert_allclose(
            weights * (slopes - weights @ slopes / len(weights)), step["grad_loss_scale"], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("entry", entries("STCH", "warmup_epoch=1"), ids=lambda e: e["case"])
def test_stch_sequence_with_warm_up_and_nadir(entry):
    sequence = GRADIENTS["sequences"][entry["case"]]
    strategy = STCH(mu=entry["params"]["mu"], warmup_epochs=entry["params"]["warmup_epoch"])
    steps = entry["output"]["steps"]
    for k, step in enumerate(steps):
        if k and step["epoch"] != steps[k - 1]["epoch"]:
            strategy.end_epoch()
        weights = strategy.weigh(observe(sequence["losses"][k]))
        np.testing.assert_allclose(weights @ np.array(sequence["G"][k]), step["direction"], **CLOSE)
