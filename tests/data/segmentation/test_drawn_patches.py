import pytest
import torch

from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.data.segmentation import Augmentations, Coralscapes
from coral_mtl.engine.batches import Batches

EPOCHS = 3


@pytest.fixture
def build(tree):
    augmentations = Augmentations(
        resized_crop=(0.8, 1.5), horizontal_flip=0.5, rotation=30.0, brightness=0.2, saturation=0.3, hue=0.1, blur=1.0
    )
    return lambda: Coralscapes(augmentations, tasks=tree.tasks, path=tree.frames, patch_size=16).train


def batches(dataset, sampler, workers):
    return Batches(dataset, sampler, batch_size=3, num_workers=workers, device=torch.device("cpu"))


def run(dataset, workers=0, seed=5, after=None):
    """The batches of some epochs, from where `after`, a sampler's state, stands."""
    sampler = ResumableSampler(len(dataset), seed=seed)
    if after is not None:
        sampler.load_state_dict(after)
    loader = batches(dataset, sampler, workers)
    seen = []
    for epoch in range(sampler.epoch, EPOCHS):
        seen.append(list(loader))
        sampler.set_epoch(epoch + 1)
    return seen


def same(one, other):
    return torch.equal(one[0], other[0]) and all(torch.equal(one[1][task], other[1][task]) for task in one[1])


def test_a_draw_is_a_function_of_seed_epoch_and_index(build):
    first, second = build(), build()
    second.set_epoch(7, seed=2)
    for index in (3, 0, 1):
        second[index]  # what was drawn before makes no difference
    first.set_epoch(7, seed=2)
    assert same(first[2], second[2])
    for epoch, seed, index in ((8, 2, 2), (7, 3, 2), (7, 2, 1)):
        second.set_epoch(epoch, seed=seed)
        assert not torch.equal(first[2][0], second[index][0])


def test_workers_see_what_one_process_sees_in_every_epoch(build):
    alone, shared = run(build()), run(build(), workers=2)
    for epoch in range(EPOCHS):
        assert all(same(one, other) for one, other in zip(alone[epoch], shared[epoch], strict=True))
    items = [batch[0] for epoch in alone for batch in epoch]
    assert not any(torch.equal(items[0], other) for other in items[2::2]), "every epoch draws anew"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_sees_the_samples_of_the_whole_one(build, workers):
    whole = run(build())
    resumed = run(build(), workers, after={"length": 4, "seed": 5, "epoch": 1, "position": 3})
    assert same(resumed[0][0], whole[1][1])
    assert len(resumed[0]) == 1
    assert all(same(one, other) for one, other in zip(resumed[1], whole[2], strict=True))


def test_the_seed_of_the_run_reaches_the_draws(build):
    order = torch.arange(4)
    dataset = build()
    found = []
    for seed in (1, 2):
        sampler = ResumableSampler(4, seed=seed, shuffle=False)
        found.append(torch.cat([inputs for inputs, _ in batches(dataset, sampler, 0)])[order])
    assert not any(torch.equal(one, other) for one, other in zip(*found, strict=True))
