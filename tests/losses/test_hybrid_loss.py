import pytest
import torch
from segmentation_values import IGNORE, TASK, batch, naive_dice, naive_focal

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.composite import CompositeHierarchical
from coral_mtl.losses.segmentation import HybridLoss

TASKS = {"genus": TaskSpec("segmentation", 4, ignore_index=IGNORE), "health": TASK}
BOTH = pytest.mark.parametrize("loss", [HybridLoss, CompositeHierarchical])


def two_tasks():
    batches = {task: batch(seed) for seed, task in enumerate(TASKS)}
    return {t: logits for t, (logits, _) in batches.items()}, {t: target for t, (_, target) in batches.items()}


@BOTH
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["focal", "cross_entropy"])
def test_each_task_has_its_mixture(loss, alpha, kind):
    logits, target = two_tasks()
    options = {"primary_loss_type": kind} if alpha else {}
    terms = loss(TASKS, hybrid_alpha=alpha, **options)(logits, target)
    assert tuple(terms) == loss(TASKS).terms == ("genus", "health")
    for task, term in terms.items():
        by_pixel = naive_focal(logits[task], target[task], gamma=2.0 if kind == "focal" else 0.0)
        expected = alpha * by_pixel + (1 - alpha) * naive_dice(logits[task], target[task])
        assert term.item() == pytest.approx(expected, rel=1e-12)


@BOTH
def test_tasks_with_options_of_their_own(loss):
    logits, target = two_tasks()
    own = {"health": {"hybrid_alpha": 0.9, "dice_smooth": 5.0, "class_weights": {"dead": 4.0, "bleached": 0.5}}}
    terms = loss(TASKS, hybrid_alpha=0.2, focal_gamma=1.0, ignore_index=1, task_specific=own)(logits, target)
    genus, health = (logits["genus"], target["genus"]), (logits["health"], target["health"])
    ignored = (IGNORE, 1)
    expected = 0.2 * naive_focal(*genus, 1.0, ignored=ignored) + 0.8 * naive_dice(*genus, ignored=ignored)
    assert terms["genus"].item() == pytest.approx(expected, rel=1e-12)
    weighted = naive_focal(*health, 1.0, weights=[1.0, 1.0, 0.5, 4.0], ignored=ignored)
    expected = 0.9 * weighted + 0.1 * naive_dice(*health, smooth=5.0, ignored=ignored)
    assert terms["health"].item() == pytest.approx(expected, rel=1e-12)


@BOTH
def test_a_task_without_labels_has_loss_and_gradient_zero_and_the_others_are_as_ever(loss):
    logits, target = two_tasks()
    before = loss(TASKS)(logits, target)["health"].item()
    target["genus"][:] = IGNORE
    terms = loss(TASKS)(logits, target)
    sum(terms.values()).backward()
    assert terms["genus"].item() == 0.0
    assert not logits["genus"].grad.any()
    assert terms["health"].item() == before


@BOTH
def test_absent_targets_and_missing_predictions(loss):
    logits, target = two_tasks()
    del target["genus"]
    assert tuple(loss(TASKS)(logits, target)) == ("health",)
    del logits["health"]
    with pytest.raises(DataError, match="nothing for the task 'health'"):
        loss(TASKS)(logits, target)


