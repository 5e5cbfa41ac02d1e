"""Reuse steps look at the heads alone, where that is enough to know whose every parameter is."""

import pytest
import torch
from torch import nn
from toy import InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine import frontier
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.graph import Trace
from coral_mtl.engine.terms import named_terms


@pytest.fixture
def walks(monkeypatch):
    """Whether each walk of a reuse step went through the heads alone."""
    found = []

    def noted(*arguments, **options):
        trace = Trace(*arguments, **options)
        found.append(trace.heads_only)
        return trace

    monkeypatch.setattr(frontier, "Trace", noted)
    return found


def reuse(model, losses, engine):
    """Refresh, then reuse; return the reuse step."""
    engine.backward(losses())
    clear(model)
    step = engine.backward(losses())
    assert not step.refreshed
    return step


def test_a_walk_through_the_heads_ends_where_tasks_meet():
    model = Toy()
    terms = named_terms(model.losses(*batch()), None)
    whole, heads = Trace(terms), Trace(terms, heads_only=True)
    assert heads.children.keys() < whole.children.keys()
    [meeting] = heads.reached.keys() - heads.children.keys()
    assert whole.reached[meeting] == 0b111
    assert all(heads.reached[node] == whole.reached[node] for node in heads.reached)
    assert set(heads.leaves.values()) == {p for head in model.heads.values() for p in head.parameters()}
    shared = set(model.trunk.parameters())
    assert heads.trunk(shared) == whole.trunk(shared) & heads.reached.keys()


def test_parents_come_first():
    model = Toy()
    for heads_only in (False, True):
        trace = Trace(named_terms(model.losses(*batch()), None), heads_only=heads_only)
        place = {node: index for index, node in enumerate(trace.children)}
        assert all(
            place[node] < place[child] for node in place for child in trace.children[node] if child in trace.children
        )


def test_known_heads_are_enough(walks):
    model = Toy()
    step = reuse(model, lambda: model.losses(*batch()), Engine(InverseNorm(update_frequency=9), model))
    assert walks == [True]
    assert_gradients(model, expected_gradients(model, model.losses(*batch()), step.weights))


def test_an_absent_task_or_given_parameters_need_the_whole_graph(walks):
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(*batch()))
    losses = model.losses(*batch())
    del losses["b"]
    engine.backward(losses)
    assert walks == [True, False]
    walks.clear()
    last = list(model.trunk[4].parameters())
    reuse(model, lambda: model.losses(*batch()), Engine(InverseNorm(update_frequency=9), model, shared=last))
    assert walks == [True, False]


def test_what_is_behind_features_is_known_to_be_shared(walks):
    model, (inputs, targets) = Toy(), batch()
    del model.unused  # a parameter that nobody saw yet might be anybody's
    engine = Engine(InverseNorm(update_frequency=9), model, gram_on="features")
    for _ in range(2):
        clear(model)
        features = model.trunk(inputs)
        losses = {t: (head(features) - targets[:, :1]).square().mean() for t, head in model.heads.items()}
        step = engine.backward(losses, features=features)
    assert walks == [True]
    features = model.trunk(inputs)
    losses = {t: (head(features) - targets[:, :1]).square().mean() for t, head in model.heads.items()}
    assert_gradients(model, expected_gradients(model, losses, step.weights))


def test_a_head_that_uses_the_trunks_weight(walks):
    """The weight lies in sight of the heads, and is shared all the same."""
    model = Toy()
    inputs, targets = batch()

    def losses():
        found = model.losses(inputs, targets)
        return found | {"a": found["a"] + 0.1 * (model.trunk[4].weight ** 2).sum()}

    step = reuse(model, losses, Engine(InverseNorm(update_frequency=9), model))
    assert walks == [True]
    assert_gradients(model, expected_gradients(model, losses(), step.weights))


def test_a_parameter_outside_the_model_is_protected_as_the_others(walks):
    model = Toy()
    stranger = nn.Parameter(torch.ones(5, dtype=torch.float64))
    inputs, targets = batch()
    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(inputs * stranger, targets))
    stranger.grad = None
    broken = model.losses(inputs * stranger, targets)
    broken["a"] = broken["a"] + (0 * stranger).sum().sqrt()  # finite, with a gradient of 0 / 0
    step = engine.backward(broken)
    assert step.skipped
    assert stranger.grad is None
    assert walks == [False]


def test_a_parameter_seen_for_the_first_time_needs_the_whole_graph(walks):
    model = Toy()
    inputs, targets = batch()
    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(inputs, targets))
    clear(model)
    losses = model.losses(inputs, targets)
    losses["a"] = losses["a"] + (model.unused.weight**2).sum()
    engine.backward(losses)
    assert walks == [True, False]
    torch.testing.assert_close(model.unused.weight.grad, 2 * model.unused.weight)


@pytest.mark.parametrize("heads_only", [False, True])
def test_losses_that_are_parameters_themselves(heads_only):
    one, both = (torch.ones((), requires_grad=True) for _ in range(2))
    losses = {"a": one, "b": both, "c": both, "d": both * 2}
    trace = Trace(named_terms(losses, None), heads_only=heads_only)
    assert set(trace.leaves.values()) == {one, both}
    assert trace.met() == [both]
