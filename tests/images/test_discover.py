import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, ImageError, InputError, PixelSizeError, TableError
from hpacells.images.discover import discover_fields, find_train_csv
from hpacells.images.labels import match_labels, read_labels
from hpacells.images.read import read_field


def names(record):
    return [record.paths[channel].name for channel in CHANNELS]


def test_a_folder_of_quadruplets_is_sorted_and_stains_come_from_the_colour(tmp_path, write_field):
    for fov_id in ("b", "a_1", "B_red"):
        write_field(tmp_path, fov_id)
    for other in ("notes.txt", "c.png", "._a_1_red.png", "d_cells.png", "e_magenta.png"):
        (tmp_path / other).write_bytes(b"x")
    (tmp_path / "f_red.png").mkdir()
    records = discover_fields(tmp_path)
    assert [record.fov_id for record in records] == ["B_red", "a_1", "b"]
    assert names(records[1]) == [f"a_1_{c.value}.png" for c in CHANNELS]
    assert {record.pixel_size_um for record in records} == {0.08}
    assert {record.image_locations for record in records} == {None}


def test_suffix_and_colour_may_be_in_capitals(tmp_path, write_field):
    write_field(tmp_path, "a")
    (tmp_path / "a_red.png").rename(tmp_path / "a_Red.PNG")
    (record,) = discover_fields(tmp_path)
    assert names(record)[0] == "a_Red.PNG"
    assert read_field(record).width == 40


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".tif.gz"])
def test_names_of_the_atlas_say_plate_well_and_sample(tmp_path, write_field, suffix):
    for fov_id in ("457_A4_1", "458_H12_25_cr5b3a9c", "457_A4", "x_A4_1"):
        write_field(tmp_path, fov_id, suffix.removesuffix(".gz"))
    if suffix == ".tif.gz":
        for path in tmp_path.glob("*.tif"):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    short, plain, processed, other = discover_fields(tmp_path, pixel_size_um=0.08)
    assert (plain.fov_id, plain.plate, plain.well, plain.sample) == ("457_A4_1", "457", "A4", "1")
    assert (processed.plate, processed.well, processed.sample) == ("458", "H12", "25")
    assert {short.plate, other.plate} == {None}
    assert names(processed)[1] == f"458_H12_25_cr5b3a9c_green{suffix}"
    assert read_field(processed).width == 40
    (tmp_path / "train").mkdir()
    for path in [*tmp_path.glob("457_A4_1*")]:
        path.rename(tmp_path / "train" / path.name)
    (tmp_path / "train.csv").write_text("ID,Label,plate\n457_A4_1,1,P9\n")
    (told,) = discover_fields(tmp_path / "train", pixel_size_um=0.08)
    assert (told.plate, told.well) == ("P9", "A4")


@pytest.mark.parametrize("inside", [False, True])
def test_a_dataset_folder_or_its_train_folder_has_labels(
    tmp_path, write_field, inside, monkeypatch
):
    write_field(tmp_path / "train", "a")
    write_field(tmp_path / "train", "b")
    (tmp_path / "train.csv").write_text("ID,Label,gene,pixel_size_um\nb,3|1,ACTB,0.1\nz,1,,\n")
    folder = tmp_path / "train" if inside else tmp_path
    a, b = discover_fields(folder)
    assert (a.image_locations, a.gene, a.pixel_size_um) == (None, None, 0.08)
    assert (b.image_locations, b.gene, b.pixel_size_um) == ((1, 3), "ACTB", 0.1)
    assert find_train_csv(folder) == tmp_path / "train.csv"
    match = match_labels([a, b], read_labels(find_train_csv(folder)))
    assert match.rows_without_field == ("z",)
    monkeypatch.chdir(folder)  # a relative path must find the sibling too
    assert discover_fields(Path())[1].image_locations == (1, 3)


def test_a_table_beside_another_folder_is_not_read(tmp_path, write_field):
    write_field(tmp_path / "test", "a")
    (tmp_path / "train.csv").write_text("nonsense")
    assert find_train_csv(tmp_path / "test") is None
    assert len(discover_fields(tmp_path / "test")) == 1


def test_a_malformed_label_stops(tmp_path, write_field):
    write_field(tmp_path / "train", "a")
    (tmp_path / "train.csv").write_text("ID,Label\na,1|19\n")
    with pytest.raises(TableError, match=r"train\.csv: 1 problem.*\n.*row 2"):
        discover_fields(tmp_path)


def test_a_missing_stain_fails_alone_and_says_what_is_there(tmp_path, write_field):
    write_field(tmp_path, "good")
    write_field(tmp_path, "bad", blue=None, red=None)
    bad, good = discover_fields(tmp_path)
    assert read_field(good).height == 24
    assert not bad.paths[Channel.NUCLEUS].exists()
    with pytest.raises(
        ImageError,
        match=r"field bad: .*no file for red, blue .*bad_red\.png.*bad_green\.png, bad_yellow\.png",
    ):
        read_field(bad)


