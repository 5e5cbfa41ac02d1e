"""What comes from a device to the host: one copy a refresh, none that anybody waits for at a reuse step."""

import pytest
import torch
from fake_device import Away, FakeDevice, to_device
from torch import nn
from toy import Fixed, InverseLoss, InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine import arriving
from coral_mtl.engine.arriving import fetch
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.rows import all_finite
from coral_mtl.errors import TrainingError


class Event:
    """What a GPU would tell: whether the host asked to wait."""

    def __init__(self, device):
        self.here = False

    def query(self):
        return self.here

    def synchronize(self):
        device_under_test.waits += not self.here
        self.here = True


@pytest.fixture
def device(monkeypatch):
    global device_under_test
    with FakeDevice() as device_under_test:
        monkeypatch.setattr(arriving, "_event", lambda where: Event(where) if where.type == "meta" else None)
        yield device_under_test


def away(*tensors):
    return [Away(tensor) for tensor in tensors]


def counted(device, backward):
    """Return what a call returns, the copies that it started, and how often it waited."""
    device.copies = device.waits = 0
    result = backward()
    return result, device.copies, device.waits


def on_host(model):
    return {name: None if p.grad is None else p.grad.inner for name, p in model.named_parameters()}


def test_the_fake_device_counts(device):
    x = Away(torch.arange(3.0))
    assert counted(device, lambda: x.sum().item()) == (3.0, 0, 1)
    assert counted(device, lambda: bool(x.sum() > 1)) == (True, 0, 1)
    assert counted(device, lambda: x.cpu().tolist()) == ([0.0, 1.0, 2.0], 0, 1)
    assert counted(device, lambda: x.cpu().sum().item()) == (3.0, 0, 1)
    assert counted(device, lambda: float(x.to("cpu", non_blocking=True)[1])) == (1.0, 1, 0)
    assert counted(device, lambda: (x + torch.zeros(3, device="meta")).device.type) == ("meta", 0, 0)


def test_one_copy_a_refresh_and_no_wait_at_a_reuse_step(device):
    model, data = to_device(Toy()), away(*batch())
    reference = Toy()
    engine = Engine(InverseNorm(update_frequency=3), model)
    on_cpu = Engine(InverseNorm(update_frequency=3), reference)
    for index in range(7):
        clear(model)
        losses = model.losses(*data)
        step, copies, waits = counted(device, lambda given=losses: engine.backward(given))
        assert step.refreshed is (index % 3 == 0)
        assert (copies, waits) == ((1, 1) if step.refreshed else (1, 0))
        clear(reference)
        wanted = on_cpu.backward(reference.losses(*batch()))
        assert step.weights == pytest.approx(wanted.weights, rel=1e-12)
        assert counted(device, lambda seen=step: dict(seen.losses))[0] == pytest.approx(wanted.losses)
        assert step.settled().skipped is None
        for name, parameter in reference.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(on_host(model)[name], parameter.grad, rtol=1e-12, atol=1e-14)
    assert engine.skipped_in_a_row == 0


def test_losses_wait_once_when_somebody_looks(device):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(*data))
    losses = model.losses(*data)
    step, _, waits = counted(device, lambda: engine.backward(losses))
    assert waits == 0
    wanted = {task: loss.detach().inner.item() for task, loss in losses.items()}
    assert list(step.losses) == ["a", "b", "c"]
    assert counted(device, lambda: step.losses["b"]) == (wanted["b"], 0, 1)
    assert counted(device, lambda: dict(step.losses)) == (wanted, 0, 0)


def test_accumulated_steps_wait_no_more_than_others(device):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(InverseNorm(update_frequency=2), model)
    for refreshed in (True, False):
        clear(model)
        waits = 0
        for last in (False, False, True):
            halved = {task: loss / 3 for task, loss in model.losses(*data).items()}
            step, _, waited = counted(
                device, lambda given=halved, last=last: engine.backward(given, accumulate=not last)
            )
            waits += waited
        assert step.refreshed is refreshed
        assert waits == refreshed
        expected = expected_gradients(toy := Toy(), toy.losses(*batch()), step.weights)
        for name, gradient in on_host(model).items():
            if gradient is not None:
                torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-14)


def test_a_strategy_that_looks_at_losses_waits_for_them_alone(device):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(InverseLoss(), model)
    for _ in range(2):
        losses = model.losses(*data)
        assert counted(device, lambda given=losses: engine.backward(given))[2] == 1


