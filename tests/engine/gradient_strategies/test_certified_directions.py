"""Gradient strategies whose directions are certified at 60 digits, and peers where these are right."""

import numpy as np
import pytest
from gradient_families import relative_difference
from reference_values import exact_values, peer_values
from stateful_values import observe

from coral_mtl.registry import strategies

NAMES = ("CAGrad", "DualProj", "FairGrad", "IMGrad", "MGDA", "NashMTL", "UPGrad")


def each(values):
    return [pytest.param(name, value, id=f"{name}-{value.name}") for name in NAMES for value in values(name)]


def decide(name, value):
    return strategies.get(name)(**value.options).decide(observe(value.case.gradients))


@pytest.mark.parametrize(("name", "exact"), each(exact_values))
def test_certified_directions_and_records(name, exact):
    decision = decide(name, exact)
    assert relative_difference(decision.coefficients @ exact.case.gradients, exact.direction) <= 1e-9
    for record, value in exact.records.items():
        assert decision.records[record] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(("name", "peer"), each(peer_values))
def test_peers_where_they_are_right(name, peer):
    gradients = peer.case.gradients
    found = decide(name, peer).coefficients @ gradients
    scale = np.linalg.norm(gradients, axis=1) * np.linalg.norm(found)
    assert np.abs((gradients @ found - peer.products / peer.times) / scale).max() <= peer.tolerance
