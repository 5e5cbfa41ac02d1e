import io

import numpy as np
import pytest
import torch
from PIL import Image as Pictures

datasets = pytest.importorskip("datasets", reason="needs coral-mtl[datasets]")

from coral_mtl.data.segmentation import Coralscapes  # noqa: E402
from coral_mtl.errors import DataError  # noqa: E402

TASKS = "coral: {id2label: {0: unlabeled, 3: dead, 6: alive}}\n"


def png(array):
    buffer = io.BytesIO()
    Pictures.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def split(count, seed, **changes):
    """Rows as `EPFL-ECEO/coralscapes` has them: pictures in the columns image and label."""
    generator = np.random.default_rng(seed)
    rows = {
        "image": [
            {"bytes": png(generator.integers(0, 256, (8, 12, 3)).astype(np.uint8)), "path": None} for _ in range(count)
        ],
        "label": [
            {"bytes": png(generator.integers(0, 40, (8, 12)).astype(np.uint8)), "path": None} for _ in range(count)
        ],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    return datasets.Dataset.from_dict(rows | changes, features=features)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Let load_dataset find the splits of this dict; return it, and how the data set is built."""
    (tmp_path / "tasks.yaml").write_text(TASKS)
    splits = {"train": split(3, 0), "validation": split(2, 1)}

    def load_dataset(name, *, split):
        assert name == "EPFL-ECEO/coralscapes"
        if split not in splits:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(splits)}.')
        return splits[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return splits, lambda: Coralscapes(
        tasks=tmp_path / "tasks.yaml", hub_dataset="EPFL-ECEO/coralscapes", normalise=False
    )


def test_items_are_the_rows(hub):
    splits, build = hub
    data = build()
    assert (len(data.train), len(data.validation), data.input_shape) == (3, 2, (3, 8, 12))
    row = splits["validation"][1]
    image, targets = data.validation[1]
    np.testing.assert_allclose(image.numpy(), np.asarray(row["image"]).transpose(2, 0, 1) / 255, atol=1e-7)
    mask = np.asarray(row["label"])
    np.testing.assert_array_equal(
        targets["coral"].numpy(), np.select([mask == 0, mask == 3, mask == 6], [255, 1, 2], 0)
    )


def test_rows_that_name_their_files(hub, tmp_path):
    splits, build = hub
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(png(np.full((8, 12), 3 * number + 3, np.uint8)))
    splits["validation"] = split(2, 1, label=[str(file) for file in files])
    assert torch.equal(build().validation[1][1]["coral"], torch.full((8, 12), 2))
    files[1].unlink()
    with pytest.raises(DataError, match=r"coralscapes validation\[1\]\.label: .*1\.png cannot be read"):
        build()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (png(np.full((8, 12), 200, np.uint8)), r"validation\[0\]\.label: no class has the id 200"),
        (png(np.zeros((8, 11), np.uint8)), r"validation\[0\]\.label: this mask is 11 x 8 pixels and its image 12 x 8"),
        (png(np.zeros((8, 12), np.uint8))[:-20], r"validation\[0\]\.label is damaged"),
        (None, r"validation\[0\]\.label is empty"),
    ],
)
def test_rows_that_cannot_be_used_stop_the_run_before_it_starts(hub, label, message):
    splits, build = hub
    splits["validation"] = split(1, 1, label=[label and {"bytes": label, "path": None}])
    with pytest.raises(DataError, match=f"EPFL-ECEO/coralscapes {message}"):
        build()


def test_other_columns_and_splits_are_told(hub):
    splits, build = hub
    splits["validation"] = splits["validation"].rename_column("label", "mask")
    with pytest.raises(
        DataError, match=r"no pictures in a column label\n    its columns: image \(Image\), mask \(Image\)"
    ):
        build()
    splits["validation"] = split(0, 1)
    with pytest.raises(DataError, match="validation has no rows"):
        build()
    del splits["validation"]
    with pytest.raises(DataError, match="cannot load the split validation of EPFL-ECEO/coralscapes"):
        build()
