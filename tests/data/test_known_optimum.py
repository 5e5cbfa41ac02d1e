import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from coral_mtl.data.known_optimum import KnownOptimum


@pytest.mark.parametrize("seed", range(20))
def test_the_conditions_of_an_optimum_hold(seed):
    data = KnownOptimum(seed=seed)
    inputs, targets = data.validation[0]
    X, votes = data.train[0][0].double(), data.train[0][1]["votes"]
    assert torch.equal(inputs, torch.eye(84))
    assert torch.equal(targets["rows"].double(), X)
    assert torch.equal(targets["votes"], votes)
    assert 0.0 <= votes.min() <= votes.max() <= 1.0
    w = targets["optimum"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(binary_cross_entropy_with_logits(X @ w, votes), w)
    at_zero = w == 0.0
    assert int(at_zero.sum()) == 63
    assert (w[~at_zero] >= 0.05).all()
    assert (gradient[at_zero] > 0.001).all()
    assert gradient[~at_zero].abs().max() < 1e-12


def test_another_seed_is_another_problem():
    first, again, other = (KnownOptimum(seed=seed).train[0][0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_training_item_is_the_whole_problem():
    data = KnownOptimum(train_size=3)
    assert (len(data.train), len(data.validation)) == (3, 1)
    assert torch.equal(data.train[0][0], data.train[2][0])
    assert data.train[1][0].shape == data.input_shape
    with pytest.raises(IndexError):
        data.train[3]
