"""What the network is given."""

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView
from hpacells.segment.stain_input import (
    network_grid,
    normalise_stain,
    present_flags,
    stain_stack,
)


def make_fov(shape=(90, 130), pixel_um=0.08, max_value=255):
    rng = np.random.default_rng(0)
    dtype = np.uint8 if max_value == 255 else np.uint16
    pixels = rng.integers(0, max_value + 1, (len(CHANNELS), *shape)).astype(dtype)
    return FieldOfView("f", pixels, pixel_um, max_value)


def test_background_becomes_0_and_the_bright_end_1():
    stain = np.full((20, 30), 0.1, np.float32)
    stain[4:10, 5:20] = 0.5
    stain[12:14, 5:20] = 0.2
    normal = normalise_stain(stain)
    assert normal[0, 0] == 0
    assert normal[5, 6] == pytest.approx(1)
    assert normal[12, 6] == pytest.approx(np.sqrt(0.1 / 0.4), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_stain_becomes_0(value):
    assert not normalise_stain(np.full((7, 9), value, np.float32)).any()


def test_a_span_of_next_to_nothing_is_not_stretched():
    stain = np.zeros((10, 10), np.float32)
    stain[5:] = 0.001
    assert normalise_stain(stain).max() == pytest.approx(np.sqrt(0.1), rel=1e-4)


def test_gain_and_offset_of_a_stain_change_nothing():
    stain = np.random.default_rng(1).random((30, 20)).astype(np.float32) * 0.5
    np.testing.assert_allclose(
        normalise_stain(stain), normalise_stain(stain * 0.6 + 0.2), atol=1e-3
    )


def test_the_stack_holds_nucleus_microtubules_er():
    fov = make_fov()
    grid = network_grid((90, 130), 0.08, 0.32)
    stack = stain_stack(fov, grid)
    assert stack.shape == (3, *grid.shape) == (3, 22, 32)
    for plane, channel in zip(
        stack, (Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER), strict=True
    ):
        expected = normalise_stain(grid.reduce(fov.channel(channel), 255))
        np.testing.assert_array_equal(plane, expected)


def test_the_bit_depth_does_not_matter():
    fov = make_fov()
    deep = FieldOfView("f", fov.pixels.astype(np.uint16) * 257, 0.08, 65535)
    grid = network_grid((90, 130), 0.08, 0.32)
    np.testing.assert_allclose(stain_stack(fov, grid), stain_stack(deep, grid), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "pixel_um", "expected", "grid_um"),
    [
        ((90, 130), 0.32, (90, 130), 0.32),
        ((90, 130), 0.16, (45, 65), 0.32),
        ((40, 30), 0.64, (80, 60), 0.32),
        ((40, 30), 5.0, (160, 120), 1.25),
        ((1, 1), 0.08, (1, 1), 0.32),
    ],
)
def test_fields_are_brought_to_the_pixel_size_of_the_network(shape, pixel_um, expected, grid_um):
    grid = network_grid(shape, pixel_um, 0.32)
    assert grid.shape == expected
    assert grid.pixel_um == pytest.approx(grid_um)
    assert stain_stack(make_fov(shape, pixel_um), grid).shape == (3, *expected)


def test_missing_stains_are_said():
    np.testing.assert_array_equal(present_flags(()), [1, 1, 1])
    np.testing.assert_array_equal(present_flags([Channel.MICROTUBULES]), [1, 0, 1])
    with pytest.raises(ConfigError, match="expected some of blue, red, yellow, got green"):
        present_flags([Channel.PROTEIN])
    with pytest.raises(ConfigError, match="at least one"):
        present_flags([Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER])
