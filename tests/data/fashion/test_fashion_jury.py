import pytest
import torch
from fashion_files import garment, write_fashion_files

from coral_mtl.data.fashion import FashionJury
from coral_mtl.data.fashion.distortions import DISTORTIONS, distorted
from coral_mtl.data.fashion.jury import choice_of_second, gradient_similarity, structural_similarity, unlikeness


@pytest.fixture
def images():
    return torch.stack([torch.from_numpy(garment(label) / 255.0) for label in range(10)]).float()[:, None]


@pytest.mark.parametrize("kind", range(len(DISTORTIONS)), ids=[each.__name__ for each in DISTORTIONS])
def test_stronger_distortions_are_further_away(images, kind):
    levels = [
        unlikeness(
            images,
            distorted(images, torch.full((10,), kind), torch.full((10,), strength), torch.Generator().manual_seed(0)),
        ).mean()
        for strength in (0.0, 0.5, 1.0)
    ]
    assert 0.0 < levels[0] < levels[1] < levels[2]


def test_an_image_is_like_itself(images):
    for similarity in (structural_similarity, gradient_similarity):
        assert torch.allclose(similarity(images, images), torch.ones(10), atol=1e-6)
    assert unlikeness(images, images).abs().max() < 1e-5


def test_structural_similarity_of_constant_images_is_that_of_their_brightness():
    dark, bright = torch.full((1, 1, 9, 9), 0.2), torch.full((1, 1, 9, 9), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert structural_similarity(dark, bright).item() == pytest.approx(expected, rel=1e-3)


def test_swapped_copies_are_chosen_the_other_way_round(images):
    generator = torch.Generator().manual_seed(1)
    first, second = (distorted(images, torch.arange(10) % 6, torch.rand(10), generator) for _ in range(2))
    chances = choice_of_second(images, first, second)
    assert torch.allclose(chances + choice_of_second(images, second, first), torch.ones(10), atol=1e-6)
    assert (choice_of_second(images, images, first) < 0.5).all(), "the reference itself is the better copy"


def test_items_are_triplets_with_the_share_of_the_judges(tmp_path):
    folder = write_fashion_files(tmp_path)
    data, again = (FashionJury(train_size=40, validation_size=30, path=folder) for _ in range(2))
    triplet, targets = data.train[3]
    assert triplet.shape == data.input_shape == (3, 1, 28, 28)
    assert torch.equal(triplet[0, 0], torch.from_numpy(garment(3) / 255.0).float() * 2 - 1)
    assert set(data.train.targets["judge"].tolist()) <= {0.0, 0.5, 1.0}
    assert {round(5 * vote) for vote in data.validation.targets["judge"].tolist()} <= set(range(6))
    assert torch.equal(triplet, again.train[3][0])
    assert targets["judge"] == again.train[3][1]["judge"]
    assert (data.train.inputs.min(), data.train.inputs.max()) == (-1.0, 1.0)
