"""Two folders, paired field by field."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.errors import TableError
from hpacells.evaluate.mask_pairs import MaskFolders, find_label_images
from hpacells.evaluate.masks import score_masks
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


def test_a_run_folder_without_a_table_takes_none_from_above(tmp_path):
    """The folder above a run may be another run; only above masks/ does the table belong."""
    run = tmp_path / "other" / "run"
    save(run / "masks", "a_cells")
    reject(tmp_path / "other" / "cells.parquet", "a", 1)
    assert MaskFolders.open(run, run).rejected_found == {}
    reject(run / "cells.parquet", "a", 7)
    assert MaskFolders.open(run, run).rejected_found == {"a": {7}}
    assert MaskFolders.open(run / "masks", run / "masks").rejected_true == {"a": {7}}


def reject(path, fov_id, cell_id):
    table = {"fov_id": [fov_id, "z"], "cell_id": [cell_id, 3], "status": ["rejected", "ok"]}
    pq.write_table(pa.table(table), path)


CELLS_CSV = "ID,cell_id,Label,in_truth\na,1,16,0\na,2,16,1\nc,1,16,0\n"


@pytest.mark.parametrize("given", ["data", "data/truth"])
def test_a_simulation_says_which_true_cells_are_outside(tmp_path, given):
    save(tmp_path / "run", "a_cells")
    truth = save(tmp_path / "data" / "truth", "a_cells", "c_cells")
    (truth / "cells.csv").write_text(CELLS_CSV)
    folders = MaskFolders.open(tmp_path / "run", tmp_path / given)
    assert folders.rejected_true == {"a": {1}, "c": {1}}
    assert folders.read("a").rejected_true == {1}
    assert folders.read("c").rejected_true == {1}  # no found file: still not missed
    reject(tmp_path / given / "cells.parquet", "a", 5)
    assert MaskFolders.open(tmp_path / "run", tmp_path / given).rejected_true == {"a": {5}}


def test_unmatched_cells_outside_are_not_missed(tmp_path):
    save(tmp_path / "run", "b_cells")
    truth = save(tmp_path / "truth", "b_cells", "c_cells")
    assert score_masks(tmp_path / "run", truth).total.n_true == 2
    (truth / "cells.csv").write_text(CELLS_CSV)
    assert score_masks(tmp_path / "run", truth).total.n_true == 1


def test_another_cells_csv_is_left_alone_and_a_damaged_one_refused(tmp_path):
    truth = save(tmp_path / "truth", "a_cells")
    (truth / "cells.csv").write_text("name,area\nx,3\n")
    assert MaskFolders.open(truth, truth).rejected_true == {}
    for damage in ("a,1,16,\n", "a,x,16,0\n", "a,1\n"):
        (truth / "cells.csv").write_text("ID,cell_id,Label,in_truth\n" + damage)
        with pytest.raises(TableError, match=r"cells\.csv: expected whole numbers"):
            MaskFolders.open(truth, truth)
    (truth / "cells.csv").write_bytes(b"ID,cell_id,in_truth\n\xff,1,0\n")
    with pytest.raises(TableError, match=r"cells\.csv"):
        MaskFolders.open(truth, truth)
