import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hpacells.core.errors import ImageError
from hpacells.images.channel_source import MAX_SIDE_PX, check_side
from hpacells.images.tiff import decode_tiff, tiff_pixel_size_um

PLANE = np.arange(30 * 50, dtype=np.uint16).reshape(30, 50)
PATH = Path("a.tif")
RISING = np.stack([np.arange(256) * 257, np.zeros(256), np.zeros(256)]).astype(np.uint16)


def encode(image, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"compression": "zstd", "tile": (16, 16)},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"imagej": True},
        {"ome": True},
    ],
)
def test_pixels_come_back_exactly(options):
    decoded = decode_tiff(encode(PLANE, **options), PATH)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, PLANE)


def test_an_imagej_colour_table_leaves_the_values():
    image = PLANE.astype(np.uint8)
    content = encode(image, photometric="palette", colormap=RISING)
    np.testing.assert_array_equal(decode_tiff(content, PATH), image)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (PLANE.astype(np.float32), {}, "integer grey values, got float32"),
        (PLANE > 9, {}, "integer grey values, got bool"),
        (np.stack([PLANE, PLANE]), {}, "one grey page"),
        (np.stack([PLANE, PLANE]), {"imagej": True}, "one grey page"),
        (PLANE[:, :, None].repeat(2, axis=2), {"planarconfig": "contig"}, "one grey page"),
        (PLANE, {"photometric": "miniswhite"}, "inverted grey"),
        (
            PLANE.astype(np.uint8),
            {"photometric": "palette", "colormap": RISING[:, ::-1]},
            "colour table",
        ),
    ],
)
def test_what_is_not_one_grey_page_is_refused(image, options, message):
    with pytest.raises(ImageError, match=message):
        decode_tiff(encode(image, **options), PATH)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_truncated_files_are_refused(options):
    whole = encode(PLANE, **options)
    for length in (4, 9, 60, len(whole) // 2, len(whole) - 10):
        with pytest.raises(ImageError, match=r"a\.tif: damaged TIFF"):
            decode_tiff(whole[:length], PATH)


def test_random_damage_gives_an_image_or_an_image_error(caplog):
    rng = np.random.default_rng(3)
    whole = np.frombuffer(encode(PLANE, compression="zlib", ome=True), np.uint8)
    refused = 0
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(0, min(whole.size, 600), 3)] = rng.integers(0, 256, 3)
        try:
            decode_tiff(damaged.tobytes(), PATH)
            tiff_pixel_size_um(damaged.tobytes())
        except ImageError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("side", [(0, 5), (5, MAX_SIDE_PX + 1)])
def test_impossible_sides(side):
    with pytest.raises(ImageError, match="expected sides of 1 to"):
        check_side(*side, PATH)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}}, 0.1),
        (
            {
                "ome": True,
                "metadata": {
                    "PhysicalSizeX": 80,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 80,
                    "PhysicalSizeYUnit": "nm",
                },
            },
            0.08,
        ),
        ({"ome": True}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.0}}, None),
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "um"}}, 0.2),
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "micron"}}, 0.2),
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "\\u00B5m"}}, 0.2),
        ({"imagej": True, "resolution": (0.01, 0.01), "metadata": {"unit": "nm"}}, 0.1),
        ({"imagej": True, "resolution": (5, 5), "metadata": {"unit": "inch"}}, None),
        ({"imagej": True, "resolution": (5, 5)}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (100_000, 100_000), "resolutionunit": "CENTIMETER"}, None),
        ({}, None),
    ],
)
def test_only_units_of_length_count(tmp_path, options, expected):
    content = encode(PLANE, **options)
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    for source in (content, path):
        assert tiff_pixel_size_um(source) == (
            None if expected is None else pytest.approx(expected, rel=1e-6)
        )


def test_pixels_that_are_not_square_are_refused():
    content = encode(PLANE, imagej=True, resolution=(5, 10), metadata={"unit": "um"})
    with pytest.raises(ImageError, match=r"square pixels, got 0\.2 x 0\.1"):
        tiff_pixel_size_um(content)


def test_pixel_size_of_what_is_no_tiff(tmp_path):
    with pytest.raises(ImageError, match="damaged TIFF"):
        tiff_pixel_size_um(b"nothing")
    with pytest.raises(ImageError, match="damaged TIFF"):
        tiff_pixel_size_um(tmp_path / "missing.tif")
