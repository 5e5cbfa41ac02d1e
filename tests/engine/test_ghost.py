"""Ghost rows are exact, wherever they are taken, and are not taken where they could not be."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from toy import InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine import ghost_layers, ghost_pass
from coral_mtl.engine.engine import Engine
from coral_mtl.errors import StrategyError

TASKS = ("a", "b", "c")


class Net(nn.Module):
    """A trunk given from outside, and a linear head per task."""

    def __init__(self, trunk, width):
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({task: nn.Linear(width, 2) for task in TASKS})
        self.double()

    def losses(self, inputs, run=None):
        features = (run or self.trunk)(inputs)
        return {t: (3.0**i) * (head(features) - i).square().mean() for i, (t, head) in enumerate(self.heads.items())}


class Twice(nn.Module):
    """One layer called twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(self.layer(x).relu())


def conv_trunk():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2)),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 1, bias=False),
        nn.Conv2d(6, 6, 3, groups=3, padding=1),
        nn.Conv2d(6, 5, 3, padding="same"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


NETS = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 6, bias=False), nn.Tanh()),
        (4, 5),
        6,
    ),
    "tokens": (lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 6), nn.Tanh()), (3, 7, 5), 6),
    "convolutions": (conv_trunk, (3, 2, 9, 9), 5),
    "twice": (Twice, (4, 6), 6),
}


def build(name, seed=0):
    make, shape, width = NETS[name]
    torch.manual_seed(seed)
    return Net(make(), width), torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("update_frequency", "panel"), [(1, 256), (1, 3), (2, 256)])
def test_ghost_rows_equal_stored_rows(monkeypatch, name, update_frequency, panel):
    monkeypatch.setattr(ghost_layers, "PANEL", panel)
    (one, inputs), (other, _) = build(name), build(name)
    stored = Engine(InverseNorm(update_frequency=update_frequency), one, rows="stored")
    ghost = Engine(InverseNorm(update_frequency=update_frequency), other, rows="ghost")
    for index in range(5):
        clear(one)
        clear(other)
        chosen = TASKS if index != 3 else ("a", "c")
        expected = stored.backward({t: v for t, v in one.losses(inputs + index).items() if t in chosen})
        step = ghost.backward({t: v for t, v in other.losses(inputs + index).items() if t in chosen})
        assert step.refreshed == expected.refreshed
        assert step.weights == pytest.approx(expected.weights, rel=1e-10)
        if step.gram is not None:
            assert step.gram == pytest.approx(expected.gram, rel=1e-10)
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            assert (p.grad is None) is (q.grad is None)
            if p.grad is not None:
                torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-12)
    layers = [n for n, m in other.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and n.startswith("trunk")]
    assert set(layers) - set(ghost.stored_layers()), "at least one layer of each net does without stored rows"


def reasons(model, losses, steps=3, **options):
    engine = Engine(InverseNorm(), model, rows="ghost", **options)
    for _ in range(steps):
        clear(model)
        engine.backward(losses())
    return engine.stored_layers()


def check_against_stored(model, losses):
    """The engine's gradient with rows="ghost" after its fallbacks, against rows="stored"."""
    engine = Engine(InverseNorm(), model, rows="ghost")
    for _ in range(3):
        clear(model)
        engine.backward(losses())
    found = {n: p.grad for n, p in model.named_parameters()}
    clear(model)
    Engine(InverseNorm(), model, rows="stored").backward(losses())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-12)
    return engine.stored_layers()


def test_tied_weights_keep_stored_rows():
    model, inputs = build("mlp")
    weight = model.trunk[2].weight
    stored = check_against_stored(
        model, lambda: {t: v + (weight @ weight.T).square().sum() for t, v in model.losses(inputs).items()}
    )
    assert "outside the layer" in stored["trunk.2"]
    assert "trunk.0" not in stored


def test_parametrised_weights_keep_stored_rows():
    model, inputs = build("mlp")
    parametrizations.weight_norm(model.trunk[2])
    stored = check_against_stored(model, lambda: model.losses(inputs))
    assert "trunk.0" not in stored


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_keep_stored_rows(reentrant):
    model, inputs = build("mlp")
    inputs.requires_grad_(reentrant)

    def run(x):
        return checkpoint(model.trunk, x, use_reentrant=reentrant)

    stored = check_against_stored(model, lambda: model.losses(inputs, run))
    assert {"trunk.0", "trunk.2"} <= set(stored)


def test_a_resumed_engine_knows_which_layers_are_recomputed():
    model, inputs = build("mlp")
    whole, resumed = (Engine(InverseNorm(update_frequency=2), model, rows="ghost") for _ in range(2))
    for _ in range(2):
        whole.backward(model.losses(inputs, lambda x: checkpoint(model.trunk, x, use_reentrant=False)))
    resumed.load_state_dict(whole.state_dict())
    for engine in (whole, resumed):
        engine.backward(model.losses(inputs, lambda x: checkpoint(model.trunk, x, use_reentrant=False)))
        assert engine.ghost_layers() == []
        assert "recomputed" in engine.stored_layers()["trunk.2"]


def test_inputs_changed_in_place_keep_stored_rows():
    model, inputs = build("mlp")
    layer = model.trunk[0]

    def run(x):
        y = layer(x)
        x.add_(0.0)
        return y.tanh()

    model.trunk[2].requires_grad_(False)
    stored = Engine(InverseNorm(), model, rows="stored")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        stored.backward(model.losses(inputs, run))
    engine = Engine(InverseNorm(), model, rows="ghost", shared=model.trunk.parameters())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        engine.backward(model.losses(inputs, run))
    assert engine.stored_layers()["trunk.0"] == "its input was changed in place"


