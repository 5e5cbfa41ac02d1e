"""Engine.backward against plain autograd: sharing, heads, refresh steps, forms of the losses."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from toy import Fixed, InverseLoss, InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients, gram_of

from coral_mtl.engine.engine import Engine, backward
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.stack import Stack
from coral_mtl.errors import StrategyError


def test_refresh_step_equals_autograd():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    norms = dict(zip(losses, gram_of(model, losses, trunk_names(model)).diagonal() ** 0.5, strict=True))
    expected = expected_gradients(model, losses, {t: 1 / n for t, n in norms.items()})
    step = Engine(InverseNorm(), model).backward(losses)
    assert_gradients(model, expected)
    assert step.tasks == ("a", "b", "c")
    assert step.refreshed
    assert step.skipped is None
    assert step.inactive == {}
    torch.testing.assert_close(step.norms, norms)
    assert step.weights == pytest.approx({t: 1 / n for t, n in norms.items()}, rel=1e-12)


def test_gram_cosines_descent_and_update_norm_are_those_of_autograd():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    gram = gram_of(model, losses, trunk_names(model))
    expected = expected_gradients(model, losses, dict(zip("abc", gram.diagonal() ** -0.5, strict=True)))
    step = Engine(InverseNorm(), model).backward(losses)
    direction = torch.cat([expected[name].reshape(-1) for name in trunk_names(model)])
    assert step.gram == pytest.approx(gram, rel=1e-12)
    assert step.update_norm == pytest.approx(direction.norm().item(), rel=1e-12)
    assert step.cosines["a_vs_c"] == pytest.approx(gram[0, 2] / (gram[0, 0] * gram[2, 2]) ** 0.5, rel=1e-12)
    assert set(step.cosines) == {"a_vs_b", "a_vs_c", "b_vs_c"}
    clear(model)
    own = torch.autograd.grad(model.losses(*data)["b"], [model.get_parameter(n) for n in trunk_names(model)])
    assert step.descent["b"] == pytest.approx(float(torch.cat([g.reshape(-1) for g in own]) @ direction), rel=1e-11)


def test_loss_weighting_scales_trunk_and_heads_in_one_backward():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    weights = {"a": 0.5, "b": 2.0, "c": 0.25}
    expected = expected_gradients(model, losses, weights, weights)
    model.backward_passes = 0
    step = Engine(Fixed(weights), model).backward(losses)
    assert model.backward_passes == 1
    assert_gradients(model, expected)
    assert step.gram is None
    assert step.weights == weights


def test_measuring_changes_nothing_but_the_record():
    model, data = Toy(), batch()
    for strategy in (Fixed({"a": 0.5, "b": 2.0, "c": 0.25}), InverseLoss()):
        losses = model.losses(*data)
        weights = Engine(strategy, model).backward(losses, measure=False).weights
        plain = {name: p.grad for name, p in model.named_parameters()}
        clear(model)
        step = Engine(strategy, model).backward(model.losses(*data), measure=True)
        assert step.weights == weights
        assert step.gram is not None
        assert_gradients(model, plain)
        clear(model)


def test_stack_sees_weighted_gradients_and_reports_effective_coefficients():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    gram = gram_of(model, losses, trunk_names(model))
    weights = {"a": 0.5, "b": 2.0, "c": 0.25}
    effective = {t: 1 / gram[i, i] ** 0.5 for i, t in enumerate(losses)}  # w_t / |w_t g_t| = 1 / |g_t|
    expected = expected_gradients(model, losses, effective, weights)
    step = Engine(Stack(Fixed(weights), InverseNorm()), model).backward(losses)
    assert step.weights == pytest.approx(effective, rel=1e-12)
    assert step.head_weights == weights
    assert_gradients(model, expected)


def test_weighted_heads_on_request():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    gram = gram_of(model, losses, trunk_names(model))
    coefficients = {t: 1 / gram[i, i] ** 0.5 for i, t in enumerate(losses)}
    expected = expected_gradients(model, losses, coefficients, coefficients)
    Engine(InverseNorm(), model, specific="weighted").backward(losses)
    assert_gradients(model, expected)


def test_grad_is_added_to_as_tensor_backward_does():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    expected = expected_gradients(model, losses, dict.fromkeys("abc", 1.0))
    before = torch.randn_like(model.trunk[0].weight)
    model.trunk[0].weight.grad = before.clone()
    Engine(Fixed(dict.fromkeys("abc", 1.0)), model).backward(losses)
    expected["trunk.0.weight"] = expected["trunk.0.weight"] + before
    assert_gradients(model, expected)
    clear(model)
    model.trunk[0].weight.grad = before.clone()
    Engine(InverseNorm(), model).backward(model.losses(*data))
    assert not torch.equal(model.trunk[0].weight.grad, before)
    assert model.unused.weight.grad is None


@pytest.mark.parametrize("form", ["list", "stack"])
def test_losses_without_names(form):
    model, data = Toy(), batch()
    named = model.losses(*data)
    expected = expected_gradients(model, named, dict.fromkeys("abc", 1.0))
    passes = dict.fromkeys(named, 0)
    for task, head in model.heads.items():
        head[0].weight.register_hook(lambda g, t=task: passes.__setitem__(t, passes[t] + 1))
    losses = list(named.values())
    step = Engine(Unit(), model, tasks=["a", "b", "c"]).backward(losses if form == "list" else torch.stack(losses))
    assert step.tasks == ("a", "b", "c")
    assert passes == dict.fromkeys("abc", 1), "each head runs backward once, not once per task"
    assert_gradients(model, expected)


def test_one_call_form_finds_shared_parameters_by_itself():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    expected = expected_gradients(model, losses, {"a": 3.0, "b": 3.0, "c": 3.0})
    backward(losses, Unit(3.0))
    assert_gradients(model, expected)


def test_shared_override_leaves_the_rest_of_the_trunk_to_the_plain_sum():
    model, data = Toy(), batch()
    losses = model.losses(*data)
    twice = expected_gradients(model, losses, dict.fromkeys("abc", 2.0))
    plain = expected_gradients(model, losses, dict.fromkeys("abc", 1.0))
    expected = {n: (twice if n.startswith("trunk.4") else plain)[n] for n in plain}
    engine = Engine(Unit(2.0, update_frequency=2), model, shared=model.trunk[4].parameters())
    for _ in ("refresh", "reuse"):
        clear(model)
        engine.backward(model.losses(*data))
        assert_gradients(model, expected)
    assert engine.shared_parameters() == ["trunk.4.weight", "trunk.4.bias"]


def test_shared_and_task_parameters_are_named():
    model, data = Toy(("a", "b")), batch()
    engine = Engine(InverseNorm(), model)
    engine.backward(model.losses(*data))
    assert engine.shared_parameters() == trunk_names(model)
    assert engine.task_parameters()["a"] == [n for n, _ in model.named_parameters() if n.startswith("heads.a")]


def test_frozen_parameters_and_unused_outputs():
    model, data = Toy(), batch()
    model.trunk[0].weight.requires_grad_(False)
    losses = model.losses(*data)
    del losses["c"]
    expected = expected_gradients(model, losses, {"a": 2.0, "b": 2.0})
    Engine(Unit(2.0), model).backward(losses)
    assert_gradients(model, expected)
    assert model.heads["c"][0].weight.grad is None


@pytest.mark.parametrize("update_frequency", [1, 3])
def test_tied_weights_and_heads_used_by_two_tasks(update_frequency):
    model = Tied()
    data = batch()
    engine = Engine(Unit(2.5, update_frequency=update_frequency), model)
    for _ in range(3):
        clear(model)
        losses = model.losses(data[0])
        expected = expected_gradients(model, losses, {"a": 2.5, "b": 2.5, "c": 2.5})
        engine.backward(losses)
        assert_gradients(model, expected)
    assert "head.weight" in engine.shared_parameters()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_activation_checkpointing(reentrant, whole):
    model, data = Toy(("a", "b"), dropout=0.5), batch()

    def losses(checkpointed):
        torch.manual_seed(7)
        inputs = data[0].clone().requires_grad_(checkpointed)
        if not checkpointed:
            outputs = model(inputs)
        elif whole:
            outputs = dict(
                zip("ab", checkpoint(lambda x: tuple(model(x).values()), inputs, use_reentrant=reentrant), strict=True)
            )
        else:
            features = checkpoint(model.trunk, inputs, use_reentrant=reentrant)
            outputs = {task: head(features) for task, head in model.heads.items()}
        return {task: out.square().mean() for task, out in outputs.items()}

    expected = expected_gradients(model, losses(False), {"a": 2.0, "b": 2.0})
    # a whole model inside one checkpoint sends zeros into the other tasks' heads: the user says what is shared
    shared = model.trunk.parameters() if whole else None
    engine = Engine(Unit(2.0, update_frequency=2), model, shared=shared)
    for _ in ("refresh", "reuse"):
        clear(model)
        engine.backward(losses(True))
        assert_gradients(model, expected)


def test_batch_norm_statistics_move_once():
    torch.manual_seed(0)
    one, other, data = Toy(batch_norm=True), Toy(batch_norm=True), batch()
    sum(one.losses(*data).values()).backward()
    Engine(InverseNorm(), other).backward(other.losses(*data))
    assert torch.equal(one.trunk[1].running_mean, other.trunk[1].running_mean)
    assert one.trunk[1].num_batches_tracked == other.trunk[1].num_batches_tracked


def test_other_leaves_get_their_gradient():
    model, data = Toy(), batch()
    inputs = data[0].clone().requires_grad_()
    losses = model.losses(inputs, data[1])
    wanted = torch.autograd.grad(sum(losses.values()), inputs, retain_graph=True)[0]
    Engine(Unit(), model).backward(losses)
    torch.testing.assert_close(inputs.grad, wanted)


def test_gradients_that_alias_one_another_are_combined_once():
    x = [torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2)]
    losses = {"a": (x[0] + x[1]).sum(), "b": ((x[0] + x[1]) * 3).sum()}
    Engine(Unit(2.0), x).backward(losses)
    assert x[0].grad.tolist() == [8.0, 8.0]
    assert x[1].grad.tolist() == [8.0, 8.0]


def test_a_loss_that_is_part_of_another_and_a_loss_that_is_a_parameter():
    x = torch.tensor(2.0, requires_grad=True)
    engine = Engine(Unit(2.0, update_frequency=2), [x])
    for _ in range(2):
        x.grad = None
        first = x * 3
        engine.backward({"a": first, "b": first + x * x, "c": x})
        assert x.grad.item() == pytest.approx(2 * (3 + (3 + 4) + 1))


def test_single_task_is_plain_training():
    model, data = Toy(("a",)), batch()
    losses = model.losses(*data)
    expected = expected_gradients(model, losses, {"a": 1.0})
    step = Engine(InverseNorm(), model).backward(losses)
    assert_gradients(model, expected)
    assert step.skipped is None


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "no losses"),
        ({"a": torch.ones(3, requires_grad=True)}, "not a real scalar"),
        ({"a": 3.0}, "not a real scalar"),
        ({"a": torch.tensor(1.0)}, "no loss depends on a parameter"),
        (torch.ones(2, requires_grad=True) * 2, "cannot take these losses apart"),
    ],
)
def test_wrong_losses_are_told(losses, message):
    with pytest.raises(StrategyError, match=message):
        backward(losses, Unit())


def test_wrong_tasks_are_told():
    model, data = Toy(), batch()
    with pytest.raises(StrategyError, match="unknown task 'c'"):
        Engine(Unit(), model, tasks=["a", "b"]).backward(model.losses(*data))
    with pytest.raises(StrategyError, match="3 losses were given"):
        Engine(Unit(), model, tasks=["a", "b"]).backward(list(model.losses(*data).values()))
    with pytest.raises(StrategyError, match="shared= is empty"):
        Engine(Unit(), model, shared=[])


def test_optimiser_hooks_inside_backward_are_refused():
    model, data = Toy(), batch()
    model.trunk[0].weight.register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(StrategyError, match="post-accumulate-grad hook"):
        Engine(Unit(), model).backward(model.losses(*data))


def test_an_exception_leaves_grad_as_it_was():
    model, data = Toy(), batch()
    before = torch.randn_like(model.trunk[0].weight)
    model.trunk[0].weight.grad = before
    losses = model.losses(*data)
    losses["b"].backward()  # frees the graph that the engine needs
    clear(model)
    model.trunk[0].weight.grad = before
    with pytest.raises(RuntimeError, match="second time"):
        Engine(Unit(), model).backward(losses)
    assert model.trunk[0].weight.grad is before
    assert model.heads["a"][0].weight.grad is None


class Unit(InverseNorm):
    """The same coefficient for all tasks."""

    def __init__(self, factor=1.0, update_frequency=1):
        super().__init__(update_frequency=update_frequency)
        self.factor = factor

    def solve(self, observation):
        decision = super().solve(observation)
        decision.coefficients[:] = self.factor
        return decision


class Tied(nn.Module):
    """Tasks a and b share the head; c uses the trunk's own weight again, transposed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Linear(5, 5, dtype=torch.float64)
        self.head = nn.Linear(5, 1, dtype=torch.float64)
        self.own = nn.Linear(5, 1, dtype=torch.float64)

    def losses(self, inputs):
        features = self.trunk(inputs).tanh()
        again = features @ self.trunk.weight.T
        return {
            "a": self.head(features).square().mean(),
            "b": (self.head(features) - 1).abs().mean(),
            "c": self.own(again).square().mean(),
        }


def trunk_names(model):
    return [name for name, _ in model.named_parameters() if name.startswith("trunk")]


def test_where_nothing_is_shared_nothing_was_measured_and_every_task_is_active():
    alone = nn.Linear(3, 1)
    step = Engine(Equal(), alone).backward({"a": alone(torch.ones(2, 3)).square().mean()}, measure=True)
    assert step.tasks == ("a",)
    assert step.gram is None
    assert step.inactive == {}
    assert alone.weight.grad.abs().sum() > 0
