import numpy as np
import pytest
import torch
from PIL import Image

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.evaluation.images import EvaluatedImage, Segmented, names_of, picture_of
from coral_mtl.evaluation.overlays import Overlays, draw, painted
from coral_mtl.evaluation.palette import palette, seen
from coral_mtl.metrics.segmentation.levels import levels_of

SPEC = TaskSpec("segmentation", 4, labels=("unlabeled", "acropora", "porites", "an alga with a rather long name"))
LEVEL = levels_of(SPEC)[0]


def test_named_classes_are_painted_and_the_rest_shows_the_picture_in_grey():
    picture = np.full((1, 4, 3), (30, 60, 90), dtype=np.uint8)
    found = painted(picture, np.array([[0, 1, 2, 3]]), LEVEL.named)
    colours = palette(4)
    assert found[0, 0].tolist() == [60, 60, 60]
    for index in (1, 2, 3):
        assert found[0, index].tolist() == np.round(0.3 * 60 + 0.7 * colours[index]).tolist()


def test_elements_without_a_label_are_striped():
    classes = np.full((16, 32), -1)
    found = painted(np.zeros((16, 32, 3), dtype=np.uint8), classes, LEVEL.named)
    assert {tuple(colour) for colour in found.reshape(-1, 3).tolist()} == {(0, 0, 0), (225, 225, 225)}


@pytest.mark.parametrize(("size", "width"), [((20, 30), 630), ((700, 1400), 640), ((5, 640), 640)])
def test_panels_are_as_wide_as_can_be_read(size, width):
    classes = np.zeros(size, dtype=np.int16)
    drawn = draw(np.zeros((*size, 3), dtype=np.uint8), Segmented(LEVEL, classes, classes), "a title")
    assert drawn.width == 3 * width + 40


def colours_below(drawn, height):
    pixels = np.asarray(drawn)[height:].reshape(-1, 3)
    return {tuple(colour) for colour in pixels.tolist()}


def test_the_legend_has_the_classes_that_are_there_and_no_others():
    true, predicted = (
        np.array([[0, 1], [-1, 1]]).repeat(32, 0).repeat(32, 1),
        np.array([[1, 2]] * 2).repeat(32, 0).repeat(32, 1),
    )
    drawn = draw(np.full((64, 64, 3), 17, dtype=np.uint8), Segmented(LEVEL, true, predicted), "t")
    below = colours_below(drawn, 10 + 2 * 24 + 640 + 10)
    colours = [tuple(colour) for colour in palette(4).tolist()]
    assert {colours[1], colours[2], (128, 128, 128), (225, 225, 225)} <= below
    assert colours[3] not in below


def test_a_long_legend_goes_on_in_another_line():
    labels = tuple(f"class number {index} of a great many" for index in range(39))
    level = levels_of(TaskSpec("segmentation", 39, labels=labels))[0]
    classes = np.arange(39)[None].repeat(20, axis=0)
    drawn = draw(np.zeros((20, 39, 3), dtype=np.uint8), Segmented(level, classes, classes), "t")
    one = draw(np.zeros((20, 39, 3), dtype=np.uint8), Segmented(level, classes * 0, classes * 0), "t")
    assert drawn.height >= one.height + 4 * 24
    colours = {tuple(colour) for colour in palette(39).tolist()}
    assert colours <= colours_below(drawn, one.height - 24)
    assert colours_below(drawn, 0) >= colours


def test_names_of_files_sort_like_the_images(tmp_path):
    overlays = Overlays(tmp_path / "overlays", images=101, most=2)
    classes = np.zeros((4, 4), dtype=np.int16)
    for index in range(101):
        segmented = {"grouped": Segmented(LEVEL, classes, classes)}
        overlays.add(EvaluatedImage(index, "a name", torch.zeros(3, 4, 4), {"genus": segmented}))
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == ["000_genus.png", "100_genus.png"]
    with Image.open(tmp_path / "overlays/000_genus.png") as picture:
        picture.verify()


def test_normalised_images_are_brought_back():
    image = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (image - mean[:, None, None]) / deviation[:, None, None]
    expected = (image * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(picture_of(image), expected)
    np.testing.assert_allclose(picture_of(normalised).astype(int), expected.astype(int), atol=1)
    assert picture_of(torch.rand(1, 5, 6)).shape == (5, 6, 3)


def test_items_without_names_are_numbered():
    assert list(names_of([None, None])) == ["item 0", "item 1"]


def test_colours_stay_apart_for_every_kind_of_sight_and_do_not_change_with_their_number():
    colours = palette(20)
    lab = seen(colours)
    apart = np.linalg.norm(lab[:, :, None] - lab[:, None], axis=-1)
    apart[:, np.eye(20, dtype=bool)] = np.inf
    assert apart.min() > 0.07, "OKLab: a just noticeable difference is about 0.02"
    assert apart[:, :8, :8].min() > 0.075
    for count in (0, 1, 3, 7, 12):
        np.testing.assert_array_equal(palette(count), colours[:count])


def test_the_coordinates_are_those_of_oklab():
    white, red = seen(np.array([[255, 255, 255], [255, 0, 0]]))[0]
    np.testing.assert_allclose(white, [1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(red, [0.627955, 0.224863, 0.125846], atol=1e-5)
    grey = seen(np.array([[90, 90, 90]]))
    np.testing.assert_allclose(grey[:, 0], np.tile(grey[0, 0], (4, 1)), atol=1e-4)  # grey looks the same to all
