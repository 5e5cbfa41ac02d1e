import math

import pytest
import torch
from segmentation_values import IGNORE, TASK, batch, naive_dice, naive_focal
from torch.nn import functional

from coral_mtl.errors import DataError
from coral_mtl.losses.segmentation import dice, focal, pixels


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("weights", [None, [1.0, 0.2, 3.0, 5.0]])
def test_focal_is_the_weighted_mean_over_labelled_pixels(gamma, weights):
    logits, target = batch()
    loss = focal(pixels(TASK, logits, target), gamma=gamma, class_weights=weights and torch.tensor(weights))
    assert loss.item() == pytest.approx(naive_focal(logits, target, gamma, weights), rel=1e-6 if weights else 1e-12)


def test_without_gamma_it_is_torchs_cross_entropy_with_the_same_gradient():
    logits, target = batch()
    weights = torch.tensor([1.0, 0.2, 3.0, 0.0], dtype=torch.float64)
    ours = focal(pixels(TASK, logits, target), class_weights=weights)
    theirs = functional.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-14)
    assert torch.allclose(*gradients, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("smooth", [0.0, 1.0, 50.0])
def test_dice_is_the_mean_over_the_classes_that_are_there(smooth):
    logits, target = batch()
    loss = dice(pixels(TASK, logits, target), smooth=smooth)
    assert loss.item() == pytest.approx(naive_dice(logits, target, smooth), rel=1e-12)


def test_dice_of_a_half_right_prediction():
    """Two pixels of two classes, both predicted as (1/2, 1/2): D_c = 2 (1/2) / (1 + 1) = 1/2 for both."""
    target = torch.tensor([[[0, 1]]])
    assert dice(pixels(TASK, torch.zeros(1, 4, 1, 2), target), smooth=0.0).item() == pytest.approx(
        1 - 2 * (1 / 4) / (2 / 4 + 1)
    )
    two = torch.tensor([0.0, 0.0, -math.inf, -math.inf]).view(1, 4, 1, 1).expand(1, 4, 1, 2)
    assert dice(pixels(TASK, two, target), smooth=0.0).item() == pytest.approx(0.5)


def test_a_perfect_prediction_has_no_dice_loss_whatever_is_predicted_where_there_is_no_label():
    _, target = batch(unlabelled=0.5)
    shown = target.masked_fill(target == IGNORE, 3)
    perfect = functional.one_hot(shown, 4).permute(0, 3, 1, 2) * 200.0
    assert dice(pixels(TASK, perfect, target)).item() == pytest.approx(0.0, abs=1e-6)
    assert focal(pixels(TASK, perfect, target), gamma=2.0).item() == 0.0


@pytest.mark.parametrize("part", [focal, dice])
def test_ignored_classes_do_not_count(part):
    logits, target = batch()
    some = pixels(TASK, logits, target, ignored=(1,))
    naive = naive_focal if part is focal else naive_dice
    assert part(some).item() == pytest.approx(naive(logits, target, ignored=(IGNORE, 1)), rel=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p: focal(p, gamma=2.0),
        lambda p: focal(p, gamma=0.5),
        lambda p: focal(p, class_weights=torch.tensor([1.0, 0.5, 2.0, 3.0])),
        dice,
        lambda p: dice(p, smooth=0.0),
    ],
)
def test_gradients(loss):
    logits, target = batch(shape=(2, 2, 3))
    assert torch.autograd.gradcheck(lambda z: loss(pixels(TASK, z, target)), logits)


@pytest.mark.parametrize("loss", [focal, dice])
def test_no_label_at_all_gives_zero_with_a_graph(loss):
    logits, _ = batch()
    value = loss(pixels(TASK, logits, torch.full((2, 3, 5), IGNORE)))
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("certain", [40.0, 1e4, 3e38])
def test_certain_predictions_have_finite_gradients(gamma, certain):
    """A right one costs nothing and a wrong one its margin; powers below 1 have no infinite slope at p = 1."""
    logits = torch.zeros(1, 4, 1, 2)
    logits[0, 1, 0] = certain
    logits.requires_grad_()
    both = pixels(TASK, logits, torch.tensor([[[1, 2]]]))
    focal(both, gamma=gamma).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, :, 0, 0].abs().max() < 1e-6
    assert logits.grad[0, 2, 0, 1] < -0.4


def test_a_small_doubt_keeps_its_digits():
    """(1 - p)^2 of 1 - p = 1e-6 in float32, where 1 - p taken by subtraction has one digit."""
    logits = torch.tensor([0.0, math.log(1e-6), -100.0, -100.0]).view(1, 4, 1, 1)
    one = pixels(TASK, logits, torch.zeros(1, 1, 1, dtype=torch.long))
    assert focal(one, gamma=2.0).item() == pytest.approx(1e-18, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    logits, target = batch(shape=(1, 200, 200), dtype=torch.float32)
    logits = logits.detach().to(dtype)
    half, single = pixels(TASK, logits, target), pixels(TASK, logits.float(), target)
    assert focal(half).dtype == torch.float32
    assert (focal(half), dice(half)) == (focal(single), dice(single))


@pytest.mark.parametrize(
    ("prediction", "target"), [((2, 4, 3), (2, 3)), ((2, 4, 3, 5), (2, 3, 4)), ((2, 3, 3, 5), (2, 3, 5))]
)
def test_shapes_that_do_not_fit(prediction, target):
    with pytest.raises(DataError, match="segmentation target of shape"):
        pixels(TASK, torch.zeros(prediction), torch.zeros(target, dtype=torch.long))
