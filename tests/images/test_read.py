import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, PixelSizeError
from hpacells.core.fov import FovRecord, to_8bit
from hpacells.images.discover import discover_fields
from hpacells.images.read import digest_field, read_field, read_field_with_digest


def record_of(folder, fov_id="a", suffix=".png", pixel_size_um=0.1):
    paths = {c: folder / f"{fov_id}_{c.value}{suffix}" for c in CHANNELS}
    return FovRecord(fov_id, paths, pixel_size_um)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("factor", [1, 257])
def test_pixels_are_as_stored(tmp_path, write_field, planes, suffix, factor):
    dtype = np.uint8 if factor == 1 else np.uint16
    stored = {colour: plane.astype(dtype) * dtype(factor) for colour, plane in planes.items()}
    write_field(tmp_path, "a", suffix, **stored)
    field = read_field(record_of(tmp_path, suffix=suffix))
    assert field.pixels.dtype == dtype
    assert field.pixels.shape == (4, 24, 40)
    assert field.max_value == (255 if factor == 1 else 65535)
    for channel in CHANNELS:
        np.testing.assert_array_equal(field.channel(channel), stored[channel.value])
        scaled = to_8bit(field.channel(channel), field.max_value)
        np.testing.assert_array_equal(scaled, planes[channel.value])


def test_jpeg_is_close(tmp_path, write_field, planes):
    write_field(tmp_path, "a", ".jpg")
    field = read_field(record_of(tmp_path, suffix=".jpg"))
    for channel in CHANNELS:
        assert np.abs(field.channel(channel).astype(int) - planes[channel.value]).mean() < 3


def test_the_record_says_the_full_scale_of_sixteen_bits(tmp_path, write_field, planes):
    stored = {colour: (plane // 2).astype(np.uint16) for colour, plane in planes.items()}
    stored["blue"][3, 4] = 4000
    write_field(tmp_path, "a", **stored)
    record = record_of(tmp_path)
    dim = replace(record, max_value=4095)
    assert read_field(record).max_value == 65535
    assert read_field(dim).max_value == 4095
    assert digest_field(record) == digest_field(replace(record, max_value=65535))
    assert digest_field(dim) != digest_field(record)
    with pytest.raises(ImageError, match=r"values up to 1023, .*got 4000.*--bit-depth"):
        read_field(replace(record, max_value=1023))
    write_field(tmp_path, "a")
    assert read_field(dim).max_value == 255


def test_stains_of_different_sizes_or_depths(tmp_path, write_field, planes):
    write_field(tmp_path, "a", green=planes["green"][:20])
    with pytest.raises(ImageError, match="red 40x24 uint8, green 40x20 uint8, blue 40x24"):
        read_field(record_of(tmp_path))
    write_field(tmp_path, "a", green=planes["green"].astype(np.uint16))
    with pytest.raises(ImageError, match=r"one size and bit depth.*green 40x24 uint16"):
        read_field(record_of(tmp_path))


def test_a_stain_that_is_a_copy_of_another(tmp_path, write_field, planes):
    write_field(tmp_path, "a", yellow=planes["red"])
    with pytest.raises(ImageError, match="red and yellow hold the same picture"):
        read_field(record_of(tmp_path))
    nearly = planes["red"].copy()
    nearly[5, 7] ^= 1
    write_field(tmp_path, "a", yellow=nearly)
    assert read_field(record_of(tmp_path)).width == 40


def test_dark_saturated_and_blank_stains_are_read(tmp_path, write_field, planes):
    blank = np.zeros_like(planes["red"])
    write_field(tmp_path, "a", red=blank, green=blank, blue=blank + 255)
    field = read_field(record_of(tmp_path))
    assert not field.channel(Channel.PROTEIN).any()
    assert (field.channel(Channel.NUCLEUS) == 255).all()


def test_a_colour_file_is_read_or_refused(tmp_path, write_field, planes):
    colours = np.stack([planes["blue"] * 0, planes["blue"] * 0, planes["blue"]], axis=-1)
    write_field(tmp_path, "a", blue=colours)
    field = read_field(record_of(tmp_path))
    np.testing.assert_array_equal(field.channel(Channel.NUCLEUS), planes["blue"])
    write_field(tmp_path, "a", red=colours)
    with pytest.raises(ImageError, match=r"a_red\.png: expected a grey image"):
        read_field(record_of(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image(tmp_path, write_field, content):
    write_field(tmp_path, "a")
    (tmp_path / "a_yellow.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a_yellow\.png"):
        read_field(record_of(tmp_path))


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float32])
def test_grey_values_that_are_not_8_or_16_bits(tmp_path, write_field, planes, dtype):
    write_field(tmp_path, "a", ".tif", blue=planes["blue"].astype(dtype))
    with pytest.raises(ImageError, match=r"a_blue\.tif: expected .*grey values, got"):
        read_field(record_of(tmp_path, suffix=".tif"))


def test_missing_files_for_reading_and_for_the_digest(tmp_path, write_field):
    write_field(tmp_path, "a", green=None)
    for ask in (read_field, digest_field):
        with pytest.raises(ImageError, match="no file for green"):
            ask(record_of(tmp_path))
    with pytest.raises(ImageError, match="there are: none"):
        read_field(record_of(tmp_path / "nowhere"))


def test_a_folder_instead_of_a_file(tmp_path, write_field):
    write_field(tmp_path, "a", green=None)
    (tmp_path / "a_green.png").mkdir()
    with pytest.raises(ImageError, match="got a folder"):
        read_field(record_of(tmp_path))


def test_the_digest_is_of_the_content_alone(tmp_path, write_field, planes):
    write_field(tmp_path / "one", "a")
    write_field(tmp_path / "two", "b")
    field, digest = read_field_with_digest(record_of(tmp_path / "one"))
    assert field.fov_id == "a"
    assert digest == digest_field(record_of(tmp_path / "one"))
    assert digest == digest_field(record_of(tmp_path / "two", "b"))
    write_field(tmp_path / "two", "b", red=planes["green"], green=planes["red"])
    assert digest != digest_field(record_of(tmp_path / "two", "b"))
    changed = planes["blue"].copy()
    changed[0, 0] ^= 1
    write_field(tmp_path / "one", "a", blue=changed)
    assert digest != digest_field(record_of(tmp_path / "one"))


def test_own_pixel_sizes_that_disagree(tmp_path, planes):
    for number, channel in enumerate(CHANNELS):
        tifffile.imwrite(
            tmp_path / f"a_{channel.value}.tif",
            planes[channel.value],
            imagej=True,
            resolution=(5 + (number == 3), 5 + (number == 3)),
            metadata={"unit": "um"},
        )
    with pytest.raises(ImageError, match=r"own pixel sizes differ.*red 0\.2.*yellow 0\.16"):
        read_field(record_of(tmp_path, suffix=".tif"))


def test_a_record_without_pixel_size_asks_its_files(tmp_path, write_field):
    write_field(tmp_path, "a")
    assert read_field(record_of(tmp_path, pixel_size_um=None)).pixel_size_um == 0.08
    write_field(tmp_path, "a", ".jpg")
    with pytest.raises(PixelSizeError, match="Give --pixel-size-um"):
        read_field(record_of(tmp_path, suffix=".jpg", pixel_size_um=None))


@pytest.mark.realdata
def test_real_fields_are_read_fast(real_data):
    for record in discover_fields(real_data / "kaggle"):
        started = time.perf_counter()
        field, digest = read_field_with_digest(record)
        assert time.perf_counter() - started < 2.0
        assert field.pixels.shape == (4, 2048, 2048)
        assert field.max_value == 255
        assert digest == digest_field(record)
