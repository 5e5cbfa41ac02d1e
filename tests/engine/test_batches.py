import torch
from torch.utils.data import Dataset

from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.batches import Batches, window, with_labels


class Numbers(Dataset):
    """Item i is the number i, twice."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.tensor([float(index)]), {"itself": torch.tensor(index)}


def batches(length, *, workers=0, batch_size=4, skip=0):
    sampler = ResumableSampler(length, seed=1)
    sampler.skip(skip)
    return Batches(Numbers(length), sampler, batch_size=batch_size, num_workers=workers, device=torch.device("cpu"))


def numbers(parts):
    return [[int(number) for number in part[0].flatten()] for part in parts]


def test_batches_are_those_of_the_sampler_from_any_place_and_with_workers():
    whole = numbers(batches(11))
    assert [len(batch) for batch in whole] == [4, 4, 3]
    assert numbers(batches(11, skip=4)) == whole[1:]
    assert numbers(batches(11, workers=2, skip=8)) == whole[2:]


def test_reading_draws_nothing_from_the_global_generator():
    loader = batches(11)
    state = torch.get_rng_state()
    list(loader)
    list(loader)
    assert torch.equal(torch.get_rng_state(), state)


def parts_of(length, **options):
    stream = iter(batches(length))
    return list(window(stream, samples=length, batch_size=4, **options))


TASKS = {"genus": TaskSpec("classification", 3), "fish": TaskSpec("segmentation", 2, ignore_index=255)}
LABELS = {"genus": torch.tensor([-100, 2]), "fish": torch.zeros(2, 4, 4, dtype=torch.long)}
NONE = {"genus": torch.full((2,), -100), "fish": torch.full((2, 4, 4), 255)}


def test_a_task_without_a_label_in_a_batch_is_absent_from_it():
    assert with_labels(LABELS, TASKS, {}) == LABELS
    assert with_labels(LABELS | {"fish": NONE["fish"]}, TASKS, {}) == {"genus": LABELS["genus"]}
    assert with_labels({"genus": NONE["genus"], "depth": LABELS["fish"]}, TASKS, {}) == {"depth": LABELS["fish"]}


def test_a_task_with_labels_that_its_loss_ignores_is_absent_too():
    genus, fish = ({task: LABELS[task]} for task in LABELS)
    assert with_labels(LABELS, TASKS, {"fish": [0]}) == genus
    assert with_labels(LABELS, TASKS, {"fish": [1], "genus": [0, 1]}) == LABELS
    assert with_labels(LABELS, TASKS, {"genus": [0, 2]}) == fish


def test_a_batch_without_any_label_stays_as_it_is():
    assert with_labels(NONE, TASKS, {}) == NONE


def test_batches_look_for_labels_of_the_tasks_that_they_are_told():
    class Both(Numbers):
        def __getitem__(self, index):
            number, targets = super().__getitem__(index)
            return number, targets | {"other": targets["itself"]}

    tasks = {"itself": TaskSpec("classification", 11, ignore_index=3), "other": TaskSpec("classification", 11)}
    sampler = ResumableSampler(6, seed=0, shuffle=False)
    loaded = Batches(Both(6), sampler, batch_size=1, num_workers=0, device=torch.device("cpu"), tasks=tasks)
    assert [len(targets) for _, targets in loaded] == [2, 2, 2, 1, 2, 2]


def test_a_window_shares_by_size():
    parts = parts_of(10)
    assert [len(part.inputs) for part in parts] == [4, 4, 2]
    assert [part.share for part in parts] == [0.4, 0.4, 0.2]
    assert [part.last for part in parts] == [False, False, True]


def test_a_window_of_too_few_batches_is_cut():
    parts = parts_of(3, at_least=2)
    assert [len(part.inputs) for part in parts] == [2, 1]
    assert [part.share for part in parts] == [2 / 3, 1 / 3]
    assert [part.last for part in parts] == [False, True]
    for part in parts:
        assert torch.equal(part.inputs.flatten().long(), part.targets["itself"])
    assert [len(part.inputs) for part in parts_of(8, at_least=2)] == [4, 4], "two batches are enough"


def test_a_single_sample_stands_for_every_part():
    parts = parts_of(1, at_least=2)
    assert [len(part.inputs) for part in parts] == [1, 1]
    assert [part.share for part in parts] == [0.5, 0.5]
    assert torch.equal(parts[0].inputs, parts[1].inputs)
