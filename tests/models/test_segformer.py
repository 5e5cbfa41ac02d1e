import pytest
import torch
from segmentations import TASKS, images, small
from torch import nn

from coral_mtl import registry
from coral_mtl.errors import ConfigError, MissingExtraError
from coral_mtl.models.segmentation import SegFormerBaseline
from coral_mtl.models.segmentation.fusion import AllMLPFusion
from coral_mtl.models.segmentation.segformer import SegFormerEncoder

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("mit_b0", 3.4), ("mit_b1", 13.1), ("mit_b2", 24.2), ("mit_b3", 44.0), ("mit_b4", 60.8), ("mit_b5", 81.4)],
)
def test_encoders_have_the_sizes_of_the_paper(backbone, millions):
    """Table 1a of Xie et al. 2021, in which the classifier of 1000 ImageNet classes is not counted."""
    with torch.device("meta"):
        encoder = SegFormerEncoder(backbone, 3, None)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, rel=0.03)


def test_maps_have_their_strides():
    maps = SegFormerEncoder("mit_b0", 3, None)(images(2, 3, 64, 96))
    assert [tuple(each.shape) for each in maps] == [(2, 32, 16, 24), (2, 64, 8, 12), (2, 160, 4, 6), (2, 256, 2, 3)]


def test_the_fusion_is_that_of_the_paper():
    """Each map projected with a bias, enlarged, all four mixed by a second layer: the same function of the maps."""
    torch.manual_seed(0)
    channels, width = (3, 5, 7, 9), 8
    maps = [torch.randn(2, c, 16 >> stage, 24 >> stage) for stage, c in enumerate(channels)]
    first = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
    mix = nn.Conv2d(4 * width, width, 1, bias=False)
    ours = AllMLPFusion(channels, width)
    parts = mix.weight.detach().flatten(1).split(width, dim=1)
    for own, layer, part in zip(ours.projections, first, parts, strict=True):
        own.weight.data = (part @ layer.weight.detach().flatten(1))[:, :, None, None]
    ours.projections[0].bias.data = sum(part @ layer.bias.detach() for layer, part in zip(first, parts, strict=True))
    enlarged = [
        nn.functional.interpolate(layer(each), size=(16, 24), mode="bilinear")
        for layer, each in zip(first, maps, strict=True)
    ]
    assert torch.allclose(ours(maps), torch.relu(ours.norm(mix(torch.cat(enlarged, dim=1)))), atol=1e-5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(5)
    config = transformers.SegformerConfig(num_labels=7)  # as nvidia/mit-b0: an encoder and a classifier
    network = transformers.SegformerForImageClassification(config)
    network.save_pretrained(folder)
    return folder, network.segformer.eval()


@pytest.mark.parametrize("model", ["SegFormerBaseline", "CoralMTL"])
def test_weights_of_a_folder(weights, model):
    folder, network = weights
    encoder = registry.models.get(model)((3, 32, 32), TASKS, pretrained=str(folder)).encoder.eval()
    inputs = images(1, 3, 64, 64)
    theirs = network(inputs, output_hidden_states=True).hidden_states
    assert all(torch.equal(a, b) for a, b in zip(encoder(inputs), theirs, strict=True))


def test_weights_of_another_network(weights, tmp_path):
    folder, _ = weights
    with pytest.raises(ConfigError, match=r"not those of mit_b2: depths is \[2, 2, 2, 2\] instead of \[3, 4, 6, 3\]"):
        small("SegFormerBaseline", backbone="mit_b2", pretrained=str(folder))
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="not those of mit_b0: model_type is bert instead of segformer"):
        small("SegFormerBaseline", pretrained=str(tmp_path))


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="that folder gives none"):
        small("SegFormerBaseline", pretrained=str(tmp_path))
    with pytest.raises(ConfigError, match="no folder of that name, and the Hugging Face hub gives none"):
        small("SegFormerBaseline", pretrained="nobody/has-this")


@pytest.mark.parametrize("damage", ["cut off", "garbage", "code", "empty"])
def test_weights_that_are_damaged_or_more_than_tensors(weights, tmp_path, damage):
    folder, _ = weights
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    good = (folder / "model.safetensors").read_bytes()
    if damage == "code":
        torch.save({"stages.0": tmp_path}, tmp_path / "pytorch_model.bin")
    elif damage == "empty":
        (tmp_path / "pytorch_model.bin").write_bytes(b"")
    else:
        (tmp_path / "model.safetensors").write_bytes(good[: len(good) // 2] if damage == "cut off" else b"garbage")
    with pytest.raises(ConfigError, match="that folder gives none that can be read"):
        small("SegFormerBaseline", pretrained=str(tmp_path))


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'coral-mtl\[segmentation\]'"):
        SegFormerBaseline((3, 32, 32), TASKS)


@pytest.mark.parametrize("options", [{"backbone": "mit_b9"}, {"decoder_channel": 0}, {"pretrained": 3}])
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        small("SegFormerBaseline", **options)
