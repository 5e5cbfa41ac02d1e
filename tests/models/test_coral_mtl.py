import pytest
import torch
from segmentations import TASKS, images, small, tasks_that_reach

from coral_mtl.errors import ConfigError
from coral_mtl.models.segmentation import CoralMTL
from coral_mtl.models.segmentation.cross_task import CrossTaskAttention, pooled
from coral_mtl.models.segmentation.roles import resolved_roles

pytest.importorskip("transformers")


def test_who_reaches_what():
    """Primary tasks read all branches, auxiliary ones their own; attention, mixing and heads are of one task."""
    model = small("CoralMTL")
    named = [(n, p) for n, p in model.named_parameters() if not n.startswith("encoder") or "stages.0" in n]
    for name, tasks in tasks_that_reach(model, named).items():
        part, owner = name.split(".")[:2]
        readers = {"branches": {"genus", "health", owner}, "encoder": set(TASKS), "fusion": set(TASKS)}
        if "key.bias" not in name:  # the same number on all keys: softmax does not see it
            assert tasks == readers.get(part, {owner}), name


def test_one_task_alone_is_a_branch_and_a_head():
    model = CoralMTL((3, 32, 32), {"fish": TASKS["fish"]}, decoder_channel=16, attention_dim=8)
    assert len(model.attention) == len(model.mixing) == 0
    assert model(images(1, 3, 32, 32))["fish"].shape == (1, 2, 32, 32)


def test_attention_is_the_formula_written_out():
    torch.manual_seed(1)
    attention = CrossTaskAttention(2, 8).double()
    torch.nn.init.normal_(attention.nearness)
    own, first, second = torch.randn(3, 2, 8, 16, 24, dtype=torch.float64)
    refined = attention(own, [pooled(first), pooled(second)])
    n, y, x = 1, 11, 13  # a cell of the window of rows 8-15 and columns 8-15
    cell = own[n, :, y, x]
    keys = []
    for source, other in enumerate((first, second)):
        for row in range(8, 16, 2):
            for column in range(8, 16, 2):
                mean = other[n, :, row : row + 2, column : column + 2].mean(dim=(1, 2))
                keys.append(mean + attention.source[source, 0])
    keys = torch.stack(keys)
    q, k, v = attention.query(cell), attention.key(keys), attention.value(keys)
    read = []
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        nearness = attention.nearness[head, (y - 8) * 8 + (x - 8)].repeat(2)
        weights = (k[:, part] @ q[part] / 2**0.5 + nearness).softmax(0)
        read.append(weights @ v[:, part])
    assert torch.allclose(refined[n, :, y, x], cell + attention.out(torch.cat(read)), rtol=1e-12)


def test_a_window_reads_nothing_beyond_itself():
    """So the memory of attention grows with the number of windows, and their number with that of the pixels."""
    attention = CrossTaskAttention(1, 8)
    own, other = images(2, 1, 8, 16, 16)
    changed = other.clone()
    changed[:, :, 8:, 8:] += 1.0
    difference = attention(own, [pooled(other)]) != attention(own, [pooled(changed)])
    assert difference[:, :, 8:, 8:].any()
    assert not difference[:, :, :8].any()
    assert not difference[:, :, :, :8].any()


@pytest.mark.parametrize(
    ("given", "primary", "auxiliary"),
    [
        (None, "genus health fish", ""),
        ({}, "genus health fish", ""),
        ({"primary": ["health", "genus"]}, "health genus", "fish"),
        ({"auxiliary": ["health"]}, "genus fish", "health"),
        ({"primary": ["fish"], "auxiliary": ["genus", "health"]}, "fish", "genus health"),
    ],
)
def test_roles(given, primary, auxiliary):
    assert resolved_roles(given, TASKS) == (tuple(primary.split()), tuple(auxiliary.split()))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"primary": ["genius"]}, r"no task 'genius'\n    did you mean 'genus'\? known: genus, health, fish"),
        ({"auxiliary": ["sand"]}, r"no task 'sand'\n    known"),
        ({"primary": ["genus"], "auxiliary": ["genus", "health", "fish"]}, "'genus' has two roles"),
        ({"primary": ["genus", "genus"]}, "'genus' has two roles"),
        ({"primary": ["genus"], "auxiliary": ["health"]}, "'fish' of the data has no role"),
        ({"primary": []}, "no task is primary"),
        ({"auxiliary": ["genus", "health", "fish"]}, "no task is primary"),
        ({"secondary": ["genus"]}, "tasks.secondary"),
        ({"primary": "genus"}, "tasks.primary"),
    ],
)
def test_roles_that_cannot_be(tasks, message):
    with pytest.raises(ConfigError, match=message):
        small("CoralMTL", tasks=tasks)


@pytest.mark.parametrize("options", [{"attention_dim": 6}, {"attention_dim": 0}, {"backbone": "mit"}])
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        small("CoralMTL", **options)
