import gzip
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hpacells.core.errors import ImageError
from hpacells.images.channel_source import MAX_SIDE_PX
from hpacells.images.decode import (
    ImageFormat,
    decode_image,
    format_of_name,
    read_bytes,
    split_suffix,
    unzip,
)

PLANE = np.arange(6 * 10, dtype=np.uint16).reshape(6, 10) * 1000


def encode(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_red.png", ("a_red", ImageFormat.PNG)),
        ("a_red.PNG", ("a_red", ImageFormat.PNG)),
        ("a.b_red.jpeg", ("a.b_red", ImageFormat.JPEG)),
        ("a_red.TIF", ("a_red", ImageFormat.TIFF)),
        ("a_red.tif.gz", ("a_red", ImageFormat.TIFF)),
        ("a_red.ome.tiff", ("a_red", ImageFormat.TIFF)),
        ("a_red.gz", None),
        ("a_redpng", None),
    ],
)
def test_split_suffix_knows_the_formats(name, expected):
    assert split_suffix(name) == expected
    assert format_of_name(Path(name)) == (expected[1] if expected else None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_pixels_come_back_exactly(dtype):
    image = PLANE.astype(dtype)
    decoded = decode_image(encode(".png", image), Path("a.png"))
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, image)


def test_colours_come_in_the_order_red_green_blue_alpha(tmp_path):
    path = tmp_path / "a.png"
    image = np.zeros((3, 5, 4), np.uint8)
    image[...] = (1, 2, 3, 4)
    Image.fromarray(image).save(path)
    np.testing.assert_array_equal(decode_image(read_bytes(path), path), image)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_truncation_is_refused(suffix):
    whole = encode(suffix, PLANE.astype(np.uint8))
    for length in range(len(whole)):
        with pytest.raises(ImageError):
            decode_image(whole[:length], Path(f"a{suffix}"))


def test_truncated_files_say_so():
    with pytest.raises(ImageError, match="truncated PNG"):
        decode_image(encode(".png", PLANE)[:-5], Path("a.png"))
    with pytest.raises(ImageError, match="truncated JPEG"):
        decode_image(encode(".jpg", PLANE.astype(np.uint8))[:-2], Path("a.jpg"))


def test_a_flipped_bit_in_a_png_is_seen():
    content = bytearray(encode(".png", PLANE))
    content[len(content) // 2] ^= 1
    with pytest.raises(ImageError, match="damaged PNG"):
        decode_image(bytes(content), Path("a.png"))


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_png_with_good_checksums_and_bad_pixels_is_refused(capfd):
    header = struct.pack(">IIBBBBB", 10, 6, 8, 0, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", b"no zlib"), png_chunk(b"IEND", b"")]
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_image(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), Path("a.png"))
    capfd.readouterr()


def test_opencv_refusing_loudly_is_an_image_error(monkeypatch):
    def refuse(*_):
        raise cv2.error("too large")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_image(encode(".png", PLANE), Path("a.png"))


def test_gigantic_sides_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    header = struct.pack(">IIBBBBB", MAX_SIDE_PX + 1, 6, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=f"1 to {MAX_SIDE_PX} pixels, got {MAX_SIDE_PX + 1}x6"):
        decode_image(content, Path("a.png"))
    jpeg = bytearray(encode(".jpg", PLANE.astype(np.uint8)))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 6, 60_000)
    with pytest.raises(ImageError, match="60000x6"):
        decode_image(bytes(jpeg), Path("a.jpg"))


def test_a_jpeg_without_frame_header_is_refused():
    with pytest.raises(ImageError, match="no frame header"):
        decode_image(b"\xff\xd8\xff\xff\xd9" + b"\0" * 20, Path("a.jpg"))


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>", b"\x89PNG"])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ImageError, match="expected a PNG, JPEG or TIFF"):
        decode_image(content, Path("a.png"))


def test_another_format_than_the_name_says_is_refused():
    with pytest.raises(ImageError, match="expected a PNG image by its name, got JPEG"):
        decode_image(encode(".jpg", PLANE.astype(np.uint8)), Path("a.png"))


def test_gzipped_tiff_is_read_and_a_damaged_one_refused():
    whole = gzip.compress(encode(".tif", PLANE))
    np.testing.assert_array_equal(decode_image(whole, Path("a.tif.gz")), PLANE)
    with pytest.raises(ImageError, match="gzip"):
        decode_image(whole[:-12], Path("a.tif.gz"))


def test_a_zip_bomb_is_refused(monkeypatch):
    monkeypatch.setattr("hpacells.images.decode._MAX_UNZIPPED_BYTES", 100)
    with pytest.raises(ImageError, match="unzips to more"):
        unzip(gzip.compress(b"0" * 101), Path("a.tif.gz"))


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_bytes(tmp_path / "a.png")
    with pytest.raises(ImageError, match="expected a file, got a folder"):
        read_bytes(tmp_path)
