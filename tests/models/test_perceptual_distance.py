from importlib.util import find_spec

import pytest
import torch
from perceptual_values import CONTENT, Formula, exact, numbered, wave
from torch import nn

from coral_mtl.errors import DataError
from coral_mtl.losses.perceptual import PARADIGMS, Recipe
from coral_mtl.models.perceptual import ImageScaling, PerceptualDistance, load_lpips_weights, lpips_weights
from coral_mtl.models.perceptual.distance import unit_vectors
from coral_mtl.parameters import apply_rules, parameter_groups
from coral_mtl.schedules import Horizon

SMALL = CONTENT["distance_small"]
NETWORKS = {name: peer["channels"] for name, peer in CONTENT["bundled_weights"].items()}


def small_distance(**options):
    maps = [
        [wave(0.7, 0.1, 2, 3, 4, 4), wave(0.7, 0.2, 2, 4, 2, 2)],
        [wave(0.9, 0.3, 2, 3, 4, 4), wave(1.1, 0.4, 2, 4, 2, 2)],
    ]
    distance = PerceptualDistance(Formula(maps), [3, 4], **options).double()
    for parameter, weights in zip(distance.linear.values(), SMALL["weights"], strict=True):
        parameter.data.copy_(exact(weights))
    return distance


def test_the_distance_and_its_layers_are_those_of_lpips():
    distance = small_distance()
    first, second = distance.features(numbered(0)), distance.features(numbered(1))
    torch.testing.assert_close(distance(numbered(0), numbered(1)), exact(SMALL["distance"]), rtol=0.0, atol=1e-9)
    for layer, expected in zip(distance.by_layer(first, second).values(), SMALL["per_layer"], strict=True):
        torch.testing.assert_close(layer, exact(expected), rtol=0.0, atol=1e-9)
    assert [name for name, _ in distance.named_parameters()] == ["linear.layer_0", "linear.layer_1"]


def test_it_is_symmetric_and_zero_for_equal_images():
    distance = small_distance()
    assert distance(numbered(0), numbered(0)).tolist() == [0.0, 0.0]
    assert torch.equal(distance(numbered(0), numbered(1)), distance(numbered(1), numbered(0)))


def test_triplets_compute_the_reference_once():
    distance, seen = small_distance(), []
    distance.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(int(inputs[0].flatten()[0])))
    first, second = distance.triplet(numbered(0), numbered(1), numbered(0))
    assert seen == [0, 1, 0]
    assert torch.equal(first, distance(numbered(0), numbered(1)))
    assert second.tolist() == [0.0, 0.0]


