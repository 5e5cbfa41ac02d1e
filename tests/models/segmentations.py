"""Tasks for the tests of segmentation models, and what every such model must do."""

import torch

from coral_mtl.data.tasks import TaskSpec

TASKS = {
    "genus": TaskSpec("segmentation", 5),
    "health": TaskSpec("segmentation", 4),
    "fish": TaskSpec("segmentation", 2),
}


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def check_shapes(model, sizes):
    for height, width in sizes:
        for task, logits in model(images(2, 3, height, width)).items():
            assert logits.shape == (2, TASKS[task].size, height, width)


def check_inputs_are_left_alone(model):
    inputs = images(1, 3, 40, 64)
    before = inputs.clone()
    features = model.represent(inputs)
    kept = features.map.detach().clone()
    model.predict(features)
    assert torch.equal(inputs, before)
    assert torch.equal(features.map, kept)


def check_two_stages_are_the_whole(model):
    model.eval()
    inputs = images(2, 3, 40, 50)
    whole, staged = model(inputs), model.predict(model.represent(inputs))
    assert all(torch.equal(whole[task], staged[task]) for task in TASKS)


def check_a_batch_has_the_mean_gradient_of_its_parts(model):
    model.double().eval()  # without stochastic depth
    inputs = images(4, 3, 32, 40, dtype=torch.float64)

    def gradient(part):
        model.zero_grad()
        sum(value.square().sum() for value in model(part).values()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    assert torch.allclose(sum(gradient(part) for part in inputs.split(2)), gradient(inputs), rtol=1e-9, atol=1e-9)


def tasks_that_reach(model, named):
    """{parameter name: tasks whose logits depend on it}."""
    reached = {name: set() for name, _ in named}
    for task, logits in model(images(2, 3, 32, 32)).items():
        model.zero_grad(set_to_none=True)
        logits.square().sum().backward(retain_graph=True)
        for name, parameter in named:
            if parameter.grad is not None and parameter.grad.any():
                reached[name].add(task)
    return reached
