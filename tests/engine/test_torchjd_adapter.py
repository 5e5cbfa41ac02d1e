"""TorchJD's objects as strategies: the same figures as TorchJD itself, through our engine."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from toy import Toy, batch, plain_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.torchjd_adapter import TorchJD
from coral_mtl.errors import MissingExtraError, StrategyError


@pytest.fixture
def torchjd():
    return pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed: pip install torchjd==0.18.0")


def observe(gradients, **rest):
    names = tuple(f"task_{i}" for i in range(len(gradients)))
    return Observation(names, np.ones(len(gradients)), gradients @ gradients.T, **rest)


def trunk_matrix(model):
    rows = [plain_gradients(model, loss) for loss in model.losses(*batch()).values()]
    names = [name for name, _ in model.named_parameters() if name.startswith("trunk")]
    return torch.stack([torch.cat([row[name].reshape(-1) for name in names]) for row in rows])


def trunk_gradient(model):
    return torch.cat([p.grad.reshape(-1) for n, p in model.named_parameters() if n.startswith("trunk")])


def test_anything_but_its_objects_is_refused(torchjd):
    for method in (torchjd.MGDA, "MGDA", torch.nn.Linear(2, 2)):
        with pytest.raises(StrategyError, match="an aggregator or a weighting"):
            TorchJD(method)
    with pytest.raises(StrategyError, match="on='matrix'"):
        TorchJD(torchjd.TrimmedMean(1), on="gram")
    with pytest.raises(StrategyError, match="on = 'rows'"):
        TorchJD(torchjd.MGDA(), on="rows")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("coral_mtl.engine.torchjd_adapter.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"coral-mtl\[torchjd\]"):
        TorchJD(torch.nn.Linear(2, 2))


def test_importing_the_adapter_does_not_import_torchjd():
    program = "import sys, coral_mtl.engine.torchjd_adapter; sys.exit('torchjd' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["MGDA", "AlignedMTL", "IMTLG", "PCGrad"])
@pytest.mark.parametrize("as_weighting", [True, False])
def test_weights_from_the_gram_matrix(torchjd, name, as_weighting):
    method = getattr(torchjd, name + "Weighting" if as_weighting else name)()
    gradients = np.random.default_rng(0).standard_normal((3, 6))
    strategy = TorchJD(method)
    assert strategy.needs is Needs.GRAM
    torch.manual_seed(0)
    coefficients = strategy.decide(observe(gradients)).coefficients
    torch.manual_seed(0)
    expected = getattr(torchjd, name)()(torch.from_numpy(gradients)).numpy()
    np.testing.assert_allclose(coefficients @ gradients, expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["GradDrop", "TrimmedMean", "ConFIG"])
def test_aggregators_of_the_gradients_themselves(torchjd, name):
    build = (lambda: torchjd.TrimmedMean(1)) if name == "TrimmedMean" else getattr(torchjd, name)
    model = Toy()
    torch.manual_seed(0)
    expected = build()(trunk_matrix(model))
    strategy = TorchJD(build())
    assert strategy.needs is Needs.ROWS
    torch.manual_seed(0)
    Engine(strategy, model).backward(model.losses(*batch()))
    torch.testing.assert_close(trunk_gradient(model), expected, rtol=1e-10, atol=1e-14)


def test_a_weighting_of_the_gradients_themselves(torchjd):
    model = Toy()
    matrix = trunk_matrix(model)
    expected = torchjd.ExcessMTLWeighting()(matrix) @ matrix
    Engine(TorchJD(torchjd.ExcessMTLWeighting(), on="matrix"), model).backward(model.losses(*batch()))
    torch.testing.assert_close(trunk_gradient(model), expected, rtol=1e-10, atol=1e-14)


def test_through_the_engine_in_float32(torchjd):
    model = Toy(dtype=torch.float32)
    step = Engine(TorchJD(torchjd.MGDA()), model).backward(model.losses(*batch(dtype=torch.float32)))
    assert sum(step.weights.values()) == pytest.approx(1.0, abs=1e-6)


def test_gradients_of_zero_are_left_out_and_coefficients_reused(torchjd):
    strategy = TorchJD(torchjd.MeanWeighting(), update_frequency=2)
    np.testing.assert_allclose(strategy.decide(observe(np.diag([1.0, 0.0, 2.0]))).coefficients, [0.5, 0.0, 0.5])
    reused = strategy.decide(observe(np.eye(3)))
    assert not reused.refreshed
    np.testing.assert_allclose(reused.coefficients, [0.5, 0.0, 0.5])


def test_a_memory_is_reset_and_refuses_to_be_resumed(torchjd):
    strategy = TorchJD(torchjd.CRMOGMWeighting(torchjd.MGDAWeighting()))
    first = strategy.decide(observe(np.diag([1.0, 2.0]))).coefficients
    assert not np.allclose(strategy.decide(observe(np.diag([2.0, 1.0]))).coefficients, first[::-1])
    strategy.reset()
    np.testing.assert_array_equal(strategy.decide(observe(np.diag([1.0, 2.0]))).coefficients, first)
    with pytest.raises(StrategyError, match="a memory that it cannot save"):
        strategy.load_state_dict(strategy.state_dict())
    plain = TorchJD(torchjd.MGDA())
    plain.load_state_dict(plain.state_dict())
