import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch.nn import functional

from coral_mtl.data.segmentation import Augmentations
from coral_mtl.data.segmentation.drawing import GREY, Colour, Draw
from coral_mtl.errors import ConfigError

FRAME = (90, 120)
EVERYTHING = {
    "resized_crop": (0.5, 2.0),
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "rotation": 25.0,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 0.1,
    "blur": 1.5,
}


def generator(seed):
    return np.random.default_rng(seed)


def whole(size, **changes):
    return Draw(size, 0, 0, *size, **changes)


def noise(size, seed=0):
    return torch.from_numpy(generator(seed).integers(0, 256, (3, *size)).astype(np.uint8))


def test_everything_is_off_by_default():
    image, mask = noise(FRAME), noise(FRAME)[0]
    draw = Augmentations().draw(generator(0), FRAME, FRAME)
    assert torch.equal(draw.of_image(image), image / 255)
    assert torch.equal(draw.of_mask(mask), mask)


def test_a_draw_depends_on_the_generator_alone():
    every = Augmentations(**EVERYTHING)
    assert every.draw(generator(3), FRAME, (64, 64)) == every.draw(generator(3), FRAME, (64, 64))
    assert every.draw(generator(3), FRAME, (64, 64)) != every.draw(generator(4), FRAME, (64, 64))


@pytest.mark.parametrize("name", EVERYTHING)
def test_switching_one_augmentation_off_leaves_the_others_alone(name):
    every, without = (
        Augmentations(**options) for options in (EVERYTHING, {k: v for k, v in EVERYTHING.items() if k != name})
    )
    own = {
        "resized_crop": {"top", "left", "height", "width"},
        "horizontal_flip": {"mirror"},
        "vertical_flip": {"tip"},
        "rotation": {"angle"},
        "blur": {"blur"},
    }.get(name, {"colour"})
    changed = set()
    for seed in range(40):
        first, second = (each.draw(generator(seed), FRAME, (64, 64)) for each in (every, without))
        changed |= {field.name for field in fields(Draw) if getattr(first, field.name) != getattr(second, field.name)}
        if own == {"colour"}:
            neutral = {name: getattr(Colour(), name)}
            assert replace(first.colour, **neutral) == second.colour
    assert changed == own


def test_draws_fill_their_ranges():
    draws = [Augmentations(**EVERYTHING).draw(generator(seed), (900, 1200), (300, 400)) for seed in range(3000)]
    factors = np.array([300 / draw.height for draw in draws])
    assert 0.5 <= factors.min() < 0.505
    assert 1.98 < factors.max() <= 2.0
    assert abs(np.median(factors) - 1.0) < 0.05, "even in the logarithm"
    assert all(abs(300 / draw.height - 400 / draw.width) < 0.01 for draw in draws), "the shape is kept"
    assert all(0 <= draw.top <= 900 - draw.height and 0 <= draw.left <= 1200 - draw.width for draw in draws)
    tops = np.array([draw.top / (900 - draw.height) for draw in draws])
    assert abs(tops.mean() - 0.5) < 0.02
    for values, centre, reach in (
        ([draw.angle for draw in draws], 0.0, 25.0),
        ([draw.colour.brightness for draw in draws], 1.0, 0.3),
        ([draw.colour.contrast for draw in draws], 1.0, 0.3),
        ([draw.colour.saturation for draw in draws], 1.0, 0.3),
        ([draw.colour.hue for draw in draws], 0.0, 0.1),
        ([draw.blur for draw in draws], 0.75, 0.75),
    ):
        assert centre - reach <= min(values) < centre - 0.99 * reach
        assert centre + 0.99 * reach < max(values) <= centre + reach
    for flips in ([draw.mirror for draw in draws], [draw.tip for draw in draws]):
        assert abs(np.mean(flips) - 0.5) < 0.03


def test_a_piece_never_exceeds_its_frame():
    outwards = Augmentations(resized_crop=(0.1, 0.2))
    draw = outwards.draw(generator(0), (90, 120), (60, 60))
    assert (draw.top, draw.height, draw.width) == (0, 90, 90)
    assert outwards.draw(generator(0), FRAME, FRAME).height == FRAME[0]


def test_image_and_mask_stay_aligned_within_half_a_pixel():
    """Colours and ids that are coordinates: both tell where a pixel comes from."""
    height, width = FRAME
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(FRAME)
    columns = torch.arange(width, dtype=torch.uint8).expand(FRAME)
    image = torch.stack([rows, columns, rows])
    geometry = Augmentations(
        **{k: EVERYTHING[k] for k in ("resized_crop", "horizontal_flip", "vertical_flip", "rotation")}
    )
    for seed in range(100):
        draw = geometry.draw(generator(seed), FRAME, (64, 64))
        colours = draw.of_image(image) * 255
        inside = functional.max_pool2d((draw.of_mask(rows) == 255)[None].float(), 5, 1, 2)[0] == 0
        inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = False, False, False, False
        scale = draw.height / 64
        for channel, coordinates in ((0, rows), (1, columns)):
            ids = draw.of_mask(coordinates).float()
            apart = (colours[channel] - ids)[inside].abs()
            assert apart.max() <= 0.5 + 0.75 * scale
            assert (colours[channel] - ids)[inside].mean().abs() <= 0.05 + 0.05 * scale, "no shift between the two"


@pytest.mark.parametrize("angle", [90.0, -90.0, 180.0])
def test_a_quarter_turn_is_exact(angle):
    image, mask = noise((31, 31)), noise((31, 31), 1)[0]
    draw = whole((31, 31), angle=angle)
    turns = round(angle / 90)
    assert torch.equal(draw.of_mask(mask), torch.rot90(mask, turns))
    torch.testing.assert_close(draw.of_image(image), torch.rot90(image, turns, (1, 2)) / 255, atol=1e-4, rtol=0)


