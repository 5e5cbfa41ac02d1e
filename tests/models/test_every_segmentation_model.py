"""What every segmentation model must do."""

import pytest
import torch
from segmentations import SMALL, TASKS, images, small


@pytest.fixture(params=SMALL)
def model(request):
    return small(request.param)


@pytest.mark.parametrize("size", [(32, 32), (32, 40), (37, 51), (3, 70), (1, 1), (120, 160)])
def test_images_of_any_size(model, size):
    predictions = model(images(2, 3, *size))
    assert {task: logits.shape for task, logits in predictions.items()} == {
        task: (2, spec.size, *size) for task, spec in TASKS.items()
    }


def test_inputs_are_left_alone(model):
    inputs = images(1, 3, 40, 64)
    before = inputs.clone()
    features = model.represent(inputs)
    kept = features.map.detach().clone()
    model.predict(features)
    assert torch.equal(inputs, before)
    assert torch.equal(features.map, kept)


def test_two_stages_are_the_whole(model):
    model.eval()
    inputs = images(2, 3, 40, 50)
    whole, staged = model(inputs), model.predict(model.represent(inputs))
    assert all(torch.equal(whole[task], staged[task]) for task in TASKS)


def test_a_batch_has_the_mean_gradient_of_its_parts(model):
    model.double().eval()  # without stochastic depth
    inputs = images(4, 3, 32, 40, dtype=torch.float64)

    def gradient(part):
        model.zero_grad()
        sum(value.square().sum() for value in model(part).values()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    assert torch.allclose(sum(gradient(part) for part in inputs.split(2)), gradient(inputs), rtol=1e-9, atol=1e-9)
