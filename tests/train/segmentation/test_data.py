"""The cache of fields."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError
from hpacells.train.segmentation import data as data_module
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


def changed_image(data, monkeypatch):
    path = data / "train" / "f1_blue.png"
    cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def changed_masks(data, monkeypatch):
    for part in ("cells", "nuclei"):
        path = data / "truth" / f"f1_{part}.png"
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        ids[ids == 6] = 0
        cv2.imwrite(str(path), ids)


def changed_pixel_size(data, monkeypatch):
    table = data / "train.csv"
    table.write_text(table.read_text().replace("f1,16,0.16", "f1,16,0.24"))


def changed_maps(data, monkeypatch):
    monkeypatch.setattr(data_module, "TARGETS_VERSION", 0)


def changed_stains(data, monkeypatch):
    monkeypatch.setattr(data_module, "NORMALISATION", "another")


@pytest.mark.parametrize(
    ("change", "n_made"),
    [
        (changed_image, 1),
        (changed_masks, 1),
        (changed_pixel_size, 1),
        (changed_maps, 5),
        (changed_stains, 5),
    ],
)
def test_what_a_field_was_made_from_decides_whether_it_is_kept(
    dataset, tmp_path, monkeypatch, change, n_made
):
    folder = tmp_path / "cache"
    build_cache(dataset, folder, 0.32)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    change(dataset, monkeypatch)
    kept = build_cache(dataset, folder, 0.32)
    for suffix in (".npy", "_cells.npy", ".sha256"):
        made = [fov_id for fov_id in kept.fov_ids if (folder / f"{fov_id}{suffix}").stat().st_mtime]
        assert made == list(kept.fov_ids if n_made == 5 else ["f1"])
    fresh = build_cache(dataset, tmp_path / "fresh", 0.32)
    assert fresh.data_hash == kept.data_hash
    for i in range(5):
        np.testing.assert_array_equal(kept.planes(i), fresh.planes(i))
        np.testing.assert_array_equal(kept.cells(i), fresh.cells(i))


def test_another_resolution_makes_all_fields_again_and_a_cut_off_one_is_not_kept(dataset, tmp_path):
    build_cache(dataset, tmp_path / "cache", 0.32)
    coarse = build_cache(dataset, tmp_path / "cache", 0.4)
    assert coarse.planes(0).shape == (5, 72, 88)
    (tmp_path / "cache" / "f0.sha256").unlink()  # written last
    np.save(tmp_path / "cache" / "f0.npy", np.zeros(3))
    assert build_cache(dataset, tmp_path / "cache", 0.4).planes(0).shape == (5, 72, 88)


def test_how_the_fields_were_simulated_is_kept(dataset, tmp_path):
    assert build_cache(dataset, tmp_path / "cache", 0.32).simulation == {}
    note = dataset / "simulate.json"
    note.write_text(json.dumps({"settings": {"seed": 7, "size_px": 220}, "fields": 5, "look": 4}))
    found = build_cache(dataset, tmp_path / "cache", 0.32).simulation
    assert found == {"seed": 7, "size_px": 220, "fields": 5, "look": 4}
    for damage in ("{", "[]", '{"fields": 5}'):
        note.write_text(damage)
        with pytest.raises(InputError, match=r"simulate\.json: expected the settings"):
            build_cache(dataset, tmp_path / "cache", 0.32)


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
