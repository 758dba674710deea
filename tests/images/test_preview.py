import cv2
import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView
from hpacells.images.discover import discover_fields
from hpacells.images.preview import _shrink, composite_rgb, grey_preview, stain_strip
from hpacells.images.read import read_field


def field(dtype=np.uint8, **levels):
    """A field (40, 100): each stain lit in its own quarter of the columns."""
    pixels = np.zeros((4, 40, 100), dtype)
    for channel in CHANNELS:
        start = 25 * channel.position
        pixels[channel.position, :, start : start + 25] = levels.get(channel.value, 200)
    return FieldOfView("a", pixels, 0.1, 255 if dtype == np.uint8 else 65535)


def test_each_stain_has_its_colour():
    picture = composite_rgb(field(), max_side=500)
    assert picture.shape == (40, 100, 3)
    assert picture.dtype == np.uint8
    assert picture[20, [10, 35, 60, 85]].tolist() == [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [64, 64, 0],
    ]


def test_pictures_are_shrunk_by_averaging_and_keep_their_shape():
    assert composite_rgb(field(), max_side=50).shape == (20, 50, 3)
    checkers = np.zeros((4, 40, 100), np.uint8)
    checkers[:, ::2, ::2] = 200
    checkers[:, :, 50:] = 200
    shown = grey_preview(FieldOfView("a", checkers, 0.1, 255), Channel.ER, max_side=50)
    assert shown.shape == (20, 50)
    assert np.unique(shown[:, :25]).tolist() == [64]  # a quarter lit; picking gives 0 or 255
    assert np.unique(shown[:, 25:]).tolist() == [255]
    assert grey_preview(field(), Channel.ER, max_side=1).shape == (1, 1)


@pytest.mark.parametrize(("side", "shown"), [(100, 100), (77, 77), (50, 50), (13, 13), (3, 3)])
def test_shrinking_loses_no_light_and_shifts_nothing(side, shown):
    rows, columns = np.indices((100, 100))
    smooth = (125 + 60 * np.sin(columns / 9) + 60 * np.cos(rows / 12)).astype(np.uint8)
    small = _shrink(smooth, (side, side))
    assert small.shape == (shown, shown)
    exact = cv2.resize(smooth.astype(np.float64), (side, side), interpolation=cv2.INTER_AREA)
    assert np.abs(small - exact).max() < 4
    assert abs(float(small.mean()) - float(smooth.mean())) < 1.5


def test_a_strip_holds_each_plane_on_its_own_blocks():
    strip = stain_strip(field(), max_side=50)
    assert strip.shape == (4 * 24, 50)
    planes = strip.reshape(4, 24, 50)
    for channel, plane in zip(CHANNELS, planes, strict=True):
        assert (plane[:20] == grey_preview(field(), channel, max_side=50)).all()
        assert (plane[20:] == plane[19]).all()
    assert stain_strip(field(), max_side=100).shape == (4 * 40, 100)


def test_a_stain_is_stretched_by_itself_but_noise_is_not():
    dim = field(green=40, blue=2)
    assert grey_preview(dim, Channel.PROTEIN, max_side=100)[20, 35] == 255
    assert grey_preview(dim, Channel.NUCLEUS, max_side=100)[20, 60] == round(255 * 2 / 16)
    blank = FieldOfView("a", np.zeros((4, 3, 5), np.uint8), 0.1, 255)
    assert not composite_rgb(blank, max_side=10).any()


def test_bit_depth_does_not_show():
    eight = field(green=40, blue=2)
    sixteen = FieldOfView("a", eight.pixels.astype(np.uint16) * 257, 0.1, 65535)
    np.testing.assert_array_equal(
        composite_rgb(eight, max_side=50), composite_rgb(sixteen, max_side=50)
    )


def test_a_side_below_one_is_refused():
    with pytest.raises(ConfigError, match="longest side"):
        composite_rgb(field(), max_side=0)


@pytest.mark.realdata
def test_a_real_field_shows_all_its_stains(real_data):
    record = discover_fields(real_data / "kaggle")[0]
    picture = composite_rgb(read_field(record), max_side=256)
    assert picture.shape == (256, 256, 3)
    assert (picture.reshape(-1, 3).max(axis=0) > 200).all()
