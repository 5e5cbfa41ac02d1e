import pytest
import torch
from segmentations import TASKS, images, small, tasks_that_reach

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.models.segmentation import SegmentationTrunk


def test_tasks_share_the_trunk_and_only_the_trunk():
    model = small("SegmentationTrunk")
    for name, tasks in tasks_that_reach(model, list(model.named_parameters())).items():
        assert tasks == ({name.split(".")[1]} if name.startswith("heads") else set(TASKS)), name


def test_logits_stand_where_the_pixels_are():
    """A ramp over the cells is a ramp over the pixels: cell i covers pixels 2i and 2i + 1."""
    features = small("SegmentationTrunk", depth=1).represent(images(1, 3, 16, 16))
    pixels = features.to_pixels(torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8))
    assert torch.allclose(pixels[0, 0, 0, 1:-1], (torch.arange(1.0, 15.0) - 0.5) / 2)


def test_size_follows_the_options():
    count = sum(p.numel() for p in SegmentationTrunk((3, 8, 8), {}, width=4, depth=2, features=6).parameters())
    down = (27 * 4 + 4) + (36 * 8 + 8)
    blocks = sum(2 * (2 * w + 9 * w * w + w) for w in (4, 8))
    up = sum(2 * w + 6 * w + 6 for w in (4, 8)) + (12 + 9 * 36 + 6)
    assert count == down + blocks + up + 12


def test_channels_double_up_to_four_times():
    assert [c.out_channels for c in SegmentationTrunk((3, 8, 8), {}, width=6, depth=5).halvings] == [6, 12, 24, 24, 24]


@pytest.mark.parametrize("name", ["a.b", "type"])
def test_names_that_no_module_can_have(name):
    with pytest.raises(ConfigError, match="rename the task"):
        SegmentationTrunk((3, 8, 8), {name: TASKS["fish"]})


@pytest.mark.parametrize(
    ("shape", "tasks", "message"),
    [
        ((3, 8), TASKS, "these inputs have the shape"),
        ((3, 8, 8), {"cover": TaskSpec("regression", 1)}, "the task 'cover' is a regression"),
    ],
)
def test_data_of_another_kind(shape, tasks, message):
    with pytest.raises(ConfigError, match=f"SegmentationTrunk takes images .* to segmentations, and {message}"):
        SegmentationTrunk(shape, tasks)
