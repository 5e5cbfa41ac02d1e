import builtins
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from coral_mtl.data.bapps import BAPPS, JudgedTriplets
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError, MissingExtraError


def pixels(index, side=4):
    return np.full((side, side, 3), 10 * index, dtype=np.uint8) + np.arange(3, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three triplets, written in an order that sorting by time or by suffix would get wrong."""
    for role in ("p1", "judge", "ref", "p0"):
        (tmp_path / role).mkdir()
    for number, name in ((2, "000010"), (0, "000002"), (1, "000009")):
        for offset, role in enumerate(("ref", "p0", "p1")):
            image = Image.fromarray(pixels(3 * number + offset))
            if (number, role) == (1, "p0"):
                np.save(tmp_path / role / f"{name}.npy", np.array(image))
            else:
                image.save(tmp_path / role / f"{name}.png")
        np.save(tmp_path / "judge" / f"{name}.npy", np.array([number / 2], dtype=np.float32))
    (tmp_path / "ref" / "notes.txt").write_text("not an image")
    return tmp_path


def test_files_are_matched_by_name(folder):
    triplets = JudgedTriplets(folder, size=None)
    assert len(triplets) == 3
    for number in range(3):
        images, targets = triplets[number]
        assert images.shape == (3, 3, 4, 4)
        for offset in range(3):
            expected = torch.tensor([10 * (3 * number + offset) + c for c in range(3)]) / 127.5 - 1.0
            torch.testing.assert_close(images[offset, :, 2, 1], expected)
        assert targets["judge"].item() == number / 2
        assert targets["judge"].shape == ()


def test_images_are_resized(folder):
    images, _ = JudgedTriplets(folder)[0]
    assert images.shape == (3, 3, 64, 64)
    torch.testing.assert_close(images[1, :, 30, 30], torch.tensor([10.0, 11.0, 12.0]) / 127.5 - 1.0)


def test_folders_are_joined(folder):
    triplets = JudgedTriplets(folder, folder, size=None)
    assert len(triplets) == 6
    assert torch.equal(triplets[4][0], triplets[1][0])


def test_batches_are_collated(folder):
    images, targets = next(iter(torch.utils.data.DataLoader(JudgedTriplets(folder), batch_size=3)))
    assert images.shape == (3, 3, 3, 64, 64)
    assert targets["judge"].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("judge/000002.npy", b"", "is no array of numbers"),
        ("judge/000002.npy", b"PK\x03\x04" + bytes(100), "is no array of numbers"),
        ("p0/000009.npy", b"", "is no array of numbers"),
        ("ref/000002.png", b"", "is no image"),
        ("ref/000002.png", b"\x89PNG\r\n\x1a\n" + bytes(9), "is no image"),
    ],
)
def test_a_damaged_file_is_named(folder, file, content, told):
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=f"{file} {told}"):
        list(JudgedTriplets(folder))


def test_a_file_without_a_counterpart_is_named(folder):
    (folder / "p1" / "000009.png").unlink()
    (folder / "judge" / "000010.npy").unlink()
    with pytest.raises(DataError, match="no file p1/000009, judge/000010 "):
        JudgedTriplets(folder)


def test_a_folder_that_is_missing_or_empty_is_named(folder):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere/ref"):
        JudgedTriplets(folder / "nowhere")
    for file in (folder / "judge").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"judge has no file that ends in \.npy"):
        JudgedTriplets(folder)


def test_two_files_of_one_name_are_refused(folder):
    np.save(folder / "ref" / "000002.npy", pixels(0))
    with pytest.raises(DataError, match="are both called 000002"):
        JudgedTriplets(folder)


@pytest.mark.parametrize("votes", [np.array([0.2, 0.3]), np.array([1.2]), np.array([-0.1]), np.array([np.nan])])
def test_votes_that_are_none(folder, votes):
    np.save(folder / "judge" / "000009.npy", votes)
    with pytest.raises(DataError, match=r"000009\.npy holds .* in place of one number"):
        JudgedTriplets(folder)[1]


@pytest.mark.parametrize("role", ["judge", "p0"])
def test_pickles_are_never_loaded(folder, role):
    np.save(folder / role / "000009.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"000009\.npy is no array of numbers"):
        JudgedTriplets(folder)[1]


def test_a_damaged_image_is_named(folder):
    (folder / "p0" / "000010.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"000010\.png is no image"):
        JudgedTriplets(folder)[2]
    np.save(folder / "p0" / "000009.npy", np.zeros(7))
    with pytest.raises(DataError, match=r"000009\.npy is no image"):
        JudgedTriplets(folder)[1]


def test_images_of_different_sizes_need_a_size(folder):
    Image.fromarray(pixels(5, side=6)).save(folder / "p0" / "000002.png")
    assert JudgedTriplets(folder, size=8)[0][0].shape == (3, 3, 8, 8)
    with pytest.raises(DataError, match="give a size"):
        JudgedTriplets(folder, size=None)[0]


def test_without_pillow_there_are_no_images(folder, monkeypatch):
    found = builtins.__import__

    def without_pillow(name, *rest):
        if name == "PIL":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(MissingExtraError, match=r"coral-mtl\[perceptual\]"):
        JudgedTriplets(folder)


@pytest.fixture
def tree(folder, tmp_path_factory):
    """A folder 2afc with the three triplets for every distortion."""
    root = tmp_path_factory.mktemp("2afc")
    for distortion in ("train/traditional", "train/cnn", "train/mix", "val/cnn", "val/superres"):
        shutil.copytree(folder, root / distortion)
    return root


def test_distortions_are_joined_into_training_and_validation(tree):
    data = BAPPS(path=tree, validation=["superres"], size=8)
    assert (len(data.train), len(data.validation)) == (9, 3)
    assert [each["ref"].parents[1].name for each in data.train.triplets[::3]] == ["traditional", "cnn", "mix"]
    images, targets = data.train[8]
    assert images.shape == data.input_shape == (3, 3, 8, 8)
    assert targets["judge"].item() == 1.0
    assert data.tasks == {"judge": TaskSpec("judgement", 2)}


def test_distortions_that_are_not_there_are_named_with_those_that_are(tree):
    with pytest.raises(
        DataError, match=r"val has no folder traditional, deblur, color, frameinterp\n.*: cnn, superres"
    ):
        BAPPS(path=tree)
    for wrong in ([], ["cnn", "cnn"]):
        with pytest.raises(ConfigError, match="train: name one distortion or more"):
            BAPPS(path=tree, train=wrong)


def test_without_the_data_it_is_told_where_they_are(tmp_path):
    with pytest.raises(
        DataError, match=r"there is no folder .*train\n.*download_dataset.sh of https://github.com/rich"
    ):
        BAPPS(path=tmp_path)
