import math

import pytest
import torch
from torch import nn

from coral_mtl import registry
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.inference import SlidingWindow, WholeImage

REACH = 3  # two convolutions, of 3 x 3 and of 5 x 5


class Convolutions(nn.Module):
    """Two tasks from convolutions alone, each padded with zeros."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleDict({"a": nn.Conv2d(8, 4, 5, padding=2), "b": nn.Conv2d(8, 2, 5, padding=2)})
        self.sizes = []
        self.to(dtype)

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def images(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def starts(size, window, stride):
    return [*range(0, size - window, stride), size - window]


def undisturbed(size, window, stride, reach):
    """Pixels along a side that no window has within `reach` of an edge that is not the image's."""
    clean = torch.ones(size, dtype=torch.bool)
    for start in starts(size, window, stride):
        if start > 0:
            clean[start : start + reach] = False
        if start + window < size:
            clean[start + window - reach : start + window] = False
    return clean


@pytest.mark.parametrize(("window", "stride"), [(32, 32), (32, 20), (24, 12), (40, 11)])
def test_away_from_the_windows_borders_it_is_one_pass_over_the_whole_image(window, stride):
    model, batch = Convolutions(), images(2, 3, 61, 83)
    found = SlidingWindow(window=window, stride=stride, batch_size=3)(model, batch)
    whole = WholeImage()(model, batch)
    clean = torch.outer(undisturbed(61, window, stride, REACH), undisturbed(83, window, stride, REACH))
    assert clean[:REACH, :REACH].all(), "the image's own corners are the same"
    assert clean.float().mean() > 0.02
    for task in whole:
        assert found[task].shape == whole[task].shape
        assert (found[task] - whole[task])[:, :, clean].abs().max() < 1e-5
        assert (found[task] - whole[task])[:, :, ~clean].abs().max() > 1e-2, "elsewhere a window's edge is seen"


def test_a_model_without_context_gives_exactly_the_whole_image():
    model = Convolutions()
    model.trunk, model.heads = nn.Identity(), nn.ModuleDict({"a": nn.Conv2d(3, 4, 1)})
    batch = images(1, 3, 50, 37)
    found = SlidingWindow(window=16, stride=5)(model, batch)["a"]
    torch.testing.assert_close(found, model(batch)["a"].detach(), atol=1e-6, rtol=0)


def test_every_pixel_is_the_weighted_mean_of_the_windows_that_hold_it():
    model, batch = Convolutions(torch.float64), images(2, 3, 20, 26, dtype=torch.float64)
    window, stride = 12, 7
    sums, totals = torch.zeros(2, 4, 20, 26, dtype=torch.float64), torch.zeros(20, 26)
    for y in starts(20, window, stride):
        for x in starts(26, window, stride):
            logits = model(batch[:, :, y : y + window, x : x + window])["a"].detach()
            for i in range(window):
                for j in range(window):
                    weight = min(i + 1, window - i) * min(j + 1, window - j)
                    sums[:, :, y + i, x + j] += weight * logits[:, :, i, j]
                    totals[y + i, x + j] += weight
    assert totals.min() > 0
    found = SlidingWindow(window=window, stride=stride)(model, batch)["a"]
    torch.testing.assert_close(found, sums / totals, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(30, 30), (32, 32), (9, 70), (70, 9), (1, 1), (33, 32)])
def test_images_of_any_size(shape):
    model, batch = Convolutions(), images(1, 3, *shape)
    found = SlidingWindow(window=32, stride=16)(model, batch)
    assert found["a"].shape == (1, 4, *shape)
    assert all(size[-2:] == (min(32, shape[0]), min(32, shape[1])) for size in model.sizes)
    if max(shape) <= 32:
        torch.testing.assert_close(found["a"], model(batch)["a"].detach(), atol=1e-5, rtol=0)


def test_the_batch_of_windows_changes_nothing_and_is_never_exceeded():
    batch = images(3, 3, 40, 40)
    results = []
    for size in (1, 4, 100):
        model = Convolutions()
        results.append(SlidingWindow(window=16, stride=8, batch_size=size)(model, batch)["b"])
        windows = 3 * math.ceil((40 - 16) / 8 + 1) ** 2
        assert sum(sizes[0] for sizes in model.sizes) == windows
        assert max(sizes[0] for sizes in model.sizes) == min(size, windows)
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(results[0], results[2], atol=1e-6, rtol=0)


def test_half_precision_is_summed_up_in_float32():
    model, batch = Convolutions(torch.bfloat16), images(1, 3, 40, 40).bfloat16()
    found = SlidingWindow(window=16, stride=3)(model, batch)["a"]
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert not torch.equal(found, found.bfloat16().float()), "blended values have more digits than the model's"


def test_half_the_window_is_the_stride_unless_told():
    assert SlidingWindow(window=64).stride == 32
    assert SlidingWindow(window=1).stride == 1


def test_a_stride_with_gaps_is_refused():
    with pytest.raises(ConfigError, match="gaps") as raised:
        SlidingWindow(window=32, stride=33)
    assert raised.value.option == "stride"


def test_a_model_that_does_not_predict_pixels_is_told():
    class Pooled(nn.Module):
        def forward(self, batch):
            return {"kind": batch.mean(dim=(2, 3))}

    with pytest.raises(DataError, match="the task 'kind' in 1 windows of 16 x 16 pixels"):
        SlidingWindow(window=16)(Pooled(), images(1, 3, 16, 16))


def test_configurations_find_both_ways_and_check_their_options():
    assert registry.inference.names() == ["SlidingWindow", "WholeImage"]
    with pytest.raises(ConfigError, match="window = 0"):
        registry.inference.get("sliding_window")(window=0)
