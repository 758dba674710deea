"""The cache of fields."""

import shutil

import cv2
import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError
from hpacells.train.segmentation.data import WEIGHT_SCALE, build_cache, unpack_targets
from hpacells.train.segmentation.targets import build_targets, pixel_weights


@pytest.fixture
def dataset(drawn_dataset, tmp_path):
    return shutil.copytree(drawn_dataset, tmp_path / "data")


def test_a_field_is_kept_with_its_maps_at_the_working_resolution(drawn_dataset, tmp_path):
    cache = build_cache(drawn_dataset, tmp_path / "cache", 0.32)
    assert cache.fov_ids == tuple(f"f{i}" for i in range(5))
    planes, cells = cache.planes(2), cache.cells(2)
    assert planes.shape == (5, 90, 110)
    assert planes.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(cells), np.arange(7))
    maps = np.stack(list(unpack_targets(planes[3])))
    np.testing.assert_array_equal(maps[0], cells > 0)
    nuclei = np.where(maps[2], cells, 0)
    np.testing.assert_array_equal(maps, build_targets(cells, nuclei, 0.32))
    np.testing.assert_allclose(planes[4] / WEIGHT_SCALE, pixel_weights(cells, 0.32), atol=0.011)
    assert planes[0][maps[2]].mean() > 200
    assert planes[0][cells == 0].mean() < 100


def test_what_is_there_is_kept_and_the_hash_follows_the_images(dataset, tmp_path):
    first = build_cache(dataset, tmp_path / "cache", 0.32)
    path = tmp_path / "cache" / "f1.npy"
    written = path.stat().st_mtime_ns
    assert build_cache(dataset, tmp_path / "cache", 0.32).data_hash == first.data_hash
    assert path.stat().st_mtime_ns == written
    image = dataset / "train" / "f1_blue.png"
    cv2.imwrite(str(image), 255 - cv2.imread(str(image), cv2.IMREAD_UNCHANGED))
    assert build_cache(dataset, tmp_path / "other", 0.32).data_hash != first.data_hash


def test_a_folder_without_truth_is_refused(dataset, tmp_path):
    shutil.rmtree(dataset / "truth")
    with pytest.raises(InputError, match="expected a dataset folder with truth/"):
        build_cache(dataset, tmp_path / "cache", 0.32)


def test_a_folder_without_fields_is_refused(tmp_path):
    (tmp_path / "data" / "truth").mkdir(parents=True)
    with pytest.raises(InputError):
        build_cache(tmp_path / "data", tmp_path / "cache", 0.32)


def test_masks_of_another_size_are_refused(dataset, tmp_path):
    for part in ("cells", "nuclei"):
        cv2.imwrite(str(dataset / "truth" / f"f0_{part}.png"), np.zeros((9, 8), np.uint16))
    with pytest.raises(ImageError, match="expected masks of 180 x 220"):
        build_cache(dataset, tmp_path / "cache", 0.32)
