"""Pixels of a training: the same in memory and mapped; a mapped file is made once."""

import numpy as np

from hpacells.train import cell_pixels
from hpacells.train.data import load_training_data


def test_mapped_pixels_are_those_in_memory(make_store, tmp_path, monkeypatch):
    store = make_store(tmp_path / "store", 5)
    held = load_training_data(store)
    monkeypatch.setattr(cell_pixels, "IN_MEMORY_BYTES", 0)
    mapped = load_training_data(store, tmp_path / "mapped")
    np.testing.assert_array_equal(held.crops, mapped.crops)
    np.testing.assert_array_equal(held.cell_masks, mapped.cell_masks)
    assert held.crops.shape[0] == mapped.offsets[-1] > 0
    assert not mapped.crops.flags.writeable


def test_a_mapped_file_is_made_once_and_lies_with_the_crops(make_store, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_pixels, "IN_MEMORY_BYTES", 0)
    store = make_store(tmp_path / "store", 3)
    load_training_data(store)
    (file,) = (store.path / "mapped").glob("*/cells.npy")
    before = file.stat().st_mtime_ns
    load_training_data(store)
    assert file.stat().st_mtime_ns == before
