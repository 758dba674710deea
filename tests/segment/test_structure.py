"""Noise told from stains."""

import numpy as np
import pytest

from hpacells.segment.structure import has_structure


def camera(shape, *, base, sd, light=0.0, seed=0):
    """An 8-bit image of nothing, in uneven light; float32 shares."""
    rows, columns = (np.linspace(-1, 1, side) for side in shape)
    uneven = light * (1 - 0.5 * (rows[:, None] ** 2 + columns**2)) * (1 + 0.2 * columns)
    grey = base + uneven + np.random.default_rng(seed).normal(0, sd, shape)
    return (np.rint(grey).clip(0, 255) / 255).astype(np.float32)


def cell(shape, pixel_um, *, radius_um=5.0, at=(0.4, 0.6)):
    rows, columns = (np.arange(side) - place * side for side, place in zip(shape, at, strict=True))
    return np.hypot(rows[:, None], columns) * pixel_um < radius_um


@pytest.mark.parametrize("light", [0, 15, 60])
@pytest.mark.parametrize("sd", [0.5, 1, 2, 5])
@pytest.mark.parametrize("base", [0, 20])
@pytest.mark.parametrize("pixel_um", [0.32, 0.64, 1.3])
def test_noise_is_no_structure(pixel_um, base, sd, light):
    shape = (round(110 / pixel_um), round(90 / pixel_um))
    stain = camera(shape, base=base, sd=sd, light=light)
    assert not has_structure(stain, pixel_um, source_um=pixel_um)


@pytest.mark.parametrize("light", [0, 60])
@pytest.mark.parametrize("side_um", [60, 110, 330])
@pytest.mark.parametrize("pixel_um", [0.32, 0.64])
def test_one_nucleus_is_structure(pixel_um, side_um, light):
    shape = (round(side_um / pixel_um), round(1.2 * side_um / pixel_um))
    stain = camera(shape, base=20, sd=2, light=light)
    stain[cell(shape, pixel_um)] += 20 / 255
    assert has_structure(stain, pixel_um, source_um=pixel_um)


def test_hot_pixels_are_no_structure_and_hide_none():
    shape = (400, 500)
    stain = camera(shape, base=20, sd=1)
    hot = np.random.default_rng(1).random(shape) < 5e-4
    assert not has_structure(np.where(hot, np.float32(1), stain), 0.32, source_um=0.32)
    stain[cell(shape, 0.32)] += 20 / 255
    assert has_structure(np.where(hot, np.float32(1), stain), 0.32, source_um=0.32)


def test_gain_and_offset_change_nothing():
    noise = camera((300, 400), base=20, sd=2)
    drawn = noise + np.float32(0.1) * cell((300, 400), 0.32)
    for gain, offset in ((0.1, 0.0), (3.0, 0.2), (1.0, -0.05)):
        g, o = np.float32(gain), np.float32(offset)
        assert not has_structure(noise * g + o, 0.32, source_um=0.32)
        assert has_structure(drawn * g + o, 0.32, source_um=0.32)


@pytest.mark.parametrize(
    ("shape", "pixel_um"), [((1, 1), 0.32), ((1, 300), 0.32), ((300, 400), 0.32), ((30, 50), 5.0)]
)
def test_a_constant_has_none_at_any_size(shape, pixel_um):
    assert not has_structure(np.full(shape, 0.3, np.float32), pixel_um, source_um=pixel_um)


@pytest.mark.parametrize(("shape", "pixel_um"), [((100, 400), 0.32), ((60, 70), 2.5)])
def test_where_it_cannot_be_told_a_stain_counts(shape, pixel_um):
    assert has_structure(camera(shape, base=20, sd=2), pixel_um, source_um=pixel_um)
