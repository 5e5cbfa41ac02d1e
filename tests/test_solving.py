"""`coral_mtl.solve` and `coral_mtl.decide`: what goes in comes out, and mistakes are named."""

import numpy as np
import pytest
import torch

from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.engine.loss_weighting.dwa import DWA
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.pcgrad import PCGrad
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.engine.stack import Stack
from coral_mtl.errors import ConfigError, StrategyError
from coral_mtl.registry import strategies
from coral_mtl.solving import decide, solve


def gram(size=3, *, seed=0, batch=()):
    gradients = np.random.default_rng(seed).standard_normal((*batch, size, 6))
    return gradients @ np.swapaxes(gradients, -1, -2)


def expected(strategy, matrix, losses=None):
    names = tuple(map(str, range(len(matrix))))
    values = np.ones(len(matrix)) if losses is None else np.array(losses)
    return strategy.decide(Observation(names, values, matrix)).coefficients


def test_by_name_with_options_and_by_object():
    matrix = gram()
    np.testing.assert_array_equal(solve("MGDA", matrix), expected(MGDA(), matrix))
    np.testing.assert_array_equal(solve("mgda", matrix, normalization="l2"), expected(MGDA(normalization="l2"), matrix))
    np.testing.assert_array_equal(solve(MGDA(normalization="l2"), matrix), solve("MGDA", matrix, normalization="l2"))
    stack = Stack(DWA(), NashMTL())
    np.testing.assert_allclose(solve(stack, matrix, losses=np.ones(3)), solve("NashMTL", matrix), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_numpy_in_numpy_out(dtype):
    matrix = gram().astype(dtype)
    weights = solve("UPGrad", matrix)
    assert isinstance(weights, np.ndarray)
    assert weights.dtype == dtype
    tolerance = 10.0 * np.finfo(dtype).eps
    np.testing.assert_allclose(weights, solve("UPGrad", matrix.astype(np.float64)), rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_torch_in_torch_out_without_history(dtype):
    matrix = torch.from_numpy(gram()).to(dtype).requires_grad_()
    weights = solve("CAGrad", matrix, c=0.5)
    assert isinstance(weights, torch.Tensor)
    assert weights.dtype == dtype
    assert weights.device == matrix.device
    assert not weights.requires_grad
    close = solve("CAGrad", matrix.detach().double(), c=0.5).to(dtype)
    torch.testing.assert_close(weights, close, rtol=4 * torch.finfo(dtype).eps, atol=0.0)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,), (1, 1)])
@pytest.mark.parametrize("strategy", ["NashMTL", "PCGrad"])
def test_batches_are_solved_one_by_one(shape, strategy):
    matrices = gram(batch=shape)
    weights = solve(strategy, torch.from_numpy(matrices))
    assert weights.shape == (*shape, 3)
    for index in np.ndindex(shape):
        np.testing.assert_array_equal(weights[index].numpy(), solve(strategy, matrices[index]))


def test_an_object_takes_the_matrices_of_a_batch_as_steps():
    matrices = gram(8, batch=(2,))
    stepwise = PCGrad(seed=1)
    first, second = solve(PCGrad(seed=1), matrices)
    np.testing.assert_array_equal(solve(stepwise, matrices[0]), first)
    np.testing.assert_array_equal(solve(stepwise, matrices[1]), second)
    assert (second != solve(PCGrad(seed=1), matrices[1])).any()


def test_losses_and_task_names_are_handed_on():
    matrix, losses = gram(), [1.0, 2.0, 4.0]
    weights = solve("MGDA", matrix, losses=torch.tensor(losses), normalization="loss")
    np.testing.assert_array_equal(weights, expected(MGDA(normalization="loss"), matrix, losses))
    shares = solve("DualProj", np.eye(2), tasks=["left", "right"], preference={"right": 3.0, "left": 1.0})
    np.testing.assert_allclose(shares, [0.25, 0.75])
    np.testing.assert_allclose(solve("Static", np.eye(2), weights={"0": 2.0, "1": 5.0}), [2.0, 5.0])
    batched = solve("SI", gram(batch=(2,)), losses=[[1.0, 2.0, 4.0], [1.0, 1.0, 0.5]])
    np.testing.assert_allclose(batched, [[1.0, 0.5, 0.25], [1.0, 1.0, 2.0]])


