import math

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.composite import CompositeHierarchical

TASKS = {"genus": TaskSpec("classification", 3), "cover": TaskSpec("regression", 2)}


def batch():
    generator = torch.Generator().manual_seed(0)
    predictions = {
        "genus": torch.randn(4, 3, dtype=torch.float64, generator=generator, requires_grad=True),
        "cover": torch.randn(4, 2, dtype=torch.float64, generator=generator, requires_grad=True),
    }
    targets = {"genus": torch.tensor([0, 2, -100, 1]), "cover": torch.randn(4, 2, generator=generator)}
    return predictions, targets


def cross_entropy(logits, label, smoothing=0.0):
    log_probabilities = [z - math.log(sum(math.exp(y) for y in logits)) for z in logits]
    share = smoothing / len(logits)
    return -sum((share + (1 - smoothing) * (k == label)) * p for k, p in enumerate(log_probabilities))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_terms_are_means_over_labelled_elements(smoothing):
    predictions, targets = batch()
    loss = CompositeHierarchical(TASKS, label_smoothing=smoothing)
    terms = loss(predictions, targets)
    assert tuple(terms) == loss.terms == ("genus", "cover")
    labelled = [(predictions["genus"][i].tolist(), int(targets["genus"][i])) for i in (0, 1, 3)]
    assert terms["genus"].item() == pytest.approx(sum(cross_entropy(z, y, smoothing) for z, y in labelled) / 3)
    squares = (predictions["cover"].detach().numpy() - targets["cover"].numpy()) ** 2
    assert terms["cover"].item() == pytest.approx(squares.mean())
    assert all(term.shape == () and term.requires_grad for term in terms.values())


def test_pixels_are_elements():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(3, (2, 4, 5), generator=generator)
    labels[0, :2] = 255
    loss = CompositeHierarchical({"class": TaskSpec("classification", 3, ignore_index=255)})
    flat, keep = logits.permute(0, 2, 3, 1).reshape(-1, 3), labels.flatten() != 255
    expected = sum(cross_entropy(z.tolist(), int(y)) for z, y in zip(flat[keep], labels.flatten()[keep], strict=True))
    assert loss({"class": logits}, {"class": labels})["class"].item() == pytest.approx(expected / 30, rel=1e-5)


def test_a_batch_without_labels_has_loss_and_gradient_zero():
    predictions, targets = batch()
    targets["genus"][:] = -100
    term = CompositeHierarchical(TASKS, label_smoothing=0.1)(predictions, targets)["genus"]
    term.backward()
    assert term.item() == 0.0
    assert torch.equal(predictions["genus"].grad, torch.zeros(4, 3, dtype=torch.float64))


def test_tasks_without_targets_have_no_term():
    predictions, targets = batch()
    del targets["genus"]
    assert tuple(CompositeHierarchical(TASKS)(predictions, targets)) == ("cover",)


def test_half_precision_is_added_up_in_single():
    predictions = {"cover": torch.full((1000, 2), 300.0, dtype=torch.float16)}
    term = CompositeHierarchical({"cover": TASKS["cover"]})(predictions, {"cover": torch.zeros(1000, 2)})["cover"]
    assert term.item() == 90_000.0


def test_a_prediction_that_is_missing():
    predictions, targets = batch()
    del predictions["cover"]
    with pytest.raises(DataError, match="nothing for the task 'cover'"):
        CompositeHierarchical(TASKS)(predictions, targets)


@pytest.mark.parametrize(
    ("task", "prediction", "target"),
    [
        ("cover", (4, 2), (4,)),
        ("cover", (4, 1), (4, 1)),
        ("cover", (4,), (4,)),
        ("genus", (4, 3), (4, 1)),
        ("genus", (4, 5), (4,)),
        ("genus", (4, 3, 2, 2), (4, 2, 3)),
    ],
)
def test_shapes_are_never_broadcast(task, prediction, target):
    with pytest.raises(DataError, match="do not fit a task of size"):
        CompositeHierarchical({task: TASKS[task]})({task: torch.zeros(prediction)}, {task: torch.zeros(target).long()})


def test_smoothing_without_a_classification_has_no_effect():
    with pytest.raises(ConfigError, match="no task of this data set is a classification"):
        CompositeHierarchical({"cover": TASKS["cover"]}, label_smoothing=0.1)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range(smoothing):
    with pytest.raises(ConfigError, match="label_smoothing"):
        CompositeHierarchical(TASKS, label_smoothing=smoothing)
