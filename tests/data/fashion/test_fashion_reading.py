import gzip
import re

import numpy as np
import pytest
import torch
from fashion_files import garment, write_fashion_files

from coral_mtl.data.fashion import FashionMNIST
from coral_mtl.data.fashion.reading import FOLDER, read_images, read_labels
from coral_mtl.errors import DataError


def test_the_first_images_in_their_order(tmp_path):
    write_fashion_files(tmp_path)
    assert np.array_equal(read_images("train", 12, tmp_path), [garment(i % 10) for i in range(12)])
    assert read_labels("t10k", 12, tmp_path).tolist() == [*range(10), 0, 1]


def test_items_are_images_from_0_to_1_and_their_classes(tmp_path):
    data = FashionMNIST(train_size=12, validation_size=5, path=write_fashion_files(tmp_path))
    image, targets = data.train[11]
    assert (len(data.train), len(data.validation), image.shape) == (12, 5, data.input_shape)
    assert targets["garment"].item() == 1
    assert torch.equal(image, torch.from_numpy(garment(1) / 255.0).float()[None])
    with pytest.raises(IndexError, match="item 12 of 12"):
        data.train[12]


def test_missing_files_are_told_with_the_line_that_installs_them(tmp_path):
    with pytest.raises(DataError, match=re.escape(str(tmp_path)) + r"(?s:.*)apt-get install dataset-fashion-mnist"):
        FashionMNIST(path=tmp_path)


def test_too_few_images_and_damaged_files(tmp_path):
    write_fashion_files(tmp_path)
    with pytest.raises(DataError, match=r"holds too little.*in place of 50960\n.*fewer items"):
        read_images("train", 65, tmp_path)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for damaged in (b"no gzip at all", whole[: len(whole) // 2], gzip.compress(b"")):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged|too little"):
            read_images("train", 64, tmp_path)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_files():
    images, labels = read_images("t10k", 200), read_labels("t10k", 200)
    assert set(labels) == set(range(10))
    assert (images >= 32).any(axis=(1, 2)).all()
