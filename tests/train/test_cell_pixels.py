"""Pixels of a training: the same in memory and mapped; a mapped file is made once."""

import numpy as np
import pytest

from hpacells.core.errors import OutputError
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


def test_what_a_killed_process_left_is_removed(make_store, tmp_path, monkeypatch):
    """Each killed attempt once left its gigabytes behind, under a name of its own."""
    monkeypatch.setattr(cell_pixels, "IN_MEMORY_BYTES", 0)
    store = make_store(tmp_path / "store", 3)
    load_training_data(store)
    (file,) = (store.path / "mapped").glob("*/cells.npy")
    file.rename(file.with_name(".cells.12345.tmp.npy"))
    load_training_data(store)
    assert {path.name for path in file.parent.iterdir()} == {"cells.npy", ".lock"}


def test_a_store_that_cannot_be_written_is_told(make_store, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_pixels, "IN_MEMORY_BYTES", 0)
    store = make_store(tmp_path / "store", 3)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/\w+/cells\.npy: expected to write .* train on a"):
        load_training_data(store, tmp_path / "file")
    load_training_data(store)
    monkeypatch.setattr(cell_pixels, "FileLock", None)  # where the file is, nothing is written
    load_training_data(store)
