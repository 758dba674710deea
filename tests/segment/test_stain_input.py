"""What the network is given."""

import re

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, ImageError
from hpacells.core.fov import FieldOfView
from hpacells.segment import stain_input
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import (
    network_grid,
    present_flags,
    stain_stack,
)


def normalise_stain(stain, pixel_um=0.32):
    grid = WorkingScale(stain.shape, pixel_um)
    return stain_input.normalise_stain(stain, grid, source_um=pixel_um)


def by_percentiles(stain):
    low, high = np.percentile(stain, (2, 99.8))
    span = max(float(high - low), 0.01)
    return np.sqrt(np.clip((stain - np.float32(low)) / np.float32(span), 0, 1))


def draw_cells(shape, n, *, pixel_um=0.32, noise=0.01, bright=0.4, seed=0):
    """Noise, and round cells (radius 9 µm) with brighter nuclei (radius 5 µm)."""
    rng = np.random.default_rng(seed)
    stain = 0.1 + rng.normal(0, noise, shape)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for row, column in rng.uniform(0.1, 0.9, (n, 2)) * shape:
        far_um = pixel_um * np.hypot(rows - row, columns - column)
        stain[far_um < 9] = 0.1 + bright / 4
        stain[far_um < 5] = 0.1 + bright
    return stain.clip(0, 1).astype(np.float32)


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


@pytest.mark.parametrize("shape", [(280, 300), (480, 500)])
@pytest.mark.parametrize("n", [1, 30])
def test_fields_of_ordinary_size_have_their_percentiles_as_ends(shape, n):
    """0.2 % of 24,576 µm² is less than 50 µm²."""
    stain = draw_cells(shape, n)
    np.testing.assert_array_equal(normalise_stain(stain), by_percentiles(stain))


def test_a_lone_cell_in_a_large_field_has_its_own_bright_end():
    stain = draw_cells((1024, 1300), 1, noise=0.002)
    normal = normalise_stain(stain)
    nucleus = stain > 0.35
    assert 50 < nucleus.sum() * 0.32**2 < 0.002 * stain.size * 0.32**2
    assert normal[nucleus].min() > 0.99
    assert np.median(normal[~nucleus]) < 0.2
    assert np.median(by_percentiles(stain)[~nucleus]) > 0.4  # what noise would be stretched to


@pytest.mark.parametrize("bright", [0.2, 0.5])
def test_a_bright_speck_changes_nothing_in_a_large_field_full_of_cells(bright):
    stain = draw_cells((577, 580), 150, bright=bright)
    before = normalise_stain(stain)
    assert 0.002 * stain.size * 0.32**2 > 50
    speck = np.zeros(stain.shape, np.bool_)
    speck[100:124, 200:225] = True  # 61 µm²
    changed = np.where(speck, np.float32(1), stain)
    after = normalise_stain(changed)
    np.testing.assert_array_equal(after, by_percentiles(changed))
    assert np.abs(after - before)[~speck].max() < 0.05


def test_a_speck_below_50_um2_is_not_the_bright_end():
    stain = draw_cells((900, 1000), 0)
    stain[100:120, 200:220] = 1  # 41 µm²
    assert np.median(normalise_stain(stain)) > 0.4


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
        expected = normalise_stain(grid.reduce(fov.channel(channel), 255), grid.pixel_um)
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


@pytest.mark.parametrize("shape", [(20_000, 20_001), (40, 10_000_001)])
def test_fields_too_large_to_work_on_are_refused_before_anything_is_made(shape):
    with pytest.raises(
        ImageError,
        match=f"at most 100 million pixels.*got {shape[0]} x {shape[1]} pixels of 0.32 µm .*mm",
    ):
        network_grid(shape, 0.32, 0.32)
    assert network_grid((20_000, 20_001), 0.08, 0.32).shape == (5000, 5000)


def test_no_field_is_enlarged_beyond_that():
    with pytest.raises(ImageError, match=re.escape("(7.5 x 7.5 mm), which makes 225 million")):
        network_grid((6000, 6000), 1.25, 0.5)


def test_missing_stains_are_said():
    np.testing.assert_array_equal(present_flags(()), [1, 1, 1])
    np.testing.assert_array_equal(present_flags([Channel.MICROTUBULES]), [1, 0, 1])
    with pytest.raises(ConfigError, match="expected some of blue, red, yellow, got green"):
        present_flags([Channel.PROTEIN])
    with pytest.raises(ConfigError, match="at least one"):
        present_flags([Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER])
