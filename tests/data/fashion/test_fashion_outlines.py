import math

import numpy as np
import pytest
import shapely
import torch
from fashion_files import garment, write_fashion_files

from coral_mtl.data.fashion import FashionOutlines
from coral_mtl.data.fashion.outlines import DIRECTIONS, centres_of_mass, hull_radii, hull_support, moved

BAR = (garment(4) > 0)[None]  # 12 pixels wide, 18 high, in the middle


def one(*values):
    return np.array([values if len(values) > 1 else values[0]], dtype=float)


def test_the_hull_of_a_bar_is_the_bar():
    centres = centres_of_mass(BAR)
    assert centres.tolist() == [[14.0, 14.0]]
    support = hull_support(BAR, centres)[0]
    expected = 6 * np.abs(np.cos(DIRECTIONS)) + 9 * np.abs(np.sin(DIRECTIONS))
    assert support == pytest.approx(expected, abs=1e-12)


def test_rays_leave_the_bar_where_they_should():
    support = hull_support(BAR, centres_of_mass(BAR))
    angles = np.array([[0.0, 0.3, math.pi / 2, 2.5, math.pi, 4.4]])
    expected = 1.0 / np.maximum(np.abs(np.cos(angles)) / 6, np.abs(np.sin(angles)) / 9)
    assert hull_radii(support, angles) == pytest.approx(expected, rel=1e-9)


def test_concave_masks_have_the_hull_of_their_pixels():
    mask = np.zeros((1, 28, 28), dtype=bool)
    mask[0, 5:20, 6:9] = mask[0, 17:20, 6:24] = True  # an L
    mask[0, 25, 2] = True  # and a dot apart, with empty rows between
    centres = centres_of_mass(mask)
    rows, columns = np.nonzero(mask[0])
    hull = shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1)).convex_hull
    corners = np.array(hull.exterior.coords) - centres
    expected = (corners @ np.stack([np.cos(DIRECTIONS), np.sin(DIRECTIONS)])).max(axis=0)
    assert hull_support(mask, centres)[0] == pytest.approx(expected, abs=1e-9)


def test_a_mask_moves_by_whole_pixels_without_loss():
    moved_bar = moved(BAR, one(14.0, 14.0), one(1.0), one(0.0), one(18.0, 15.0))
    expected = torch.zeros(1, 1, 32, 32)
    expected[0, 0, 6:24, 12:24] = 1.0
    assert torch.allclose(moved_bar, expected, atol=1e-6)


def test_a_quarter_turn_goes_from_x_to_y():
    mask = np.zeros((1, 28, 28), dtype=bool)
    mask[0, 13:15, 14:20] = True  # to the right of the middle
    turned = moved(mask, one(14.0, 14.0), one(1.0), one(math.pi / 2), one(16.0, 16.0))
    expected = torch.zeros(1, 1, 32, 32)
    expected[0, 0, 16:22, 15:17] = 1.0  # below it, as angles grow from x to y
    assert torch.allclose(turned, expected, atol=1e-5)


def test_targets_surround_their_silhouettes(tmp_path):
    data = FashionOutlines(vertices=32, train_size=40, validation_size=8, path=write_fashion_files(tmp_path))
    middles = np.arange(32) + 0.5
    for index in range(40):
        image, targets = data.train[index]
        ink, polygon = image[0].double().numpy(), shapely.Polygon(32.0 * targets["outline"].double().numpy())
        assert polygon.area == pytest.approx(ink.sum(), rel=0.1)  # a bar is convex, and 32 rays miss little of it
        centre = ink.sum(axis=0) @ middles / ink.sum(), ink.sum(axis=1) @ middles / ink.sum()
        assert (polygon.centroid.x, polygon.centroid.y) == pytest.approx(centre, abs=0.3)
        assert targets["outline"].min() >= -1e-6
        assert targets["outline"].max() <= 1 + 1e-6


def test_items_follow_from_seed_part_and_index(tmp_path):
    folder = write_fashion_files(tmp_path)
    few, many = (FashionOutlines(train_size=n, validation_size=8, path=folder) for n in (8, 40))
    other = FashionOutlines(train_size=8, validation_size=8, path=folder, seed=1)
    for index in range(8):
        assert torch.equal(few.train[index][0], many.train[index][0])
        assert torch.equal(few.train[index][1]["outline"], many.train[index][1]["outline"])
        assert not torch.equal(few.train[index][1]["outline"], other.train[index][1]["outline"])
        assert not torch.equal(few.train[index][1]["outline"], few.validation[index][1]["outline"])


def test_the_first_vertex_is_to_the_right(tmp_path):
    data = FashionOutlines(vertices=6, train_size=20, validation_size=1, path=write_fashion_files(tmp_path))
    outlines = data.train.targets["outline"]
    middles = (outlines[:, 0] + outlines[:, 3])[:, 1] / 2  # vertices 0 and 3 are at one height, that of the centre
    assert torch.allclose(outlines[:, 0, 1], middles, atol=1e-6)
    assert (outlines[:, 0, 0] > outlines[:, 3, 0]).all()
    assert (outlines[:, 1, 1] > outlines[:, 0, 1]).all()
    assert data.tasks["outline"].size == 6