def test_under_autocast_it_is_as_without():
    logits, target = two_tasks()
    loss = CompositeHierarchical(TASKS)
    plain = loss(logits, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(logits, target)
    assert plain == mixed


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hybrid_alpha": 1.5}, "hybrid_alpha"),
        ({"primary_loss_type": "dice"}, "primary_loss_type"),
        ({"focal_gamma": -1.0}, "focal_gamma"),
        ({"dice_smooth": -1.0}, "dice_smooth"),
        ({"primary_loss_type": "cross_entropy", "focal_gamma": 2.0}, "focal_gamma has no effect: primary_loss_type is"),
        ({"hybrid_alpha": 0.0, "focal_gamma": 2.0}, "focal_gamma has no effect: hybrid_alpha is 0"),
        ({"hybrid_alpha": 1.0, "dice_smooth": 2.0}, "dice_smooth has no effect: hybrid_alpha is 1"),
        ({"ignore_index": 7}, "ignore_index has no effect: there is no class 7"),
        ({"task_specific": {"helth": {}}}, r"no segmentation task 'helth'\n    known: genus, health"),
        ({"task_specific": {"health": {"hybrid_alpha": 2.0}}}, "task_specific.health.hybrid_alpha"),
        ({"task_specific": {"health": {"alpha": 0.2}}}, "task_specific.health.alpha"),
        (
            {"task_specific": {"health": {"hybrid_alpha": 1.0, "dice_smooth": 2.0}}},
            "task_specific has no effect: dice_smooth of health: hybrid_alpha is 1",
        ),
        ({"task_specific": {"health": {"class_weights": {"dad": 2.0}}}}, r"no class 'dad'\n    did you mean 'dead'"),
        ({"task_specific": {"genus": {"class_weights": {"a": 2.0}}}}, "have no names: give a list"),
        ({"task_specific": {"health": {"class_weights": [1.0, 2.0]}}}, "2 weights, of which 2 are above 0"),
        ({"task_specific": {"health": {"class_weights": [0.0] * 4}}}, "4 weights, of which 0 are above 0"),
        ({"task_specific": {"health": {"class_weights": {"dead": -2.0}}}}, "class_weights.*greater than or equal to 0"),
    ],
)
def test_options_that_cannot_be(loss, options, message):
    with pytest.raises(ConfigError, match=message):
        loss(TASKS, **options)


def test_an_option_that_every_task_has_of_its_own():
    own = {task: {"focal_gamma": 1.0} for task in TASKS}
    with pytest.raises(ConfigError, match="focal_gamma has no effect: task_specific has one for every task"):
        HybridLoss(TASKS, focal_gamma=2.0, task_specific=own)
    HybridLoss(TASKS, focal_gamma=2.0, task_specific={"genus": {"focal_gamma": 1.0}})


@pytest.mark.parametrize("index", [0, 3, IGNORE])
def test_an_ignored_class_is_one_of_the_task_or_its_own(index):
    HybridLoss(TASKS, ignore_index=index)


@BOTH
def test_the_classes_that_are_left_out_are_told_by_task(loss):
    weights = {"class_weights": [1.0, 0.0, 2.0, 0.0]}
    assert loss(TASKS).ignored_by_task == {"genus": (), "health": ()}
    own = {"health": {"ignore_index": None, **weights}}
    assert loss(TASKS, ignore_index=1, task_specific=own).ignored_by_task == {"genus": (1,), "health": ()}
    own["health"]["hybrid_alpha"] = 1.0
    told = loss(TASKS, ignore_index=0, task_specific=own)
    assert told.ignored_by_task == {"genus": (0,), "health": (1, 3)}
    logits, target = two_tasks()
    target["genus"][:], target["health"][:] = 0, torch.tensor([1, 3, 3, 1, IGNORE])
    assert [term.item() for term in told(logits, target).values()] == [0.0, 0.0]


def test_other_kinds_of_tasks():
    tasks = {**TASKS, "cover": TaskSpec("regression", 1), "site": TaskSpec("classification", 3)}
    with pytest.raises(ConfigError, match=r"'cover' is a regression task\n    take CompositeHierarchical"):
        HybridLoss(tasks)
    logits, target = two_tasks()
    logits |= {"cover": torch.ones(2, 1), "site": torch.zeros(2, 3)}
    target |= {"cover": torch.full((2, 1), 3.0), "site": torch.tensor([0, 2])}
    terms = CompositeHierarchical(tasks)(logits, target)
    assert tuple(terms) == tuple(tasks)
    assert terms["cover"].item() == 4.0
    assert terms["site"].item() == pytest.approx(1.0986123)
    assert terms["genus"].item() == HybridLoss(TASKS)(logits, target)["genus"].item()
    with pytest.raises(ConfigError, match="hybrid_alpha has no effect: no task of this data set is a segmentation"):
        CompositeHierarchical({"cover": tasks["cover"]}, hybrid_alpha=0.2)
