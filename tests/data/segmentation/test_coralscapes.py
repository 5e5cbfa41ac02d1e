from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coral_mtl import registry
from coral_mtl.data.segmentation import Augmentations, Coralscapes
from coral_mtl.data.segmentation.items import IMAGENET_MEAN, IMAGENET_STD
from coral_mtl.errors import ConfigError, DataError


def reef(tree, augmentations=None, **options):
    given = {"tasks": tree.tasks, "path": tree.frames, "normalise": False} | options
    return Coralscapes(augmentations, **given)


def pixels(file):
    return np.asarray(Image.open(file))


def classes(mask, table, otherwise):
    return torch.tensor([[table.get(i, otherwise) for i in row] for row in mask.tolist()])


def test_items_are_frames_and_the_masks_of_their_tasks(tree):
    data = reef(tree)
    assert (len(data.train), len(data.validation), data.input_shape) == (4, 2, (3, 24, 32))
    assert data.augmentations is None
    for split, items in (("train", data.train), ("val", data.validation)):
        for number in range(len(items)):
            image, targets = items[number]
            expected = pixels(tree.image(split, f"f{number}")).transpose(2, 0, 1) / 255
            np.testing.assert_allclose(image.numpy(), expected, atol=1e-7)
            mask = pixels(tree.mask(split, f"f{number}"))
            assert torch.equal(targets["coral"], classes(mask, {0: 255, 3: 1, 6: 2, 25: 3}, 0))
            assert torch.equal(targets["ground"], classes(mask, {5: 0, 18: 1}, 255))
    with pytest.raises(IndexError):
        data.validation[2]


def test_pixels_without_a_label_count_where_that_is_asked_for(tree):
    _, targets = reef(tree, ignore_unlabeled=False).validation[0]
    mask = pixels(tree.mask("val", "f0"))
    assert torch.equal(targets["coral"], classes(mask, {3: 1, 6: 2, 25: 3}, 0))
    assert torch.equal(targets["ground"], classes(mask, {5: 0, 18: 1}, 255))


def test_images_have_the_mean_and_deviation_of_imagenet(tree):
    plain, _ = reef(tree).train[1]
    normalised, _ = reef(tree, normalise=True).train[1]
    back = normalised * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]
    torch.testing.assert_close(back, plain)


def test_patches_take_the_place_of_the_frames_in_training_alone(tree):
    data = reef(tree, pds_train_path=tree.patches)
    assert (len(data.train), len(data.validation), data.input_shape) == (3, 2, (3, 16, 16))
    expected = pixels(tree.patches / "images" / "p2.png").transpose(2, 0, 1) / 255
    np.testing.assert_allclose(data.train[2][0].numpy(), expected, atol=1e-7)
    assert data.validation[0][0].shape == (3, 24, 32)


def test_a_patch_is_a_piece_of_its_frame(tree):
    data = reef(tree, patch_size=8)
    assert data.input_shape == (3, 8, 8)
    whole, whole_targets = reef(tree).train[3]
    places = set()
    for epoch in range(6):
        data.train.set_epoch(epoch)
        image, targets = data.train[3]
        windows = whole.unfold(1, 8, 1).unfold(2, 8, 1)
        found = (windows == image[:, None, None]).all(-1).all(-1).all(0).nonzero().tolist()
        assert len(found) == 1
        [(top, left)] = found
        for task, mask in targets.items():
            assert torch.equal(mask, whole_targets[task][top : top + 8, left : left + 8])
        places.add((top, left))
    assert len(places) > 3


def test_one_of_two_places_is_given(tree):
    for options in ({"path": None}, {"path": tree.frames, "hub_dataset": "EPFL-ECEO/coralscapes"}):
        with pytest.raises(ConfigError, match="give one"):
            reef(tree, **options)


def test_tasks_are_known_before_a_frame_is_looked_for(tree):
    options = {"tasks": tree.tasks, "path": tree.root / "absent", "ignore_unlabeled": False}
    specs = registry.data.get("coralscapes").task_specs(**options)
    assert specs == reef(tree, ignore_unlabeled=False).tasks


def damaged(file, content):
    file.write_bytes(content)
    return file


def save(array, file):
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file)
    return file


