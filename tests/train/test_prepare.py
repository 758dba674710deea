import shutil

import pytest

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.segment.config import SegmentConfig
from hpacells.segment.registry import get_segmenter
from hpacells.segment.watershed import WatershedSegmenter
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.config import TrainConfig
from hpacells.train.prepare import SegmentedMasks, prepare_data

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


def test_the_pixel_size_of_the_images_sets_what_a_crop_shows(dataset, tmp_path):
    """The option goes before the table's column, and crops of another scale are not kept."""
    as_stored = prepare_data(dataset, tmp_path / "m", CONFIG).store
    assert set(as_stored.fields_table()["pixel_size_um"].to_pylist()) == {0.08}
    coarser = prepare_data(dataset, tmp_path / "coarse", CONFIG, pixel_size_um=0.16).store
    assert set(coarser.fields_table()["pixel_size_um"].to_pylist()) == {0.16}
    with pytest.raises(OutputError, match="pixel size changed"):
        prepare_data(dataset, tmp_path / "m", CONFIG, pixel_size_um=0.16)


def test_a_store_left_unfinished_and_an_unknown_segmenter_are_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="--segmenter"):
        prepare_data(dataset, tmp_path / "m", CONFIG, segmenter="ghost")
    prepared = prepare_data(dataset, tmp_path / "m", CONFIG)
    (prepared.store.path / "store.json").unlink()
    with pytest.raises(InputError, match="unfinished"):
        prepare_data(prepared.store.path, tmp_path / "other", CONFIG)


def test_the_name_of_the_masks_follows_the_segmenter_s_settings():
    usual = SegmentedMasks(get_segmenter("watershed"))
    other = SegmentedMasks(WatershedSegmenter(SegmentConfig(min_cell_um2=50)))
    assert usual.name == SegmentedMasks(get_segmenter("watershed")).name
    assert usual.name.split(":")[0] == other.name.split(":")[0] == "watershed"
    assert usual.name != other.name


def test_a_folder_of_something_else_is_refused(dataset, tmp_path):
    # a training settled down in a run folder
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").touch()
    with pytest.raises(OutputError, match=r"it holds run\.json"):
        prepare_data(dataset, out, CONFIG)
    assert [path.name for path in out.iterdir()] == ["run.json"]
