import csv
import json
import shutil

import numpy as np
import pytest

from hpacells.core.errors import ImageError, TableError
from hpacells.images.mask_files import mask_path, write_label_image
from hpacells.runtime.model_folder import load_model
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.config import TrainConfig
from hpacells.train.data import cell_ids, load_training_data
from hpacells.train.run import train
from hpacells.train.truth import TruthFiles, find_truth, read_cell_truth


def boxes(places, shape=(50, 70)):
    """Cells of 8 x 8 pixels: id → top left corner."""
    image = np.zeros(shape, np.int32)
    for number, (row, column) in places.items():
        image[row : row + 8, column : column + 8] = number
    return image


@pytest.fixture
def files(tmp_path):
    """Field f001: cell 1 is true cell 7, 2 is 5 by IoU 0.6, 3 and 4 have no partner."""
    files = TruthFiles(tmp_path / "set", tmp_path / "found")
    found = {1: (0, 0), 2: (10, 0), 3: (20, 0), 4: (30, 0)}
    true = {7: (0, 0), 5: (10, 2), 6: (20, 3)}  # 6 of 10 columns shared; 5 of 11
    write_label_image(mask_path(files.found_masks, "f001", "cells"), boxes(found))
    write_label_image(mask_path(files.dataset / "truth", "f001", "cells"), boxes(true))
    files.cells_csv.write_text("ID,cell_id,Label\nf001,7,0|16\nf001,5,7\nf001,6,3\n")
    files.submission.write_text("ID,ImageWidth,ImageHeight,PredictionString\n")
    return files


def test_found_cells_get_the_truth_of_their_partners(make_store, tmp_path, files):
    store = make_store(tmp_path / "s", 3)
    data = load_training_data(store)
    assert cell_ids(store, data).tolist() == [*range(1, 7), *range(1, 8), *range(1, 9)]
    truth = read_cell_truth(files, store, data, np.array([0, 1]))
    assert np.flatnonzero(truth.known).tolist() == [6, 7]  # f001 begins at cell 6
    assert np.flatnonzero(truth.targets[6]).tolist() == [0, 16]
    assert np.flatnonzero(truth.targets[7]).tolist() == [7]
    assert truth.targets.sum() == 3
    other = read_cell_truth(files, store, data, np.array([0, 2]))
    assert not other.known.any()


def test_a_dataset_without_truth_has_none(tmp_path, files):
    assert find_truth(files.dataset, files.found_masks) == files
    files.submission.unlink()
    assert find_truth(files.dataset, files.found_masks) is None


def test_malformed_truth_and_masks_of_another_size_are_named(make_store, tmp_path, files):
    store = make_store(tmp_path / "s", 3)
    data = load_training_data(store)
    write_label_image(mask_path(files.found_masks, "f001", "cells"), boxes({1: (0, 0)}, (40, 70)))
    with pytest.raises(ImageError, match="one shape"):
        read_cell_truth(files, store, data, np.array([1]))
    for text in (
        "ID,cell_id\nf001,7\n",
        "ID,cell_id,Label\nf001,x,3\n",
        "ID,cell_id,Label\nf,1,99\n",
    ):
        files.cells_csv.write_text(text)
        with pytest.raises(TableError, match=r"cells\.csv"):
            read_cell_truth(files, store, data, np.array([1]))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Six small fields, each of its own gene; two cell lines."""
    folder = tmp_path_factory.mktemp("simulated") / "set"
    write_dataset(folder, SimulateConfig(size_px=512), fields=6, seed=7)
    with (folder / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        row.update(gene=f"G{i}", antibody=f"A{i}", cell_line=("HeLa", "U-2 OS")[i % 2])
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def measured(simulated, tmp_path_factory):
    """One training beside the truth, one without: (model folders)."""
    place = tmp_path_factory.mktemp("models")
    blind = shutil.copytree(simulated, place / "blind")
    shutil.rmtree(blind / "truth")
    (blind / "truth.csv").unlink()
    config = TrainConfig(
        backbone="hpa_nfnet_pico",
        crop_px=32,
        pixel_size_um=0.8,
        embedding_size=16,
        epochs=1,
        bag_size=2,
        val_fraction=0.5,
    )
    folders = []
    for data in (simulated, blind):
        out = place / f"of_{data.name}"
        train(data, out, config, segmenter="watershed", threads=1)
        folders.append(out)
    return folders


def test_truth_changes_no_weight_and_no_constant(measured):
    """Truth is for measuring: with and without it the model is the same, byte for byte."""
    one, two = (load_model(folder) for folder in measured)
    assert one.spec.files == two.spec.files
    assert one.spec == two.spec


def test_held_out_fields_are_judged_by_all_that_is_known(measured, simulated):
    beside, without = (json.loads((out / "training.json").read_text()) for out in measured)
    known, blind = beside["validation"], without["validation"]
    assert 0 <= known["strict"]["mean_ap"] <= 1
    assert 0 < known["cell"]["mean_ap"] <= 1
    assert known["not_measured"] is None
    assert (blind["cell"], blind["strict"]) == (None, None)
    assert "truth/" in blind["not_measured"]
    assert known["image"] == blind["image"]
    lines = known["cell_lines"]
    assert set(lines) <= {"HeLa", "U-2 OS"}
    assert sum(line["fields"] for line in lines.values()) == beside["counts"]["fields_val"]
    assert all(line["strict_map"] is not None for line in lines.values())
    assert all(line["strict_map"] is None for line in blind["cell_lines"].values())
    with (measured[0] / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert last["val_cell_ap"]
    assert last["val_image_ap"]