def test_autocast_keeps_stored_rows():
    model, inputs = build("mlp")
    model.float()

    def losses():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return {t: v.float() for t, v in model.losses(inputs.float()).items()}

    assert "autocast" in reasons(model, losses)["trunk.2"]


def test_accumulation_keeps_stored_rows():
    model, inputs = build("mlp")
    engine = Engine(InverseNorm(), model, rows="ghost")
    for _ in range(2):
        engine.backward(model.losses(inputs), accumulate=True)
        engine.backward(model.losses(inputs))
    assert engine.stored_layers() == {}
    assert not engine._ghost.proven


def test_auto_takes_the_cheaper_form():
    model = Net(nn.Sequential(nn.Linear(1600, 1600), nn.ReLU(), nn.Linear(1600, 8)), 8)
    engine = Engine(InverseNorm(), model)
    few = torch.randn(8, 1600, dtype=torch.float64)
    for _ in range(2):
        engine.backward(model.losses(few))
    assert "trunk.0" not in engine.stored_layers()
    assert "cheaper (8 positions, a 8 x 1600 weight)" in engine.stored_layers()["trunk.2"]  # too small to be worth it
    engine.backward(model.losses(few.repeat(400, 1)))
    assert "cheaper (3200 positions, a 1600 x 1600 weight)" in engine.stored_layers()["trunk.0"]


def test_a_non_finite_task_is_dropped_from_ghost_layers_too():
    (one, inputs), (other, _) = build("mlp"), build("mlp")
    ghost = Engine(InverseNorm(), one, rows="ghost", nonfinite="drop")
    ghost.backward(one.losses(inputs))
    ghost.backward(one.losses(inputs))
    clear(one)
    losses = one.losses(inputs)
    losses["b"] = losses["b"] * float("nan")
    step = ghost.backward(losses)
    assert step.tasks == ("a", "c")
    losses = other.losses(inputs)
    del losses["b"]
    Engine(InverseNorm(), other, rows="stored").backward(losses)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        if q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)


def test_models_stay_copyable_picklable_and_free_of_dead_engines():
    model, inputs = build("mlp")
    engine = Engine(InverseNorm(), model, rows="ghost")
    twin = copy.deepcopy(model)
    twin.losses(inputs)
    assert not engine._ghost._calls, "a copy's calls are not the model's"
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - what torch.save(model) does
    again.losses(inputs)
    model.losses(inputs)
    assert engine._ghost._calls
    del engine
    model.losses(inputs)


def test_a_wrong_ghost_row_is_found_and_banned(monkeypatch):
    model, inputs = build("mlp")
    real = ghost_pass.weight_gradient
    monkeypatch.setattr(ghost_pass, "weight_gradient", lambda layer, x, g: real(layer, x, g) * 1.01)
    stored = check_against_stored(model, lambda: model.losses(inputs))
    assert "differs from an explicit one by 1.0e-02" in stored["trunk.2"]


def test_ghost_rows_need_a_module():
    model, _ = build("mlp")
    with pytest.raises(StrategyError, match="needs a module"):
        Engine(InverseNorm(), model.parameters(), rows="ghost")


def test_row_bytes_count_what_is_stored():
    model, inputs = build("mlp")
    stored, ghost = Engine(InverseNorm(), model, rows="stored"), Engine(InverseNorm(), model, rows="ghost")
    for engine in (stored, ghost):
        for _ in range(2):
            engine.backward(model.losses(inputs))
    sizes = {n: p.numel() for n, p in model.named_parameters() if n.startswith("trunk")}
    assert stored.row_bytes(3) == 3 * 8 * sum(sizes.values())
    assert ghost.row_bytes(3) == 3 * 8 * sizes["trunk.0.bias"]


@pytest.mark.parametrize("update_frequency", [1, 2])
def test_rows_held_in_bfloat16(update_frequency):
    (one, inputs), (other, _) = build("convolutions"), build("convolutions")
    one.float(), other.float()
    full = Engine(InverseNorm(update_frequency=update_frequency), one, rows="stored")
    half = Engine(InverseNorm(update_frequency=update_frequency), other, rows="stored", row_dtype=torch.bfloat16)
    for _ in range(3):
        clear(one)
        clear(other)
        expected, step = full.backward(one.losses(inputs.float())), half.backward(other.losses(inputs.float()))
        assert step.weights == pytest.approx(expected.weights, rel=1e-2)
        for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
            if p.grad is not None:
                assert q.grad.dtype is torch.float32
                tolerance = 1e-6 if name.startswith("heads") else 1e-2
                torch.testing.assert_close(q.grad, p.grad, rtol=tolerance, atol=tolerance * p.grad.abs().max().item())
    assert half.row_bytes(3) * 2 == full.row_bytes(3)


def test_narrow_rows_do_not_disprove_ghost_rows():
    model, inputs = build("mlp")
    model.float()
    engine = Engine(InverseNorm(), model, rows="ghost", row_dtype=torch.bfloat16)
    for _ in range(3):
        engine.backward(model.losses(inputs.float()))
    assert "trunk.2" not in engine.stored_layers()


@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_first_layer_with_a_frozen_bias_is_stored(when):
    """Nothing before it needs a gradient, so that autograd never computes that of its output."""
    model, data = Toy(), batch()
    model.trunk[0] = nn.Linear(5, 8).double()  # without the hook that counts passes
    engine = Engine(InverseNorm(), model, rows="ghost")
    for step_index in range(4):
        if step_index == (0 if when == "from the start" else 2):
            model.trunk[0].bias.requires_grad_(requires_grad=False)
        clear(model)
        step = engine.backward(model.losses(*data))
        assert_gradients(model, expected_gradients(model, model.losses(*data), step.weights))
    assert "nothing before it" in engine.stored_layers()["trunk.0"]
