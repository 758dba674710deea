import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from pycocotools import mask as coco

from hpacells.core.errors import InputError, TableError
from hpacells.core.mask_text import decode_mask, decode_masks, encode_cells, encode_mask

EMPTY_2048 = "eNoLCAgIMAEABJkBdQ=="
# pycocotools 2.0.x builds arrays in a way that numpy 2 deprecates.
from_pycocotools = pytest.mark.filterwarnings("ignore:__array__ implementation")
SMALL = "eNozNTIyMDAwBgAFgwFd"  # H=4, W=5, rows 1-2, columns 1-3; counts 5220003


def pack(counts: bytes, level: int = 9) -> str:
    return base64.b64encode(zlib.compress(counts, level)).decode()


def reference_text(mask):
    return pack(coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"])


def decode(text, *, height=4, width=5):
    return decode_mask(text, height=height, width=width, where="file.csv, ID a, triple 1")


def small_mask():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    return mask


@from_pycocotools
def test_the_known_texts():
    assert encode_mask(np.zeros((2048, 2048), bool)) == EMPTY_2048
    assert encode_mask(small_mask()) == SMALL
    assert decode(SMALL) == {"size": [4, 5], "counts": b"5220003"}
    np.testing.assert_array_equal(coco.decode(decode(SMALL)), small_mask())


@pytest.mark.parametrize("seed", range(40))
def test_texts_are_those_of_pycocotools_on_the_full_mask(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 30, 2)
    cells = rng.integers(0, 4, (height, width)).astype(np.int32)
    if seed % 2:
        cells = np.repeat(np.repeat(cells, 7, 0), 5, 1)[: height * 6]
    texts = encode_cells(cells)
    assert list(texts) == sorted(set(cells.ravel().tolist()) - {0})
    for cell_id, text in texts.items():
        assert text == reference_text(cells == cell_id) == encode_mask(cells == cell_id)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_any_integer_type_and_a_view_give_the_same_text(dtype):
    cells = np.zeros((9, 12), dtype)
    cells[2:5, 3:11] = 3
    assert encode_cells(cells[::-1]) == encode_cells(np.ascontiguousarray(cells[::-1]))
    assert encode_cells(cells)[3] == reference_text(cells == 3)


def test_a_label_image_without_cells_has_no_texts_and_a_full_one_one():
    assert encode_cells(np.zeros((3, 5), np.int32)) == {}
    full = np.full((3, 5), 2, np.int32)
    assert encode_cells(full) == {2: reference_text(full > 0)}


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 3, 4)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(InputError, match=r"\(H, W\)"):
        encode_cells(np.zeros(shape, np.int32))
    with pytest.raises(InputError, match=r"\(H, W\)"):
        encode_mask(np.zeros(shape, bool))


@pytest.mark.parametrize("seed", range(20))
def test_runs_rebuild_many_masks_at_once(seed):
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 40)), int(rng.integers(1, 300))
    masks = [rng.random((height, width)) < share for share in (0.5, 0.0, 0.01, 0.99, 1.0)]
    runs = decode_masks([encode_mask(m) for m in masks], height=height, width=width, where=str)
    np.testing.assert_array_equal(runs.areas, [m.sum() for m in masks])
    for i, mask in enumerate(masks):
        rebuilt = np.zeros(height * width, bool)
        for start, end in zip(
            runs.starts[runs.owners == i], runs.ends[runs.owners == i], strict=True
        ):
            rebuilt[start:end] = True
        np.testing.assert_array_equal(rebuilt.reshape(width, height).T, mask)


def test_any_level_is_read_and_runs_of_no_length_are_passed_over():
    assert decode(pack(b"5220003", 1))["counts"] == b"5220003"
    runs = decode_masks([pack(b"0d00")], height=4, width=5, where=str)
    assert runs.areas.tolist() == [20]
    assert decode_masks([], height=4, width=5, where=str).areas.size == 0


BAD = {
    "empty": "",
    "not base64": "***",
    "not ASCII": "eNozNTIyMDAwBgAFgwFdé",
    "white space": "eNozNTIy MDAwBgAFgwFd",
    "no padding": EMPTY_2048.rstrip("="),
    "not zlib": base64.b64encode(b"5220003").decode(),
    "zlib cut short": base64.b64encode(zlib.compress(b"5220003", 9)[:-2]).decode(),
    "zlib with a tail": base64.b64encode(zlib.compress(b"5220003", 9) + b"x").decode(),
    "no counts": pack(b""),
    "a zip bomb": pack(b"0" * 10_000_000),
    "characters below COCO's": pack(b"52 0003"),
    "characters above COCO's": pack(b"52z0003"),
    "a number that does not end": pack(b"522000P"),
    "a number too long": pack(b"PPPPPPPPPPP1"),
    "runs short of the image": pack(b"522000"),
    "runs beyond the image": pack(b"5220009"),
    "another image's size": EMPTY_2048,
    "a negative run": pack(bytes([48 + 10, 48 + 5, 48 + 9, 48 + 23])),  # 10, 5, 9, -4: sum 20
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_a_malformed_text_names_its_place(text):
    with pytest.raises(TableError, match=r"file\.csv, ID a, triple 1"):
        decode(text)


def test_the_first_of_many_at_fault_is_named():
    for bad in (pack(b"522000P"), pack(b"522000"), "***"):
        with pytest.raises(TableError, match=r"^mask 1:"):
            decode_masks([SMALL, bad, SMALL, bad], height=4, width=5, where=lambda i: f"mask {i}")


@pytest.mark.parametrize(("height", "width"), [(0, 0), (0, 5), (2**16, 2**15)])
def test_sizes_that_counts_cannot_hold_are_refused(height, width):
    with pytest.raises(TableError, match="expected an image"):
        decode(SMALL, height=height, width=width)


def test_a_zip_bomb_is_not_unpacked_to_its_end():
    text = pack(b"0" * 50_000_000)
    tracemalloc.start()
    with pytest.raises(TableError, match="unpacks to more than"):
        decode(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@from_pycocotools
@pytest.mark.parametrize("seed", range(5))
def test_damaged_bytes_never_reach_pycocotools(seed):
    rng = np.random.default_rng(seed)
    counts = bytearray(coco.encode(np.asfortranarray(np.eye(40, 30, dtype=np.uint8)))["counts"])
    for _ in range(200):
        damaged = counts.copy()
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        try:
            rle = decode(pack(bytes(damaged)), height=40, width=30)
        except TableError:
            continue
        assert coco.decode(rle).shape == (40, 30)