def test_two_files_for_a_stain_the_whole_quadruplet_wins(tmp_path, write_field, planes, caplog):
    write_field(tmp_path, "a", ".tif")
    write_field(tmp_path, "a", ".png", red=None)
    write_field(tmp_path, "b", ".jpg")
    write_field(tmp_path, "b", ".png")
    a, b = discover_fields(tmp_path, pixel_size_um=0.1)
    assert names(a) == [f"a_{c.value}.tif" for c in CHANNELS]
    assert names(b) == [f"b_{c.value}.png" for c in CHANNELS]
    assert "a_green.tif taken of a_green.png, a_green.tif" in caplog.text
    np.testing.assert_array_equal(read_field(a).channel(Channel.ER), planes["yellow"])


def test_two_files_for_a_stain_none_whole(tmp_path, write_field):
    write_field(tmp_path, "a", ".jpg", yellow=None)
    write_field(tmp_path, "a", ".png", red=None)
    shutil.copy(tmp_path / "a_red.jpg", tmp_path / "a_red.jpeg")
    (record,) = discover_fields(tmp_path, pixel_size_um=0.1)
    assert names(record) == ["a_red.jpeg", "a_green.png", "a_blue.png", "a_yellow.png"]


def test_what_holds_no_fields_says_what_is_expected(tmp_path, write_field):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.tif").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "z.zarr").mkdir()
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "zarr.json").write_text("{}")
    for name, message in {
        "nowhere": "no such file or folder",
        "empty": "no fields in it",
        "a.txt": "not a file that can be read",
    }.items():
        with pytest.raises(InputError, match=f"{message}.*expected files <ID>_red"):
            discover_fields(tmp_path / name)
    for name, message in {
        "a.tif": r"a\.tif: damaged TIFF",
        "z.zarr": r"z\.zarr: expected OME-Zarr metadata",
        "z": "z: expected OME-Zarr metadata",
    }.items():
        with pytest.raises(InputError, match=message):
            discover_fields(tmp_path / name)


def test_fields_in_the_folder_and_in_its_train_folder(tmp_path, write_field):
    write_field(tmp_path, "a")
    (tmp_path / "train").mkdir()
    assert [record.fov_id for record in discover_fields(tmp_path)] == ["a"]
    write_field(tmp_path / "train", "b")
    with pytest.raises(InputError, match="Give one folder of the two"):
        discover_fields(tmp_path)


def test_a_file_name_that_no_table_can_hold(tmp_path, write_field):
    write_field(tmp_path, "a\udcff")
    with pytest.raises(InputError, match="file names in UTF-8"):
        discover_fields(tmp_path)


def test_an_impossible_option_is_refused_first(tmp_path):
    with pytest.raises(ConfigError, match="--pixel-size-um"):
        discover_fields(tmp_path / "nowhere", pixel_size_um=0.0)


@pytest.mark.realdata
def test_the_three_fields_of_the_competition(real_data):
    records = discover_fields(real_data / "kaggle")
    assert [record.image_locations for record in records] == [(0, 1, 2, 7), (0, 5, 8), (15,)]
    assert {record.pixel_size_um for record in records} == {0.08}
    labels = read_labels(real_data / "kaggle" / "train.csv")
    match = match_labels(records, labels)
    assert len(match.matched) == 3
    assert len(match.rows_without_field) == 21_803


@pytest.mark.realdata
def test_the_mosaics_need_a_pixel_size(real_data):
    with pytest.raises(PixelSizeError, match=r"20 of 20.*Give --pixel-size-um"):
        discover_fields(real_data / "cells")
    records = discover_fields(real_data / "cells", pixel_size_um=0.16)
    assert len(records) == 20
    assert all(record.image_locations for record in records)
    field = read_field(records[0])
    assert (field.height, field.width, field.pixel_size_um) == (1536, 1536, 0.16)


def test_a_line_break_in_a_name_is_refused_not_passed_over(tmp_path, write_field):
    write_field(tmp_path, "a\nb")
    with pytest.raises(InputError, match="without control"):
        discover_fields(tmp_path)


def test_a_circle_of_links_and_a_pipe_fail_alone(tmp_path, write_field):
    # the circle ended the command, the pipe made it wait for ever
    for fov_id in ("circle", "pipe"):
        write_field(tmp_path, fov_id, ".tif", red=None)
    (tmp_path / "circle_red.tif").symlink_to("circle_red.tif")
    os.mkfifo(tmp_path / "pipe_red.tif")
    circle, pipe = discover_fields(tmp_path)
    with pytest.raises(ImageError, match=r"circle_red\.tif: cannot be read"):
        read_field(circle)
    with pytest.raises(ImageError, match="expected a file, got a folder or a device"):
        read_field(pipe)
