import cv2
import numpy as np
import pytest
import tifffile

from hpacells.core.errors import ConfigError, ImageError, TableError
from hpacells.images.discover import discover_fields
from hpacells.images.read import read_field


def deep(planes, factor):
    return {colour: plane.astype(np.uint16) * np.uint16(factor) for colour, plane in planes.items()}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("factor", "expected"), [(16, 4095), (257, 65535)])
def test_one_scale_for_the_whole_data_set(
    tmp_path, write_field, planes, suffix, factor, expected, caplog
):
    # a dim field among bright ones of 16 bits was read as 12 bits, one by one
    write_field(tmp_path, "a", suffix, **deep(planes, 2))
    for fov_id in "bcdefghijk":
        write_field(tmp_path, fov_id, suffix, **deep(planes, factor))
    records = discover_fields(tmp_path, pixel_size_um=0.1)
    assert {record.max_value for record in records} == {expected}
    assert {read_field(record).max_value for record in records} == {expected}
    assert ("taken for 12 bits" in caplog.text) == (expected == 4095)


def test_who_speaks_first(tmp_path, write_field, planes):
    write_field(tmp_path / "train", "a", **deep(planes, 2))
    write_field(tmp_path / "train", "b", **deep(planes, 2))
    (tmp_path / "train.csv").write_text("ID,Label,bit_depth\na,1,10\nb,1,\n")
    a, b = discover_fields(tmp_path)
    assert (a.max_value, b.max_value) == (1023, 4095)
    assert {r.max_value for r in discover_fields(tmp_path, bit_depth=14)} == {16383}


def test_the_file_s_own_word(tmp_path, planes):
    names = ["red", "green", "blue", "yellow"]
    stack = np.stack([planes[name] for name in names]).astype(np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": names}, "SignificantBits": 10}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata=metadata, photometric="minisblack")
    assert "SignificantBits" in tifffile.tiffcomment(path)
    (record,) = discover_fields(path, pixel_size_um=0.1)
    assert (record.max_value, read_field(record).max_value) == (1023, 1023)


def test_eight_bits_and_damaged_fields_ask_nothing(tmp_path, write_field, planes):
    write_field(tmp_path, "a")
    (record,) = discover_fields(tmp_path)
    assert record.max_value is None
    write_field(tmp_path, "b", **deep(planes, 257))
    (tmp_path / "b_green.png").write_bytes(b"damaged")
    assert {r.max_value for r in discover_fields(tmp_path)} == {None}
    write_field(tmp_path, "c", **deep(planes, 257))
    assert {r.max_value for r in discover_fields(tmp_path)} == {65535}


def test_a_field_brighter_than_its_data_set_is_refused(tmp_path, write_field, planes):
    for number in range(20):
        write_field(tmp_path, f"{number:02}", **deep(planes, 16))
    stored = deep(planes, 16)
    stored["blue"][0, 0] = 5000
    cv2.imwrite(str(tmp_path / "01_blue.png"), stored["blue"])  # not among those looked at
    records = discover_fields(tmp_path)
    with pytest.raises(ImageError, match=r"field 01: .*up to 4095.*got 5000.*--bit-depth"):
        read_field(records[1])


@pytest.mark.parametrize("bits", [7, 17, -1])
def test_impossible_depths(tmp_path, bits):
    with pytest.raises(ConfigError, match=f"--bit-depth: expected 8 to 16, got {bits}"):
        discover_fields(tmp_path, bit_depth=bits)
    (tmp_path / "f.csv").write_text(f"fov_id,red,green,blue,yellow,bit_depth\nf,a,b,c,d,{bits}\n")
    with pytest.raises(TableError, match="row 2: expected a bit_depth of 8 to 16"):
        discover_fields(tmp_path / "f.csv")
