from itertools import combinations

import pytest
import torch
from segmentation_values import IGNORE, batch, naive_contradiction

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.losses.composite import CompositeHierarchical
from coral_mtl.losses.segmentation import Consistency, pixels
from coral_mtl.losses.segmentation.consistency import contradictions


def task(size, *class_of_id):
    return TaskSpec("segmentation", size, ignore_index=IGNORE, class_of_id=class_of_id)


VOID = IGNORE
# ids: 0 void, 1 living acropora, 2 dead acropora, 3 living table coral, 4 a fish, 5 sand
GENUS = task(3, VOID, 1, 1, 2, 0, 0)  # 0: no coral
HEALTH = task(3, VOID, 1, 2, 1, 0, 0)  # 0: no coral, 1: alive, 2: dead
FISH = task(2, VOID, 0, 0, 0, 1, 0)
TASKS = {"genus": GENUS, "health": HEALTH, "fish": FISH}


def pairs_of(first, second):
    ids = zip(first.class_of_id, second.class_of_id, strict=True)
    return {(i, j) for i, j in ids if IGNORE not in (i, j)}


def three_tasks(unlabelled=0.3):
    logits, targets = {}, {}
    for seed, (name, spec) in enumerate(TASKS.items()):
        logits[name], targets[name] = batch(seed, size=spec.size, unlabelled=unlabelled)
    return logits, targets


def all_pixels(logits, targets):
    return {name: pixels(TASKS[name], logits[name], targets[name]) for name in logits}


def counted_for_both(targets, a, b):
    return ((targets[a] != IGNORE) & (targets[b] != IGNORE)).nonzero().tolist()


def naive_price(logits, targets, a, b):
    return naive_contradiction(logits[a], logits[b], pairs_of(TASKS[a], TASKS[b]), counted_for_both(targets, a, b))


def test_contradictions_follow_from_the_ids():
    """A genus goes with alive or dead and not with no coral, and a table coral was never seen dead."""
    expected = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 1]], dtype=torch.bool)
    assert torch.equal(contradictions(GENUS, HEALTH), expected)
    assert torch.equal(contradictions(HEALTH, GENUS), expected.T)


def test_a_class_without_labels_in_the_other_task_contradicts_nothing():
    first, second = task(3, 0, 1, 2), task(2, 0, 1, IGNORE)
    assert torch.equal(contradictions(first, second), torch.tensor([[0, 1], [1, 0], [0, 0]], dtype=torch.bool))


def test_a_shorter_table_is_one_of_ids_without_labels():
    assert torch.equal(
        contradictions(task(2, 0, 1), task(3, 0, 1, 2)), contradictions(task(2, 0, 1, IGNORE), task(3, 0, 1, 2))
    )


@pytest.mark.parametrize("present", [("genus", "health"), ("genus", "fish"), ("genus", "health", "fish")])
def test_shares_are_means_over_the_other_tasks(present):
    logits, targets = three_tasks()
    some = {name: each for name, each in all_pixels(logits, targets).items() if name in present}
    for name, share in Consistency(TASKS).shares(some).items():
        prices = [naive_price(logits, targets, *sorted((name, other))) for other in present if other != name]
        assert share.item() == pytest.approx(sum(prices) / len(prices), rel=1e-12)


def test_gradients_add_up_to_that_of_the_whole_price():
    logits, targets = three_tasks()
    sum(Consistency(TASKS).shares(all_pixels(logits, targets)).values()).backward()
    shares = {name: each.grad.clone() for name, each in logits.items()}
    whole = 0.0
    for a, b in combinations(TASKS, 2):
        both = (targets[a] != IGNORE) & (targets[b] != IGNORE)
        p, q = (logits[name].softmax(1).movedim(1, -1)[both] for name in (a, b))
        clash = torch.tensor(
            [[(i, j) not in pairs_of(TASKS[a], TASKS[b]) for j in range(q.shape[1])] for i in range(p.shape[1])]
        )
        whole = whole + (p[:, :, None] * q[:, None, :] * clash).sum() / len(p) / 2
    whole_gradients = torch.autograd.grad(whole, list(logits.values()))
    for name, gradient in zip(logits, whole_gradients, strict=True):
        assert torch.allclose(shares[name], gradient, rtol=1e-12, atol=1e-15)


