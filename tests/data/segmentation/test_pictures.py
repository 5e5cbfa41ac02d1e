import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from coral_mtl.data.segmentation.pictures import image_of, mask_of
from coral_mtl.errors import DataError

IDS = np.array([[0, 1, 1, 0, 1, 0, 0, 1], [1, 0, 1, 1, 0, 0, 1, 0]], dtype=np.uint8)
GREY, PALETTE = 0, 3


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values, bits, kind):
    """A PNG file as its specification has it: every row begins with its filter, 0, and is filled up to a byte."""
    height, width = values.shape
    rows = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
    content = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    palette = chunk(b"PLTE", bytes(range(3 * 2**bits))) if kind == PALETTE else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "kind"), [(1, PALETTE), (2, PALETTE), (4, PALETTE), (8, GREY)])
def test_masks_are_read_as_ids(bits, kind):
    np.testing.assert_array_equal(mask_of(png(IDS, bits, kind), "m.png"), IDS)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_masks_of_few_bits_are_refused(bits):
    with pytest.raises(DataError, match=rf"m\.png: a grey mask has 8 bits per pixel, and this one has {bits}"):
        mask_of(png(IDS, bits, GREY), "m.png")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_images_of_few_bits_go_from_black_to_white(bits):
    image = image_of(png(IDS * (2**bits - 1), bits, GREY), "i.png")
    np.testing.assert_array_equal(image, 255 * IDS[..., None].repeat(3, axis=2))


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint16, "png"), (np.int32, "tiff"), (np.float32, "tiff")])
def test_images_whose_values_would_be_cut_off_are_refused(dtype, ending):
    file = io.BytesIO()
    Image.fromarray(4000 * IDS.astype(dtype)).save(file, ending)
    with pytest.raises(DataError, match=r"i\.png: an image has a byte for each colour(?s:.)*save it with 8 bits"):
        image_of(file.getvalue(), "i.png")