def test_features_and_ghost_rows_bring_everything_in_one_copy(device):
    trunk = to_device(nn.Sequential(nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU()))
    model = nn.ModuleList([trunk, to_device(nn.Linear(30, 1)), to_device(nn.Linear(30, 1))])
    (inputs,) = away(torch.randn(12, 5))

    def losses():
        z = trunk(inputs)
        return {"a": model[1](z).square().mean(), "b": (model[2](z) - 1).square().mean()}, z

    ghost = Engine(InverseNorm(), model, rows="ghost")
    for index in range(3):
        given, _ = losses()
        _, copies, waits = counted(device, lambda given=given: ghost.backward(given))
        assert waits == copies == 1 or index == 1, "the first comparison with explicit rows takes more"
    assert ghost.ghost_layers() == ["0.0", "0.2"]
    features = Engine(InverseNorm(), model, gram_on="features")
    for _ in range(2):
        given, z = losses()
        step, _, waits = counted(device, lambda given=given, z=z: features.backward(given, features=z))
        assert waits == 1
        assert step.settled().skipped is None


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_what_is_not_finite_is_made_harmless_where_it_is_and_told_later(device, broken):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(*data))
    for count in (1, 2):
        clear(model)
        losses = model.losses(*data)
        bad = losses["b"] * float("nan") if broken == "loss" else (losses["b"] * 0.0).sqrt()  # slope infinite at 0
        step, _, waits = counted(device, lambda given=losses | {"b": bad}: engine.backward(given))
        assert waits == 0
        assert all((gradient == 0).all() for gradient in on_host(model).values() if gradient is not None)
        told = step.settled()
        wanted = "non-finite loss of task 'b'" if broken == "loss" else "non-finite gradient of task 'a'"
        assert told.skipped.startswith(wanted)
        assert told.losses["a"] == pytest.approx(losses["a"].detach().inner.item())
        assert engine.skipped_in_a_row == count
    clear(model)
    losses = model.losses(*data)
    engine.backward(losses)
    assert engine.state_dict()["skipped_in_a_row"] == 0, "a checkpoint waits for the truth"


@pytest.mark.parametrize("nonfinite", ["raise", "drop"])
def test_other_policies_wait(device, nonfinite):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(InverseNorm(update_frequency=9), model, nonfinite=nonfinite)
    engine.backward(model.losses(*data))
    clear(model)
    losses = model.losses(*data)
    losses["b"] = losses["b"] * float("nan")
    if nonfinite == "raise":
        with pytest.raises(TrainingError, match="non-finite loss of task 'b'"):
            engine.backward(losses)
        return
    step = engine.backward(losses)
    assert step.inactive == {"b": "non-finite loss"}
    others = (toy := Toy()).losses(*batch())
    del others["b"]
    expected = expected_gradients(toy, others, step.weights)
    for name, gradient in on_host(model).items():
        if gradient is not None:
            torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-14)


def test_a_scaler_is_shown_an_overflow_without_a_wait(device):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(InverseNorm(update_frequency=9), model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler._scale = Away(torch.tensor(1024.0))
    scaler._growth_tracker = Away(torch.tensor(0, dtype=torch.int32))
    plain = Toy()
    weights = engine.backward(model.losses(*data), scaler=scaler).weights
    clear(model)
    losses = model.losses(*data)
    assert counted(device, lambda: engine.backward(losses, scaler=scaler))[2] == 0
    expected = expected_gradients(plain, plain.losses(*batch()), weights)
    for name, gradient in on_host(model).items():
        if gradient is not None:
            torch.testing.assert_close(gradient / 1024, expected[name], rtol=1e-12, atol=1e-14)
    clear(model)
    losses = model.losses(*data)
    losses["b"] = losses["b"] * float("inf")
    assert counted(device, lambda: engine.backward(losses, scaler=scaler))[2] == 0
    assert all(gradient.isnan().all() for gradient in on_host(model).values() if gradient is not None)


def test_a_step_without_any_weight_has_nothing_to_wait_for(device):
    model, data = to_device(Toy()), away(*batch())
    engine = Engine(Fixed(dict.fromkeys("abc", 0.0)), model)
    losses = model.losses(*data)
    step, _, waits = counted(device, lambda: engine.backward(losses))
    assert waits == 0
    assert step.settled().skipped is None
    assert set(on_host(model).values()) == {None}


def test_gradients_without_entries_are_finite(device):
    assert bool(all_finite(away(torch.empty(0, 3), torch.empty(0))))
    assert not bool(all_finite(away(torch.empty(0), torch.full((2,), float("inf")))))


def test_fetched_tensors_keep_their_order_and_shape():
    tensors = [torch.arange(6).reshape(2, 3), torch.tensor(True), torch.tensor(2.5), torch.empty(0)]
    for array, tensor in zip(fetch(tensors), tensors, strict=True):
        assert array.shape == tuple(tensor.shape)
        assert array.tolist() == tensor.double().tolist()
    assert fetch([]) == []


def test_on_a_cpu_a_step_tells_everything_at_once():
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=2), model)
    for _ in range(2):
        clear(model)
        losses = model.losses(*batch())
        step = engine.backward(losses)
        assert step.finite is None
        assert type(step.losses) is dict
    assert_gradients(model, expected_gradients(model, model.losses(*batch()), step.weights))
