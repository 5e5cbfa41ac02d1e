from pathlib import Path

import numpy as np
import pytest
import torch

from coral_mtl.data.segmentation import CamVid
from coral_mtl.errors import DataError

TASKS = Path(__file__).parents[3] / "configs" / "segmentation" / "camvid_tasks.yaml"


def write(folder, split, count, **changes):
    generator = np.random.default_rng(count)
    arrays = {
        "images": generator.integers(0, 256, (count, 12, 16, 3)).astype(np.uint8),
        "labels": generator.integers(0, 12, (count, 12, 16)).astype(np.uint8),
        "names": np.array([f"street{number}" for number in range(count)]),
    }
    np.savez(folder / f"camvid_{split}_12x16.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})
    return arrays


def test_items_are_the_arrays_and_the_masks_of_their_tasks(tmp_path):
    write(tmp_path, "train", 3)
    arrays = write(tmp_path, "val", 2)
    data = CamVid(tasks=TASKS, path=tmp_path, normalise=False)
    assert (len(data.train), len(data.validation), data.input_shape) == (3, 2, (3, 12, 16))
    assert data.tasks == CamVid.task_specs(tasks=TASKS, path=Path("absent"))
    image, targets = data.validation[1]
    np.testing.assert_allclose(image.numpy(), arrays["images"][1].transpose(2, 0, 1) / 255, atol=1e-7)
    ids = arrays["labels"][1]
    traffic = np.select([ids == 11, ids == 8, ids == 9, ids == 10], [255, 1, 2, 3], 0)
    np.testing.assert_array_equal(targets["traffic"].numpy(), traffic)
    np.testing.assert_array_equal(targets["role"].numpy(), np.where(ids == 11, 255, ids))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.full((2, 12, 16), 12, np.uint8)}, r"\[0\] \(street0\): no class has the id 12"),
        ({"labels": np.zeros((2, 12, 15), np.uint8)}, "expected bytes images"),
        ({"labels": np.zeros((2, 12, 16), np.int64)}, "expected bytes images"),
        ({"labels": None}, "holds images uint8 .*, names"),
        ({"names": np.array(["one"])}, "expected bytes images"),
        (
            {"images": np.zeros((2, 0, 16, 3), np.uint8), "labels": np.zeros((2, 0, 16), np.uint8)},
            "expected bytes images",
        ),
        ({"images": np.zeros((2, 12, 16), np.uint8)}, "expected bytes images"),
        ({"names": np.array([{}, {}], dtype=object)}, "damaged, or no file of arrays"),
        (
            {"images": np.zeros((0, 1, 1, 3), np.uint8), "labels": np.zeros((0, 1, 1), np.uint8), "names": np.zeros(0)},
            "holds",
        ),
    ],
)
def test_arrays_that_do_not_fit_stop_the_run_before_it_starts(tmp_path, changes, message):
    write(tmp_path, "train", 2)
    write(tmp_path, "val", 2, **changes)
    with pytest.raises(DataError, match=rf"camvid_val_12x16\.npz.*{message}".replace(".*", "(.|\n)*")):
        CamVid(tasks=TASKS, path=tmp_path)


def test_a_damaged_or_missing_file_is_named(tmp_path):
    write(tmp_path, "train", 2)
    with pytest.raises(DataError, match=r"has no file camvid_val_\*\.npz"):
        CamVid(tasks=TASKS, path=tmp_path)
    write(tmp_path, "val", 2)
    file = tmp_path / "camvid_val_12x16.npz"
    content = file.read_bytes()
    for broken in (content[:-100], content[:300] + bytes(40) + content[340:], b"street"):
        file.write_bytes(broken)
        with pytest.raises(DataError, match=r"camvid_val_12x16\.npz is damaged, or no file of arrays"):
            CamVid(tasks=TASKS, path=tmp_path)


def test_real_streets(shared_data):
    data = CamVid(tasks=TASKS, path=shared_data, patch_size=96)
    assert (len(data.train), len(data.validation), data.input_shape) == (367, 101, (3, 96, 96))
    deviation, mean = torch.std_mean(torch.stack([data.train[index][0] for index in range(0, 367, 10)]), (0, 2, 3))
    assert mean.abs().max() < 0.7
    assert deviation.min() > 0.7
    assert deviation.max() < 1.6
    with np.load(shared_data / "camvid_val_120x160.npz") as arrays:
        np.testing.assert_array_equal(
            torch.stack([data.validation[index][1]["role"] for index in range(101)]).numpy(),
            np.where(arrays["labels"] == 11, 255, arrays["labels"]),
        )
