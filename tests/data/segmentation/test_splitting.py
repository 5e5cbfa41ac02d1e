import numpy as np
import torch

from coral_mtl.data.segmentation.definitions import Labels, read_tasks
from coral_mtl.data.segmentation.splitting import TaskSplitter

TEXT = "a: {id2label: {0: rest, 2: two, 5: five}}\nb: {id2label: {1: one, 2: two, 3: three}}"


def test_every_pixel_of_every_task_is_looked_up(tmp_path):
    (tmp_path / "tasks.yaml").write_text(TEXT)
    tasks = read_tasks(tmp_path / "tasks.yaml", Labels(count=7, unlabeled=0))
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8))
    masks = TaskSplitter(tasks)(ids)
    assert list(masks) == ["a", "b"]
    expected_a = [{0: 255, 2: 1, 5: 2}.get(i, 0 if i < 7 else 255) for i in ids.flatten().tolist()]
    expected_b = [{1: 0, 2: 1, 3: 2}.get(i, 255) for i in ids.flatten().tolist()]
    for name, expected in (("a", expected_a), ("b", expected_b)):
        assert masks[name].dtype == torch.uint8
        assert torch.equal(masks[name].long(), torch.tensor(expected).view(40, 50))
