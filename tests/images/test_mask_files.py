import cv2
import numpy as np
import pytest
import tifffile

from hpacells.core.errors import ImageError, InputError
from hpacells.core.masks import CellMasks
from hpacells.images.mask_files import (
    mask_path,
    read_label_image,
    read_masks,
    write_label_image,
    write_masks,
)


@pytest.fixture
def masks():
    cells = np.zeros((12, 20), np.int32)
    cells[1:6, 2:9] = 3
    cells[6:11, 4:15] = 65535
    nuclei = np.zeros_like(cells)
    nuclei[2:4, 3:6] = 3
    return CellMasks(cells, nuclei, "drawn", 0.08)


def test_masks_come_back(tmp_path, masks):
    write_masks(tmp_path / "new", "a", masks)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "a_cells.png",
        "a_nuclei.png",
    ]
    found = read_masks(tmp_path / "new", "a", pixel_size_um=0.08)
    np.testing.assert_array_equal(found.cells, masks.cells)
    np.testing.assert_array_equal(found.nuclei, masks.nuclei)
    assert found.segmenter == "file"
    raw = cv2.imread(str(mask_path(tmp_path / "new", "a", "cells")), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, masks.cells)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_any_integer_type_is_written(tmp_path, dtype):
    ids = np.arange(15, dtype=dtype).reshape(3, 5)
    write_label_image(tmp_path / "a.png", ids)
    found = read_label_image(tmp_path / "a.png")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_masks_of_other_tools_are_read(tmp_path, dtype):
    ids = np.arange(15).reshape(3, 5).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", ids, compression="zlib")
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.tif"), ids)


@pytest.mark.parametrize(
    "ids",
    [
        np.zeros((3, 5), np.float32),
        np.zeros((3, 5, 3), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.full((3, 5), -1),
        np.full((3, 5), 65536),
    ],
)
def test_what_is_no_mask_is_not_written(tmp_path, ids):
    with pytest.raises(InputError, match="expected ids"):
        write_label_image(tmp_path / "a.png", ids)
    assert not list(tmp_path.iterdir())


def test_what_is_no_mask_is_not_read(tmp_path):
    colour, big, lossy = (tmp_path / name for name in ("c.png", "b.tif", "j.jpg"))
    cv2.imwrite(str(colour), np.zeros((3, 5, 3), np.uint8))
    tifffile.imwrite(big, np.full((3, 5), 70_000, np.int32))
    cv2.imwrite(str(lossy), np.zeros((3, 5), np.uint8))
    with pytest.raises(ImageError, match="got 3 colour planes"):
        read_label_image(colour)
    with pytest.raises(ImageError, match="got 70000 to 70000"):
        read_label_image(big)
    with pytest.raises(ImageError, match="JPEG does not keep ids"):
        read_label_image(lossy)
    with pytest.raises(ImageError, match="no such file"):
        read_label_image(tmp_path / "missing.png")


def test_masks_that_are_missing_or_do_not_fit(tmp_path, masks):
    write_masks(tmp_path, "a", masks)
    with pytest.raises(ImageError, match=r"expected the mask b_cells\.png"):
        read_masks(tmp_path, "b", pixel_size_um=0.08)
    write_label_image(mask_path(tmp_path, "a", "nuclei"), np.full((12, 20), 3))
    with pytest.raises(ImageError, match=r"masks of field a.*outside the cell"):
        read_masks(tmp_path, "a", pixel_size_um=0.08)
    mask_path(tmp_path, "a", "nuclei").unlink()
    tifffile.imwrite(tmp_path / "a_nuclei.tif", masks.nuclei)
    found = read_masks(tmp_path, "a", pixel_size_um=0.08, segmenter="other")
    np.testing.assert_array_equal(found.nuclei, masks.nuclei)


@pytest.mark.realdata
def test_the_atlass_own_masks(real_data):
    folder = real_data / "kaggle" / "cells"
    counts = [len(np.unique(read_label_image(p))) - 1 for p in sorted(folder.iterdir())]
    assert counts == [19, 8, 46]
