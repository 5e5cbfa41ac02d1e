import math

import pytest
import torch
from perceptual_values import CONTENT, exact
from torch.nn import functional

from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.perceptual import brier, cross_entropy, entropy_floor, focal, hinge, ranking, smoothed
from coral_mtl.models.perceptual import Antisymmetric, Difference, LearnedComparison, LogRatio

PEER = CONTENT["two_alternative"]
G, VOTES = exact(PEER["G"]), exact(PEER["h"])
HARD = (VOTES > 0.5).double()
CLOSE = {"rtol": 0.0, "atol": 1e-12}


def test_cross_entropy_of_soft_votes():
    logits = G.clone().requires_grad_()
    losses = cross_entropy(logits, VOTES)
    torch.testing.assert_close(losses.detach(), exact(PEER["bce_each"]), **CLOSE)
    assert losses.mean().item() == pytest.approx(PEER["bce_mean"], abs=1e-12)
    gradient = torch.autograd.grad(losses.sum(), logits)[0]
    torch.testing.assert_close(gradient, exact(PEER["bce_gradient"]), **CLOSE)
    torch.testing.assert_close(gradient, exact(PEER["sigmoid_minus_h"]), **CLOSE)


def test_cross_entropy_at_extreme_logits():
    logits = exact([800.0, -800.0]).requires_grad_()
    losses = cross_entropy(logits, exact([0.0, 1.0]))
    assert losses.tolist() == PEER["bce_at_extreme_logits"]
    assert torch.autograd.grad(losses.sum(), logits)[0].tolist() == [1.0, -1.0]
    assert cross_entropy(exact([800.0, -800.0]), exact([1.0, 0.0])).tolist() == [0.0, 0.0]


def test_the_floor_of_cross_entropy_is_reached_at_the_votes():
    torch.testing.assert_close(entropy_floor(VOTES), exact(PEER["entropy_floor_of_soft_labels"]), **CLOSE)
    inner = VOTES.clamp(0.01, 0.99)
    torch.testing.assert_close(cross_entropy(torch.logit(inner), inner), entropy_floor(inner), **CLOSE)


def test_smoothing():
    losses = cross_entropy(G, smoothed(HARD, 0.1))
    torch.testing.assert_close(losses, exact(PEER["label_smoothing"]["same_by_bce"]), **CLOSE)
    torch.testing.assert_close(losses, exact(PEER["label_smoothing"]["torch_cross_entropy_check"]), **CLOSE)


def test_hinge():
    assert torch.equal(2 * HARD - 1, exact(PEER["hinge_labels"]))
    assert hinge(G, HARD).mean().item() == pytest.approx(PEER["hinge_mean_hard"], abs=1e-12)
    split = exact([2.0]).requires_grad_()
    loss = hinge(split, exact([0.5]), margin=0.3)
    assert loss.item() == 0.3
    assert torch.autograd.grad(loss.sum(), split)[0].item() == 0.0


def test_ranking_wants_the_chosen_image_nearer():
    peer = PEER["ranking"]
    d0, d1, chosen = (exact(peer[key]) for key in ("d0", "d1", "chosen"))
    losses = ranking(d0, d1, chosen, margin=peer["margin"])
    torch.testing.assert_close(losses, exact(peer["each"]), **CLOSE)
    by_torch = functional.margin_ranking_loss(d0, d1, 2 * chosen - 1, margin=peer["margin"], reduction="none")
    torch.testing.assert_close(losses, by_torch, **CLOSE)
    soft = ranking(d0, d1, torch.full((7,), 0.25).double(), margin=0.1)
    both = 0.25 * ranking(d0, d1, torch.ones(7).double(), margin=0.1) + 0.75 * ranking(
        d0, d1, torch.zeros(7).double(), margin=0.1
    )
    torch.testing.assert_close(soft, both, **CLOSE)


@pytest.mark.parametrize("peer", PEER["focal"], ids=lambda peer: f"alpha={peer['alpha']}-gamma={peer['gamma']}")
def test_focal(peer):
    options = {"gamma": peer["gamma"], "alpha": None if peer["alpha"] < 0 else peer["alpha"]}
    torch.testing.assert_close(focal(G, HARD, **options), exact(peer["each"]), **CLOSE)
    torch.testing.assert_close(focal(G, VOTES, **options), exact(peer["soft_each"]), **CLOSE)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_gradient_of_focal_is_finite_however_sure_a_prediction_is(gamma):
    logits = torch.tensor([20.0, 200.0, -200.0, 200.0], requires_grad=True)
    focal(logits, torch.tensor([1.0, 1.0, 0.0, 0.0]), gamma=gamma, alpha=None).sum().backward()
    assert logits.grad.tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0], abs=1e-8)


