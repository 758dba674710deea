import gzip

import numpy as np
import pytest
import tifffile

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, PixelSizeError, TableError
from hpacells.core.fov import FovRecord
from hpacells.images.discover import discover_fields
from hpacells.images.pixel_size import (
    check_pixel_size_option,
    default_pixel_size_um,
    parse_pixel_size_um,
    resolve_pixel_sizes,
)

IMAGEJ = {"imagej": True, "resolution": (5, 5), "metadata": {"unit": "um"}}


def write_tiffs(folder, fov_id, options, *, gzipped=False):
    for number, channel in enumerate(CHANNELS):
        path = folder / f"{fov_id}_{channel.value}.tif"
        plane = np.arange(15, dtype=np.uint16).reshape(3, 5) + number
        tifffile.imwrite(path, plane, **options.get(channel.value, {}))
        if gzipped:
            path.with_suffix(".tif.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()


def sizes(folder, **options):
    return {r.fov_id: r.pixel_size_um for r in discover_fields(folder, **options)}


def test_png_is_full_resolution_and_its_dots_per_inch_do_not_count(tmp_path, write_field):
    write_field(tmp_path, "a")
    assert sizes(tmp_path) == {"a": 0.08}


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_other_formats_need_to_be_told(tmp_path, write_field, suffix):
    write_field(tmp_path, "a", ".png")
    for number in range(7):
        write_field(tmp_path, f"b{number}", suffix)
    with pytest.raises(PixelSizeError, match=r"7 of 8 field\(s\) \(b0, b1, b2, b3, b4 …\)"):
        discover_fields(tmp_path)
    assert set(sizes(tmp_path, pixel_size_um=0.16).values()) == {0.16}


def test_one_stain_that_is_no_png_needs_to_be_told(tmp_path, write_field):
    write_field(tmp_path, "a", ".png", red=None)
    write_field(tmp_path, "a", ".jpg", green=None, blue=None, yellow=None)
    with pytest.raises(PixelSizeError):
        discover_fields(tmp_path)


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("said_by", ["red", "yellow"])
def test_a_tiffs_own_units_count(tmp_path, said_by, gzipped):
    write_tiffs(tmp_path, "a", {said_by: IMAGEJ}, gzipped=gzipped)
    assert sizes(tmp_path) == {"a": pytest.approx(0.2)}


def test_order_option_table_file(tmp_path):
    write_tiffs(tmp_path, "a", {"red": IMAGEJ})
    (record,) = discover_fields(tmp_path)
    told = FovRecord("a", record.paths, pixel_size_um=0.3)
    assert resolve_pixel_sizes([told], None)[0].pixel_size_um == 0.3
    assert resolve_pixel_sizes([told], 0.4)[0].pixel_size_um == 0.4
    assert default_pixel_size_um(told) == pytest.approx(0.2)


def test_a_field_that_cannot_be_read_anyway_stops_nothing(tmp_path, write_field):
    write_field(tmp_path, "good")
    write_field(tmp_path, "gap", ".jpg", blue=None)
    write_field(tmp_path, "torn", ".tif")
    for channel in CHANNELS:
        (tmp_path / f"torn_{channel.value}.tif").write_bytes(b"II*\0")
    assert sizes(tmp_path) == {"gap": None, "good": 0.08, "torn": None}


@pytest.mark.parametrize("text", ["", "abc", "nan", "inf", "-0.1", "0", "6", "0.0001"])
def test_impossible_sizes_in_a_table(text):
    with pytest.raises(TableError, match="expected a pixel_size_um"):
        parse_pixel_size_um(text)


def test_possible_sizes_in_a_table():
    assert parse_pixel_size_um(" 8e-2 ") == 0.08


@pytest.mark.parametrize("size", [0.0, -1.0, 5.1, float("nan")])
def test_impossible_options(size):
    check_pixel_size_option(None)
    check_pixel_size_option(0.16)
    with pytest.raises(ConfigError, match="--pixel-size-um: expected"):
        check_pixel_size_option(size)