def test_a_gradient_of_zero():
    np.testing.assert_array_equal(solve("NashMTL", np.diag([4.0, 0.0])), [0.5, 0.0])
    np.testing.assert_array_equal(solve("NashMTL", np.zeros((2, 2))), [0.0, 0.0])


def test_decide_tells_more():
    decision = decide("NashMTL", torch.from_numpy(gram()))
    np.testing.assert_array_equal(decision.coefficients, solve("NashMTL", gram()))
    assert decision.solution.status is Status.SOLVED
    assert set(decision.records) == {"nash_objective", "nash_slack"}
    with pytest.raises(StrategyError, match=r"not the shape \(2, 3, 3\)"):
        decide("NashMTL", gram(batch=(2,)))


LOPSIDED = np.array([[1.0, 0.5], [0.4, 1.0]])


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.ones((2, 3)), r"\(\.\.\., T, T\) with T >= 1, not \(2, 3\)"),
        (np.ones(3), r"not \(3,\)"),
        (np.ones((0, 0)), r"not \(0, 0\)"),
        (torch.ones(2, 0, 0), r"not \(2, 0, 0\)"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), r"gram\[0, 1\] is nan: all entries must be finite"),
        (torch.full((1, 2, 2), torch.inf), r"gram\[0, 0, 0\] is inf"),
        (LOPSIDED, r"gram\[0, 1\] is 0\.5 and its transpose there 0\.4"),
        (torch.from_numpy(LOPSIDED).float(), r"gram\[0, 1\] is 0\.5 and its transpose there 0\.4"),
        (np.array([[1.0, 5.0], [5.0, 4.0]]), r"gram\[0, 1\] is 5, but .* an inner product of 2 at most"),
        (np.diag([1.0, -2.0]), r"-2 as the square of the norm of task 1"),
        (np.eye(2, dtype=int), "floating-point type, not int64"),
        (torch.eye(2, dtype=torch.complex64), r"floating-point type, not torch\.complex64"),
        ([[1.0]], "a numpy array or a torch tensor, not list"),
    ],
)
def test_bad_matrices_are_named(matrix, complaint):
    with pytest.raises(StrategyError, match=complaint) as raised:
        solve("MGDA", matrix)
    assert isinstance(raised.value, ValueError)
    assert "see: " in str(raised.value)


@pytest.mark.parametrize("name", strategies.names())
def test_an_unknown_option_is_told_beside_the_known_ones(name):
    with pytest.raises(StrategyError, match=r"unheard_of = 1: .*; the options are \w+[\s\S]*see: help\(") as raised:
        strategies.get(name)(unheard_of=1)
    assert isinstance(raised.value, ValueError)


def test_a_transpose_may_differ_by_rounding():
    matrix = gram()
    bent = matrix * (1.0 + 1e-15 * np.triu(np.ones((3, 3))))
    np.testing.assert_allclose(solve("NashMTL", bent), solve("NashMTL", matrix), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"strategy": "MGDA", "losses": [1.0]}, r"losses must be finite and of the shape \(3,\), not \[1\.\]"),
        ({"strategy": "MGDA", "losses": [1.0, np.nan, 1.0]}, "losses must be finite"),
        ({"strategy": "MGDA", "tasks": ["a", "b"]}, "3 different names"),
        ({"strategy": "MGDA", "tasks": ["a", "b", "a"]}, "3 different names"),
        ({"strategy": "MGDA", "normalization": "l3"}, "normalization = 'l3'"),
        ({"strategy": "FairGrad", "alpha": 0.0}, "alpha = 0.0"),
        ({"strategy": "UPGrad", "preference": {"0": -1.0, "1": 1.0, "2": 1.0}}, r"preference\.0 = -1\.0"),
        ({"strategy": MGDA(), "normalization": "l2"}, r"options \['normalization'\] have no effect"),
        ({"strategy": 3}, "a name or a Strategy, not 3"),
        ({"strategy": "GradDrop"}, "works on the coordinates of the gradients"),
        ({"strategy": "MoDo"}, "works on the coordinates of the gradients"),
        ({"strategy": "FAMO"}, "FAMO looks at the losses: give losses="),
        ({"strategy": "MGDA", "normalization": "loss"}, "MGDA"),
    ],
)
def test_bad_arguments_are_named(arguments, complaint):
    with pytest.raises(StrategyError, match=complaint):
        solve(gram=gram(), **arguments)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ConfigError, match='did you mean "NashMTL"') as raised:
        solve("NashMLT", gram())
    assert isinstance(raised.value, ValueError)
