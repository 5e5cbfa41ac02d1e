from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.errors import CheckpointError


def test_each_epoch_has_every_item_once_in_an_order_of_its_own():
    sampler = ResumableSampler(97, seed=3)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
        assert sorted(orders[-1]) == list(range(97))
    other_seed = tuple(ResumableSampler(97, seed=4))
    assert len({*orders, other_seed, tuple(range(97))}) == 6


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    visited = ResumableSampler(50, seed=1)
    for epoch in (0, 7, 2):
        visited.set_epoch(epoch)
        list(visited)
    torch.rand(3)
    visited.set_epoch(7)
    fresh = ResumableSampler(50, seed=1)
    fresh.set_epoch(7)
    assert list(visited) == list(fresh)


def test_without_shuffling_items_come_in_their_order():
    sampler = ResumableSampler(5, shuffle=False)
    sampler.set_epoch(3)
    sampler.skip(2)
    assert list(sampler) == [2, 3, 4]


def test_an_iteration_begins_behind_what_was_skipped():
    sampler = ResumableSampler(20, seed=2)
    whole = list(sampler)
    sampler.skip(6)
    sampler.skip(3)
    begun = iter(sampler)
    sampler.skip(5)
    assert list(begun) == whole[9:]
    assert list(sampler) == whole[14:]
    assert len(sampler) == 20
    sampler.set_epoch(0)
    assert list(sampler) == whole


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_goes_on_where_the_state_was_taken(num_workers):
    dataset = TensorDataset(torch.arange(23))

    def loader(sampler):
        return DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=num_workers)

    first = ResumableSampler(23, seed=5)
    first.set_epoch(2)
    whole = [batch.tolist() for (batch,) in loader(first)]
    for (batch,) in islice(loader(first), 3):
        first.skip(len(batch))
    resumed = ResumableSampler(23, seed=5)
    resumed.load_state_dict(first.state_dict())
    assert [batch.tolist() for (batch,) in loader(resumed)] == whole[3:]
    assert resumed.epoch == 2
    assert len(whole[-1]) == 3


@pytest.mark.parametrize(("other", "problem"), [((24, 5), "length 23"), ((23, 6), "seed 5")])
def test_a_place_among_other_items_is_refused(other, problem):
    state = ResumableSampler(23, seed=5).state_dict()
    length, seed = other
    with pytest.raises(CheckpointError, match=problem):
        ResumableSampler(length, seed=seed).load_state_dict(state)