def test_unit_vectors_against_lpips():
    peer = CONTENT["normalize_tensor"]
    features = exact(peer["x"]).requires_grad_()
    units = unit_vectors(features, 1e-10)
    assert units.flatten().tolist() == pytest.approx(peer["y"], abs=1e-10)
    gradient = torch.autograd.grad(units.sum(), features)[0]
    assert gradient.isfinite().all()  # NaN at the zero vector in lpips
    assert torch.autograd.gradcheck(lambda f: unit_vectors(f, 0.1), features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_gradients_of_features_that_are_zero_are_finite(dtype):
    features = torch.zeros(1, 3, 2, 2, dtype=dtype).requires_grad_()
    other = torch.rand(1, 3, 2, 2).to(dtype)
    distance = (unit_vectors(features, 1e-10) - unit_vectors(other, 1e-10)).square().sum()
    assert distance.dtype == torch.promote_types(dtype, torch.float32)
    if dtype in {torch.float32, torch.float64}:  # 1e10 and infinity are the same in half precision
        assert torch.autograd.grad(distance, features)[0].isfinite().all()


def test_images_are_scaled_as_imagenets_networks_want_them():
    peer = CONTENT["scaling_layer"]
    scaled = ImageScaling()(torch.ones(1, 3, 2, 2))
    expected = [(1 - shift) / scale for shift, scale in zip(peer["shift"], peer["scale"], strict=True)]
    assert scaled[0, :, 1, 1].tolist() == pytest.approx(expected, rel=1e-6)


def test_dropout_keeps_the_mean_and_rests_in_evaluation():
    distance = small_distance(dropout=0.5)
    torch.manual_seed(0)
    whole = distance.eval()(numbered(0), numbered(1))
    torch.testing.assert_close(whole, exact(SMALL["distance"]), rtol=0.0, atol=1e-9)
    distance.train()
    draws = torch.stack([distance(numbered(0), numbered(1)) for _ in range(2000)])
    torch.testing.assert_close(draws.mean(dim=0), whole, rtol=0.02, atol=0.0)
    assert (draws.std(dim=0) > 0.01).all()


def test_a_backbone_may_name_its_maps():
    maps = {"late": wave(0.7, 0.2, 2, 4, 2, 2), "early": wave(0.7, 0.1, 2, 3, 4, 4)}
    distance = PerceptualDistance(lambda images: maps, {"early": 3, "late": 4})
    assert list(distance.features(numbered(0))) == ["early", "late"]
    assert [name for name, _ in distance.named_parameters()] == ["linear.early", "linear.late"]


@pytest.mark.parametrize(
    "maps",
    [
        [wave(1, 1, 2, 3, 4, 4)],
        [wave(1, 1, 2, 3, 4, 4), wave(1, 1, 2, 5, 2, 2)],
        [wave(1, 1, 2, 3, 4, 4), wave(1, 1, 2, 4)],
        [wave(1, 1, 2, 3, 4, 4), wave(1, 1, 2, 4, 2, 2), wave(1, 1, 2, 4, 1, 1)],
        {"early": wave(1, 1, 2, 3, 4, 4), "late": wave(1, 1, 2, 4, 2, 2)},
    ],
)
def test_maps_that_were_not_promised(maps):
    with pytest.raises(DataError, match=r"the backbone gives .* and not maps \(N, C, H, W\) with the channels"):
        PerceptualDistance(lambda images: maps, [3, 4])(numbered(0), numbered(1))


def saved_weights(folder, channels, keys="lin{}.model.1.weight"):
    """A file like those of lpips, and the weights in it."""
    weights = [torch.rand(1, count, 1, 1) for count in channels]
    torch.save({keys.format(layer): w for layer, w in enumerate(weights)}, folder / "alex.pth")
    return folder / "alex.pth", [w.flatten() for w in weights]


def test_weights_of_lpips_are_read(tmp_path):
    path, weights = saved_weights(tmp_path, [3, 4])
    distance = PerceptualDistance(lambda images: [], [3, 4])
    load_lpips_weights(distance, "alex", path=path)
    assert all(torch.equal(own, read) for own, read in zip(distance.linear.values(), weights, strict=True))


def test_the_installed_package_is_found_without_importing_it(tmp_path, monkeypatch):
    folder = tmp_path / "lpips" / "weights" / "v0.0"
    folder.mkdir(parents=True)
    (tmp_path / "lpips" / "__init__.py").write_text("raise RuntimeError('imported')")
    _, weights = saved_weights(folder, [3, 4])
    monkeypatch.syspath_prepend(tmp_path)
    distance = PerceptualDistance(lambda images: [], [3, 4])
    load_lpips_weights(distance, "alex", version="0.0")
    assert torch.equal(distance.linear["layer_1"], weights[1])


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    distance = PerceptualDistance(lambda images: [], [3, 4])
    with pytest.raises(DataError, match=r"for layers of \[3, 5\] channels, and the distance has"):
        load_lpips_weights(distance, "alex", path=saved_weights(tmp_path, [3, 5])[0])
    with pytest.raises(DataError, match="does not hold linear weights of lpips"):
        load_lpips_weights(distance, "alex", path=saved_weights(tmp_path, [3, 4], "weight{}")[0])
    with pytest.raises(DataError, match="does not hold linear weights of lpips"):
        load_lpips_weights(distance, "alex", path=tmp_path / "none.pth")
    for content in ("no weights", ""):
        (tmp_path / "text.pth").write_text(content)
        with pytest.raises(DataError, match="does not hold linear weights of lpips"):
            load_lpips_weights(distance, "alex", path=tmp_path / "text.pth")
    monkeypatch.setattr(lpips_weights, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install --no-deps lpips"):
        load_lpips_weights(distance, "alex")


@pytest.mark.skipif(find_spec("lpips") is None, reason="the package lpips, whose weights these are, is not installed")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_weights_that_lpips_brings_along(network):
    channels = NETWORKS[network]
    maps = [
        [wave(a, b * layer, 2, count, 2, 2) for layer, count in enumerate(channels)]
        for a, b in ((0.7, 0.1), (0.9, 0.2))
    ]
    distance = PerceptualDistance(Formula(maps), channels).double()
    load_lpips_weights(distance, network)
    weights, facts = list(distance.linear.values()), CONTENT["bundled_weights"][network]
    assert sum(w.numel() for w in weights) == facts["parameters"]
    assert [int((w == 0.0).sum()) for w in weights] == facts["exact_zeros"]
    assert [w.sum().item() for w in weights] == pytest.approx(facts["sums"])
    assert min(w.min().item() for w in weights) == pytest.approx(facts["minimum"])
    peer = CONTENT["distance_bundled"][network]
    torch.testing.assert_close(distance(numbered(0), numbered(1)), exact(peer["distance"]), rtol=0.0, atol=1e-9)
    by_layer = distance.by_layer(distance.features(numbered(0)), distance.features(numbered(1)))
    for layer, expected in zip(by_layer.values(), peer["per_layer"], strict=True):
        torch.testing.assert_close(layer, exact(expected), rtol=0.0, atol=1e-9)


class Judge(nn.Module):
    """A model with the names that the paradigms expect."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.linear = nn.ParameterDict({"layer_0": nn.Parameter(torch.ones(4))})
        self.comparison = nn.Linear(5, 1)


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_what_moves_in_each_paradigm(paradigm):
    model, recipe = Judge(), Recipe()
    nn.init.constant_(model.backbone[0].weight, 7.0)
    treated = apply_rules(model, PARADIGMS[paradigm])
    rates = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    groups = parameter_groups(model.named_parameters(), treated, **rates)
    trained = {name for group in groups for name in group["names"]}
    moving = {"linear", "comparison"} if paradigm == "lin" else {"linear", "comparison", "backbone"}
    assert {name.split(".")[0] for name in trained} == moving
    assert {group["lr"] for group in groups} == {1e-4}
    assert bool((model.backbone[0].weight == 7.0).all()) == (paradigm != "scratch")


def test_the_recipe_is_that_of_lpips():
    peer, recipe = CONTENT["trainer"], Recipe()
    assert (recipe.betas, recipe.batch_size) == (tuple(peer["adam_betas"]), peer["batch_size"])
    curve = recipe.schedule.bind(Horizon(recipe.epochs, 1))
    assert [recipe.learning_rate * curve(epoch) for epoch in range(10)] == pytest.approx(peer["lr"], rel=1e-12)