def lowest_at(loss, votes):
    """The probability at which a loss of these votes is lowest."""
    probabilities = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    return probabilities[loss(torch.logit(probabilities), torch.full((999,), votes).double()).argmin()].item()


@pytest.mark.parametrize("votes", [0.2, 0.5, 0.8])
def test_proper_losses_are_lowest_at_the_votes(votes):
    assert lowest_at(cross_entropy, votes) == pytest.approx(votes)
    assert lowest_at(brier, votes) == pytest.approx(votes)


def test_focal_is_not_proper_for_soft_votes():
    assert abs(lowest_at(focal, 0.8) - 0.8) > 0.05


def test_brier_by_hand():
    assert brier(exact([0.0, 100.0]), exact([0.2, 1.0])).tolist() == pytest.approx([0.09, 0.0])


@pytest.mark.parametrize("votes", [[1.5], [-0.1], [0.5, 0.5]])
@pytest.mark.parametrize(
    "loss", [cross_entropy, brier, hinge, focal, lambda logits, votes: ranking(logits, logits, votes)]
)
def test_votes_are_shares(loss, votes):
    with pytest.raises(DataError, match="shares from 0 to 1"):
        loss(torch.zeros(1), torch.tensor(votes))


COMPARISONS = {
    "difference": Difference(temperature=0.5),
    "ratio": LogRatio(epsilon=0.05),
    "antisymmetric": Antisymmetric(LearnedComparison()),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_ties_and_swaps(name):
    comparison = COMPARISONS[name].double()
    d0, d1 = exact([0.0, 0.3, 0.0, 0.7, 0.2]), exact([0.0, 0.3, 0.4, 0.1, 0.0])
    logits = comparison(d0, d1)
    assert logits[:2].tolist() == [0.0, 0.0]
    torch.testing.assert_close(comparison(d1, d0), -logits)


@pytest.mark.parametrize("name", ["difference", "ratio"])
def test_the_nearer_image_is_the_likelier_one(name):
    far_first = COMPARISONS[name].double()(exact([0.9]), exact([0.1]))
    assert torch.sigmoid(far_first).item() > 0.8


def test_comparisons_by_hand():
    d0, d1 = exact([0.3]), exact([0.1])
    assert Difference(temperature=0.1)(d0, d1).item() == pytest.approx(2.0)
    assert LogRatio(epsilon=0.1, temperature=0.5)(d0, d1).item() == pytest.approx(2 * math.log(2.0))


def test_the_slope_of_the_ratio_is_bounded():
    d0 = exact([0.0, 1e-9, 0.5]).requires_grad_()
    slope = torch.autograd.grad(LogRatio(epsilon=0.05)(d0, torch.zeros(3)).sum(), d0)[0]
    assert slope.max().item() <= 1 / 0.05 + 1e-9


def test_temperatures_are_learned_where_asked():
    for make in (Difference, lambda **options: LogRatio(epsilon=0.1, **options)):
        fixed, learned = make(temperature=2.0), make(temperature=2.0, learned=True)
        assert [p.requires_grad for p in fixed.parameters()] == [False]
        assert [p.requires_grad for p in learned.parameters()] == [True]
        assert torch.equal(fixed(G.abs(), VOTES), learned(G.abs(), VOTES).detach())
    with pytest.raises(ConfigError, match="temperature"):
        Difference(temperature=0.0)


def test_the_learned_comparison_is_lpips_ranking_network():
    peer = CONTENT["bce_ranking"]
    comparison = LearnedComparison(width=4).double()
    for k, parameter in enumerate(comparison.parameters()):
        values = 0.5 * torch.sin(0.7 * torch.arange(1, parameter.numel() + 1, dtype=torch.float64) + k)
        parameter.data.copy_(values.view_as(parameter))
    d0, d1 = exact(peer["d0"]).requires_grad_(), exact(peer["d1"]).requires_grad_()
    logits = comparison(d0, d1)
    torch.testing.assert_close(torch.sigmoid(logits).detach(), exact(peer["probability"]), rtol=0.0, atol=1e-10)
    loss = cross_entropy(logits, exact(peer["h"])).mean()
    assert loss.item() == pytest.approx(peer["loss"], abs=1e-10)
    for gradient, key in zip(torch.autograd.grad(loss, (d0, d1)), ("grad_d0", "grad_d1"), strict=True):
        torch.testing.assert_close(gradient, exact(peer[key]), rtol=0.0, atol=1e-10)
    assert sum(p.numel() for p in LearnedComparison().parameters()) == peer["parameters_at_default_width"] == 1281