def test_a_share_reaches_no_head_but_its_own():
    logits, targets = three_tasks()
    for name, share in Consistency(TASKS).shares(all_pixels(logits, targets)).items():
        gradients = torch.autograd.grad(share, list(logits.values()), retain_graph=True, allow_unused=True)
        assert [g is not None for g in gradients] == [other == name for other in logits]


def one_hot(spec, index):
    return torch.nn.functional.one_hot(torch.tensor([[[index]]]), spec.size).movedim(-1, 1) * 1000.0


@pytest.mark.parametrize("label", range(1, 6))
def test_certain_predictions_that_go_together_are_free(label):
    logits = {name: one_hot(spec, spec.class_of_id[label]) for name, spec in TASKS.items()}
    targets = dict.fromkeys(TASKS, torch.zeros(1, 1, 1, dtype=torch.long))
    assert [share.item() for share in Consistency(TASKS).shares(all_pixels(logits, targets)).values()] == [
        0.0,
        0.0,
        0.0,
    ]


def test_health_without_a_coral_costs_the_whole_price():
    logits = {"genus": one_hot(GENUS, 0), "health": one_hot(HEALTH, 1)}
    targets = dict.fromkeys(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    shares = Consistency(TASKS).shares(all_pixels(logits, targets))
    assert {name: share.item() for name, share in shares.items()} == {"genus": 1.0, "health": 1.0}


def test_gradcheck():
    logits, targets = three_tasks()
    constant = all_pixels({name: each.detach() for name, each in logits.items()}, targets)

    def share(own):
        return Consistency(TASKS).shares({**constant, "genus": pixels(GENUS, own, targets["genus"])})["genus"]

    assert torch.autograd.gradcheck(share, logits["genus"])


def test_a_task_without_labels_takes_no_part_and_dilutes_nothing():
    logits, targets = three_tasks()
    two = {name: each for name, each in all_pixels(logits, targets).items() if name != "fish"}
    targets["fish"][:] = IGNORE
    shares = Consistency(TASKS).shares(all_pixels(logits, targets))
    assert shares["fish"].item() == 0.0
    assert {name: shares[name].item() for name in two} == {
        n: s.item() for n, s in Consistency(TASKS).shares(two).items()
    }
    sum(shares.values()).backward()
    assert not logits["fish"].grad.any()


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_composite_adds_each_tasks_share(weight):
    logits, targets = three_tasks()
    terms = CompositeHierarchical(TASKS, w_consistency=weight)(logits, targets)
    plain = CompositeHierarchical(TASKS)(logits, targets)
    shares = Consistency(TASKS).shares(all_pixels(logits, targets))
    assert tuple(terms) == tuple(TASKS)
    for name, term in terms.items():
        assert term.item() == pytest.approx(plain[name].item() + weight * shares[name].item(), rel=1e-14)


def test_half_precision_is_computed_in_single():
    logits, targets = three_tasks()
    logits = {name: each.detach().bfloat16() for name, each in logits.items()}
    loss = CompositeHierarchical(TASKS, w_consistency=1.0)
    single = loss({name: each.float() for name, each in logits.items()}, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(logits, targets) == single


@pytest.mark.parametrize(
    "tasks",
    [
        {"genus": GENUS},
        {"genus": TaskSpec("segmentation", 3), "health": HEALTH},
        {"a": task(2, 0, 0, 1, 1), "b": task(2, 0, 1, 0, 1)},
        {"cover": TaskSpec("regression", 1)},
    ],
)
def test_tasks_that_cannot_contradict_each_other(tasks):
    with pytest.raises(ConfigError, match="w_consistency has no effect: no two tasks"):
        CompositeHierarchical(tasks, w_consistency=0.1)
    assert Consistency(tasks).tables == {}
