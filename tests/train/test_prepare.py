import shutil

import pytest

from hpacells.core.errors import InputError
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.config import TrainConfig
from hpacells.train.prepare import prepare_data

CONFIG = TrainConfig(crop_px=32, pixel_size_um=0.8)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "set"
    write_dataset(folder, SimulateConfig(size_px=640), fields=3, seed=5)
    return folder


@pytest.fixture
def dataset(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "set")


def test_a_dataset_is_cropped_without_its_truth(dataset, tmp_path):
    shutil.rmtree(dataset / "truth")
    (dataset / "truth.csv").unlink(missing_ok=True)
    prepared = prepare_data(dataset, tmp_path / "m", CONFIG)
    assert prepared.store.path == tmp_path / "m" / "crops"
    assert prepared.store.counts["fields"] == 3
    labels = prepared.store.fields_table()["image_labels"].to_pylist()
    lines = (dataset / "train.csv").read_text().splitlines()
    assert len(lines) == 4
    assert all(any(label in line for line in lines) for label in labels)
    again = prepare_data(tmp_path / "m" / "crops", tmp_path / "m", CONFIG)
    assert again.store == prepared.store


def test_rows_without_image_and_images_without_row_are_counted(dataset, tmp_path):
    lines = (dataset / "train.csv").read_text().splitlines()
    unnamed = lines.pop(1).split(",")[0]
    extra = ",".join(["ghost", *lines[1].split(",")[1:]])
    (dataset / "train.csv").write_text("\n".join([*lines, extra]) + "\n")
    prepared = prepare_data(dataset, tmp_path / "m", CONFIG)
    assert prepared.rows_without_field == ("ghost",)
    assert prepared.fields_without_row == (unnamed,)
    assert prepared.store.counts["fields"] == 2


def test_a_folder_without_labels_is_refused(dataset, tmp_path):
    (dataset / "train.csv").write_text("ID,Label\nghost,3\n")
    with pytest.raises(InputError, match="names none of the 3 fields"):
        prepare_data(dataset, tmp_path / "m", CONFIG)
    (dataset / "train.csv").unlink()
    with pytest.raises(InputError, match=r"no train\.csv"):
        prepare_data(dataset, tmp_path / "m", CONFIG)
