import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.checkpoint import save_checkpoint
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.models.perceptual import PerceptualJudge
from coral_mtl.models.shared_trunk import SharedTrunk

SHAPE = (3, 1, 28, 28)
TASKS = {"judge": TaskSpec("judgement", 2)}
SMALL = {"width": 4, "depth": 2}


def test_names_of_the_parameters_and_shape_of_the_prediction():
    model = PerceptualJudge(SHAPE, TASKS, **SMALL, comparison="learned")
    assert model(torch.rand(5, *SHAPE))["judge"].shape == (5, 3)
    prefixes = {name.rsplit(".", 1)[0].partition(".net")[0] for name, _ in model.named_parameters()}
    assert prefixes == {"distance.backbone.0.0", "distance.backbone.1.0", "distance.linear", "comparison"}
    assert {name: len(weights) for name, weights in model.distance.linear.items()} == {"layer_0": 4, "layer_1": 8}


@pytest.mark.parametrize("comparison", ["difference", "log_ratio", "antisymmetric"])
def test_swapped_copies_have_swapped_distances_and_the_opposite_logit(comparison):
    model = PerceptualJudge(SHAPE, TASKS, **SMALL, comparison=comparison)
    triplets = torch.rand(5, *SHAPE)
    first, second, logit = model(triplets)["judge"].unbind(1)
    swapped = model(triplets[:, [0, 2, 1]])["judge"]
    assert torch.allclose(swapped, torch.stack([second, first, -logit], dim=1), atol=1e-6)
    same = model(triplets[:, [0, 1, 1]])["judge"]
    assert torch.equal(same[:, 0], same[:, 1])
    assert same[:, 2].abs().max() < 1e-6


def test_the_nearer_copy_is_the_likelier_one():
    for comparison in ("difference", "log_ratio"):
        first, second, logit = PerceptualJudge(SHAPE, TASKS, **SMALL, comparison=comparison)(torch.rand(20, *SHAPE))[
            "judge"
        ].unbind(1)
        assert torch.equal(logit > 0, second < first)


def test_it_begins_with_the_blocks_of_another_run(tmp_path):
    trained = SharedTrunk((1, 28, 28), {"garment": TaskSpec("classification", 10)}, width=4, depth=3)
    save_checkpoint(tmp_path / "best.pt", {"trainer": {"model": trained.state_dict()}})
    model = PerceptualJudge(SHAPE, TASKS, **SMALL, backbone=tmp_path / "best.pt")
    images = torch.rand(2, 1, 28, 28)
    maps = model.distance.backbone(images)
    for depth in (1, 2):
        assert torch.equal(maps[depth - 1], trained.trunk[:depth](images))
    with pytest.raises(DataError, match="does not hold the blocks of a SharedTrunk of this width and depth"):
        PerceptualJudge(SHAPE, TASKS, width=8, depth=2, backbone=tmp_path / "best.pt")


def test_a_missing_or_damaged_checkpoint(tmp_path):
    with pytest.raises(DataError, match="there is no checkpoint"):
        PerceptualJudge(SHAPE, TASKS, **SMALL, backbone=tmp_path / "none.pt")
    for number, content in enumerate((b"", b"something else", b"PK\x03\x04")):
        (tmp_path / f"{number}.pt").write_bytes(content)
        with pytest.raises(DataError, match="does not hold the blocks"):
            PerceptualJudge(SHAPE, TASKS, **SMALL, backbone=tmp_path / f"{number}.pt")


def test_other_data_are_refused():
    with pytest.raises(ConfigError, match="triplets of images and one judgement task"):
        PerceptualJudge((1, 28, 28), TASKS)
    with pytest.raises(ConfigError, match="tasks left"):
        PerceptualJudge(SHAPE, {"left": TaskSpec("classification", 10)})
