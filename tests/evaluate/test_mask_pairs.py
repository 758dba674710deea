"""Two folders, paired field by field."""

import numpy as np
import pytest

from hpacells.core.errors import TableError
from hpacells.evaluate.mask_pairs import MaskFolders, find_label_images
from hpacells.images.mask_files import write_label_image

CELL = np.pad(np.ones((4, 5), np.int32), 2)


def save(folder, *names):
    for name in names:
        write_label_image(folder / f"{name}.png", CELL)
    return folder


def test_cells_and_nuclei_are_paired_by_field(tmp_path):
    found = save(tmp_path / "run" / "masks", "a_cells", "a_nuclei", "b_cells", "x_nuclei")
    true = save(
        tmp_path / "data" / "truth", "a_cells", "a_nuclei", "b_cells", "b_nuclei", "c_cells"
    )
    folders = MaskFolders.open(tmp_path / "run", tmp_path / "data")
    assert sorted(folders.found_files) == ["a", "b"]
    assert folders.true_files["a"] == true / "a_cells.png"
    assert folders.found_nuclei["a"] == found / "a_nuclei.png"
    assert folders.read("a").nuclei is not None
    assert folders.read("b").nuclei is None
    assert not folders.read("c").found.any()
    assert find_label_images(tmp_path / "run", "nuclei").keys() == {"a", "x"}


def test_nuclei_are_listed_beside_the_cells_only(tmp_path):
    save(tmp_path / "run", "a_nuclei")
    save(tmp_path / "run" / "masks", "a_cells")
    assert MaskFolders.open(tmp_path / "run", tmp_path / "run").found_nuclei == {}


def test_two_nuclei_of_one_field_are_refused(tmp_path):
    save(tmp_path / "t", "a_cells", "a_nuclei")
    (tmp_path / "t" / "a_nuclei.tif").touch()
    with pytest.raises(TableError, match="Keep one"):
        MaskFolders.open(tmp_path / "t", tmp_path / "t")
