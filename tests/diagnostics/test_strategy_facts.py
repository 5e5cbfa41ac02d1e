"""What a diagnosis knows of strategies comes from their classes, and what it recommends is what they promise."""

import pytest

from coral_mtl import registry
from coral_mtl.diagnostics.strategies import BASELINE, UNHARMING, canonical_strategy, character
from coral_mtl.engine.observation import Promises
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.errors import MissingExtraError


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("IMGradStrategy", "IMGrad"),
        ("NashMTLStrategy", "NashMTL"),
        ("UncertaintyWeightingStrategy", "Uncertainty"),
        ("UncertaintyWeighting+pc_grad", "Uncertainty+PCGrad"),
        ("nash-mtl", "NashMTL"),
        ("DWAStrategy", "DWA"),
        ("GradNormStrategy", "GradNorm"),
        ("SomethingElseStrategy", "SomethingElseStrategy"),
        ("Strategy", "Strategy"),
        ("", ""),
    ],
)
def test_class_names_become_registered_names(name, canonical):
    assert canonical_strategy(name) == canonical


@pytest.mark.parametrize("name", registry.strategies.names())
def test_facts_are_those_of_the_class(name):
    cls = registry.strategies.get(name)
    found = character(name)
    assert found.steady == cls.steady
    assert found.is_gradient_strategy == (not issubclass(cls, LossWeighting))
    assert found.looks_at_gradients == (
        found.is_gradient_strategy or name in ("GradNorm", "GradientNormalised", "Switch")
    )
    assert found.by_epoch == (name in ("DWA", "STCH"))
    assert found.promises == (Promises() if name in ("Static", "Mixture", "Curriculum", "Switch") else cls().promises)


def test_what_is_proposed_keeps_the_promises_that_it_is_proposed_for():
    assert all(character(name).promises.non_conflicting for name in UNHARMING)
    assert character("NashMTL").promises.scale == "per_task"
    assert not character("PCGrad").promises.non_conflicting
    assert not character(BASELINE).looks_at_gradients


@pytest.mark.parametrize(
    ("stack", "steady", "by_epoch"),
    [
        ("Uncertainty+PCGrad", "never", False),
        ("Static+PCGrad", "without conflict", False),
        ("Equal+MGDA", "at bounds", False),
        ("DWA+PCGrad", "never", True),
    ],
)
def test_a_stack_has_the_facts_of_both_parts(stack, steady, by_epoch):
    found = character(stack)
    assert (found.steady, found.by_epoch) == (steady, by_epoch)
    assert found.is_gradient_strategy
    assert found.looks_at_gradients
    assert found.promises == character(stack.partition("+")[2]).promises


@pytest.mark.parametrize("name", ["Unheard of", "", "Uncertainty+Unheard of", "unknown"])
def test_nothing_is_claimed_of_a_name_that_is_not_registered(name):
    assert character(name) is None


def test_a_strategy_that_lacks_a_package_promises_nothing(monkeypatch):
    class Lacking(LossWeighting):
        def __init__(self) -> None:
            raise MissingExtraError("Lacking", "package", "extra")

        def weigh(self, observation):
            return None

    monkeypatch.setitem(registry.strategies._classes, "Lacking", Lacking)
    monkeypatch.setitem(registry.strategies._names, "lacking", "Lacking")
    assert character("Lacking").promises == Promises()