BREAKS = {
    "a cut file": (lambda t: damaged(f := t.image("train", "f1"), f.read_bytes()[:700]), "damaged"),
    "a changed byte": (
        lambda t: damaged(f := t.mask("val", "f1"), f.read_bytes()[:60] + b"!" + f.read_bytes()[61:]),
        "damaged",
    ),
    "no picture": (lambda t: damaged(t.image("val", "f0"), b"reef"), "damaged"),
    "an empty file": (lambda t: damaged(t.mask("train", "f2"), b""), "damaged"),
    "a mask of another size": (
        lambda t: save(np.zeros((24, 31)), t.mask("train", "f3")),
        "31 x 24 pixels and its image 32 x 24",
    ),
    "label 200": (lambda t: save(np.full((24, 32), 200), t.mask("train", "f0")), "no class has the id 200"),
    "label 40": (lambda t: save(np.full((24, 32), 40), t.mask("val", "f1")), "no class has the id 40"),
    "a coloured mask": (lambda t: save(np.zeros((24, 32, 3)), t.mask("val", "f0")), "of mode RGB"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_frame_that_cannot_be_used_stops_the_run_before_it_starts(tree, broken):
    spoil, message = BREAKS[broken]
    file = spoil(tree)
    with pytest.raises(DataError) as caught:
        reef(tree)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_frames_behind_links_are_found_and_hidden_ones_are_not(tree):
    elsewhere = tree.root / "elsewhere"
    elsewhere.mkdir()
    for file in (tree.image("train", "f0"), tree.mask("train", "f0")):
        site = file.parent
        site.rename(elsewhere / file.name)
        site.symlink_to(elsewhere / file.name, target_is_directory=True)
        for hidden in (site / ".ipynb_checkpoints" / f"f0-checkpoint{file.name[2:]}", site / f".f0{file.name[2:]}"):
            hidden.parent.mkdir(exist_ok=True)
            hidden.write_bytes(file.read_bytes())
    assert reef(tree).train.frames.names == [str(tree.image("train", f"f{number}")) for number in range(4)]


def test_a_frame_without_its_mask_is_named(tree):
    tree.mask("train", "f1").unlink()
    tree.image("train", "f2").unlink()
    with pytest.raises(DataError) as caught:
        reef(tree)
    for file in (tree.mask("train", "f1"), tree.image("train", "f2")):
        assert str(file) in str(caught.value)
    assert str(tree.image("train", "f1")) not in str(caught.value)


def test_an_empty_or_missing_split_is_named(tree):
    with pytest.raises(DataError, match=r"no folder .*absent/leftImg8bit/val"):
        reef(tree, path=tree.root / "absent")
    with pytest.raises(DataError, match=r"no folder .*frames/images"):
        reef(tree, pds_train_path=tree.frames)
    for number in range(2):
        tree.image("val", f"f{number}").unlink()
    with pytest.raises(DataError, match=r"leftImg8bit/val has no file that ends in _leftImg8bit\.png"):
        reef(tree)


def test_validation_frames_of_another_size_are_named(tree):
    tree.add(tree.image("val", "g"), tree.mask("val", "g"), (16, 16), 0)
    with pytest.raises(DataError, match=r"g_leftImg8bit\.png is 16 x 16 pixels, and .*f0_leftImg8bit\.png is 32 x 24"):
        reef(tree)


def test_training_frames_have_one_size_or_give_patches(tree):
    tree.add(tree.image("train", "g"), tree.mask("train", "g"), (16, 20), 0)
    with pytest.raises(DataError, match="give a patch_size"):
        reef(tree)
    assert reef(tree, patch_size=16).train[4][0].shape == (3, 16, 16)
    with pytest.raises(DataError, match=r"g_leftImg8bit\.png is 20 x 16 pixels, less than a patch of 17 x 17"):
        reef(tree, patch_size=17)


def test_a_file_that_is_damaged_later_is_named_too(tree):
    data = reef(tree)
    file = damaged(tree.image("train", "f0"), b"reef")
    with pytest.raises(DataError, match=str(file)):
        data.train[0]


def test_real_frames(shared_data):
    data = Coralscapes(
        Augmentations(rotation=20, resized_crop=(0.5, 2.0)),
        tasks=Path(__file__).parents[3] / "configs" / "segmentation" / "coralscapes_tasks.yaml",
        path=shared_data / "coralscapes_sample",
        pds_train_path=shared_data / "coralscapes_patches",
    )
    assert (len(data.train), len(data.validation), data.input_shape) == (4, 1, (3, 512, 512))
    image, targets = data.validation[0]
    assert image.shape == (3, 1024, 2048)
    mask = pixels(shared_data / "coralscapes_sample/gtFine/val/site6/site6_000001_009800_gtFine.png")
    for name, spec in data.tasks.items():
        expected = np.array([*spec.class_of_id, *[255] * 216])[mask]
        np.testing.assert_array_equal(targets[name].numpy(), expected)
    assert (targets["fish"] == 1).sum() == (mask == 9).sum() > 0