def test_what_comes_from_outside_is_ignored():
    image, mask = torch.full((3, 60, 80), 255, dtype=torch.uint8), torch.full((60, 80), 7, dtype=torch.uint8)
    draw = whole((60, 80), angle=30.0)
    turned = draw.of_mask(mask)
    assert set(turned.unique().tolist()) == {7, 255}
    inside = 0
    for row in range(60):  # the definition, pixel by pixel
        for column in range(80):
            down, right = row - 29.5, column - 39.5
            angle = math.radians(30.0)
            source_row = math.cos(angle) * down + math.sin(angle) * right + 29.5
            source_column = math.cos(angle) * right - math.sin(angle) * down + 39.5
            expected = -0.5 < source_row < 59.5 and -0.5 < source_column < 79.5
            assert (turned[row, column] == 7) == expected
            inside += expected
    assert 0.7 < inside / 4800 < 0.9
    far = functional.max_pool2d((turned == 7)[None].float(), 3, 1, 1)[0] == 0
    assert far.any()
    assert (draw.of_image(image)[:, far] == 0).all()


def test_flips():
    image, mask = noise(FRAME), noise(FRAME, 1)[0]
    assert torch.equal(whole(FRAME, mirror=True).of_mask(mask), mask.flip(1))
    assert torch.equal(whole(FRAME, tip=True).of_mask(mask), mask.flip(0))
    assert torch.equal(whole(FRAME, mirror=True, tip=True).of_image(image), image.flip(1, 2) / 255)


def test_a_piece_is_scaled_to_the_patch_and_ids_are_never_mixed():
    mask = torch.tensor([[1, 1, 30, 30], [1, 1, 30, 30]], dtype=torch.uint8)
    draw = Draw((4, 4), 0, 1, 2, 2)
    assert torch.equal(draw.of_mask(mask), torch.tensor([[1, 1, 30, 30]] * 4, dtype=torch.uint8))
    image = (mask * 8).expand(3, 2, 4)
    assert torch.allclose(draw.of_image(image)[0, 0] * 255, torch.tensor([8.0, 66.0, 182.0, 240.0]))


@pytest.mark.parametrize(
    ("colour", "enhance", "factor"),
    [
        (Colour(brightness=0.6), ImageEnhance.Brightness, 0.6),
        (Colour(brightness=1.7), ImageEnhance.Brightness, 1.7),
        (Colour(contrast=0.4), ImageEnhance.Contrast, 0.4),
        (Colour(contrast=1.8), ImageEnhance.Contrast, 1.8),
        (Colour(saturation=0.0), ImageEnhance.Color, 0.0),
        (Colour(saturation=1.9), ImageEnhance.Color, 1.9),
    ],
)
def test_colours_are_those_of_pillow(colour, enhance, factor):
    image = noise((40, 50))
    expected = np.asarray(enhance(Image.fromarray(image.permute(1, 2, 0).numpy())).enhance(factor))
    found = colour(image / 255).permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(found, expected.astype(float), atol=2.5)  # pillow rounds greys and results to bytes


def test_changes_of_colour_are_made_in_order():
    image = 0.3 + 0.3 * torch.rand((3, 10, 12), generator=torch.Generator().manual_seed(0))  # nothing is clipped
    combined = Colour(1.1, 0.8, 1.2, 0.03)(image)
    in_turn = Colour(hue=0.03)(Colour(saturation=1.2)(Colour(contrast=0.8)(Colour(brightness=1.1)(image))))
    torch.testing.assert_close(combined, in_turn, atol=1e-6, rtol=0)


def test_a_turn_of_the_hue_leaves_greys_and_brightness_alone():
    weights = torch.tensor(GREY)[:, None, None]
    image = 0.4 + 0.2 * torch.rand((3, 10, 12), generator=torch.Generator().manual_seed(0))
    turned = Colour(hue=0.5)(image)
    grey = (weights * image).sum(0)
    torch.testing.assert_close((weights * turned).sum(0), grey, atol=1e-6, rtol=0)
    torch.testing.assert_close(turned - grey, grey - image, atol=1e-5, rtol=0)  # half a turn: the complement
    torch.testing.assert_close(Colour(hue=0.2)(grey.expand(3, -1, -1)), grey.expand(3, -1, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close(Colour(hue=1.0)(image), image, atol=1e-6, rtol=0)


def test_blur_is_a_gaussian():
    image = noise((20, 24))
    blurred = whole((20, 24), blur=1.3).of_image(image)
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.3) ** 2)
    kernel = torch.from_numpy(np.outer(kernel, kernel) / kernel.sum() ** 2)
    padded = functional.pad(image[None].double() / 255, (4, 4, 4, 4), mode="reflect")
    expected = functional.conv2d(padded, kernel.expand(3, 1, 9, 9), groups=3)[0]
    torch.testing.assert_close(blurred.double(), expected, atol=1e-6, rtol=0)


def test_the_number_of_threads_makes_no_difference():
    draws = [Augmentations(**EVERYTHING).draw(generator(seed), (300, 400), (256, 256)) for seed in range(3)]
    image = noise((300, 400))
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append([draw.of_image(image) for draw in draws])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, many) for one, many in zip(*found, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"rotation": -1.0},
        {"rotation": 181.0},
        {"hue": 0.6},
        {"brightness": 1.5},
        {"blur": -1.0},
        {"flip": 0.5},
        {"resized_crop": (0.0, 1.0)},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Augmentations(**options)


def test_factors_in_the_wrong_order_are_refused():
    with pytest.raises(ConfigError, match=r"write \[0.5, 2\]"):
        Augmentations(resized_crop=(2.0, 0.5))
