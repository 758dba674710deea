from pathlib import Path

import cv2
import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError
from hpacells.images.colour import grey_plane

PATH = Path("a_red.png")
LIT = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}


def coloured(plane, channel, n_planes=3):
    image = np.zeros((*plane.shape, n_planes), plane.dtype)
    for i in LIT[channel.value]:
        image[..., i] = plane
    return image


@pytest.fixture
def plane():
    return np.arange(1, 4 * 6 + 1, dtype=np.uint8).reshape(4, 6)


def test_grey_is_left_alone(plane):
    assert grey_plane(plane, Channel.ER, PATH, lossy=False) is plane


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equal_planes_and_the_stains_own_colour_give_the_plane(plane, channel, dtype):
    wide = plane.astype(dtype) * (1 if dtype == np.uint8 else 2000)
    grey = np.repeat(wide[..., None], 3, axis=2)
    for image in (grey, coloured(wide, channel), coloured(wide, channel, 4)):
        found = grey_plane(image, channel, PATH, lossy=False)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, wide)


def test_a_constant_alpha_counts_for_nothing_and_a_varying_one_is_refused(plane):
    image = coloured(plane, Channel.MICROTUBULES, 4)
    image[..., 3] = 255
    np.testing.assert_array_equal(grey_plane(image, Channel.MICROTUBULES, PATH, lossy=False), plane)
    image[0, 0, 3] = 0
    with pytest.raises(ImageError, match="transparency that varies"):
        grey_plane(image, Channel.MICROTUBULES, PATH, lossy=False)


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("channel", CHANNELS)
def test_the_colour_of_another_stain_is_refused(plane, channel, lossy):
    for other in CHANNELS:
        if other is not channel:
            with pytest.raises(ImageError, match="coloured"):
                grey_plane(coloured(plane, other), channel, PATH, lossy=lossy)


def test_one_stray_value_in_a_dark_plane_of_a_png_is_refused(plane):
    image = coloured(plane, Channel.NUCLEUS)
    image[2, 3, 0] = 1
    with pytest.raises(ImageError, match="Save each stain as a grey file"):
        grey_plane(image, Channel.NUCLEUS, PATH, lossy=False)
    image = coloured(plane, Channel.ER)
    image[2, 3, 0] += 1
    with pytest.raises(ImageError, match="grey file"):
        grey_plane(image, Channel.ER, PATH, lossy=False)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("quality", [50, 75, 95])
def test_coloured_jpegs_are_read_in_spite_of_their_noise(channel, quality):
    rng = np.random.default_rng(5)
    plane = np.zeros((96, 128), np.float32)
    for row, column in zip(rng.integers(8, 88, 12), rng.integers(8, 120, 12), strict=True):
        cv2.circle(plane, (int(column), int(row)), 6, 200.0, -1)
    plane = cv2.GaussianBlur(plane, (0, 0), 2).astype(np.uint8)
    bgr = coloured(plane, channel)[..., ::-1]
    coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    image = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    found = grey_plane(image, channel, PATH, lossy=True)
    assert np.abs(found.astype(int) - plane).mean() < 4


def test_a_blank_colour_file_is_a_blank_plane():
    blank = np.zeros((3, 5, 3), np.uint8)
    assert not grey_plane(blank, Channel.PROTEIN, PATH, lossy=True).any()
