"""Sharpness of drawn cells: blur lowers it; brightness, pixel size and bit depth do not matter."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.config import QualityConfig
from hpacells.segment.sharpness import measure_sharpness

CONFIG = QualityConfig()


def draw(pixel_um=0.1, *, blur_um=0.0, gain=1.0, bits=8):
    """Two cells of the same random filaments, the second blurred; (300, 400) pixels at 0.1 µm."""
    rng = np.random.default_rng(4)
    plane = np.zeros((600, 800), np.float32)
    for _ in range(700):
        start = rng.integers(0, (800, 600))
        stop = start + rng.integers(-120, 121, 2)
        cv2.line(plane, start.tolist(), stop.tolist(), 90.0, 4)
    plane[:, 400:] = plane[:, :400]  # two draws of so few filaments differ by a fifth
    plane = cv2.GaussianBlur(plane, (0, 0), 3)
    if blur_um:
        plane[:, 400:] = cv2.GaussianBlur(plane, (0, 0), blur_um / 0.05)[:, 400:]
    shape = (round(30 / pixel_um), round(40 / pixel_um))
    plane = gain * cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_AREA)
    top = 2**bits - 1
    grey = np.clip(plane * top / 255, 0, top).astype(np.uint8 if bits == 8 else np.uint16)
    pixels = np.zeros((4, *shape), grey.dtype)
    pixels[Channel.MICROTUBULES.position] = grey
    cells = np.zeros(shape, np.int32)
    middle = shape[1] // 2
    cells[5:-5, 5 : middle - 5], cells[5:-5, middle + 5 : -5] = 2, 4
    masks = CellMasks(cells, np.zeros_like(cells), "drawn", pixel_um)
    return FieldOfView("a", pixels, pixel_um, top), masks


def test_blur_is_what_lowers_it():
    sharp = measure_sharpness(*draw(), CONFIG)
    values = {um: measure_sharpness(*draw(blur_um=um), CONFIG) for um in (0.8, 1.2, 1.6)}
    assert sharp[[2, 4]].min() > 0.5
    assert sharp[2] == pytest.approx(sharp[4], rel=0.05)
    assert sharp[4] > values[0.8][4] > CONFIG.min_sharpness > values[1.2][4] > values[1.6][4]
    # the coarse band reaches a little over from the blurred side
    assert [found[2] for found in values.values()] == pytest.approx([sharp[2]] * 3, rel=0.02)


@pytest.mark.parametrize("changed", [{"gain": 0.4}, {"bits": 16}, {"pixel_um": 0.2}])
def test_brightness_bits_and_pixel_size_cancel_out(changed):
    plain, other = measure_sharpness(*draw(), CONFIG), measure_sharpness(*draw(**changed), CONFIG)
    assert other[[2, 4]] == pytest.approx(plain[[2, 4]], rel=0.1)


def test_what_cannot_be_judged_is_nan():
    fov, masks = draw()
    assert np.isnan(measure_sharpness(fov, masks, CONFIG)[[0, 1, 3]][1:]).all()
    assert np.isnan(measure_sharpness(*draw(pixel_um=0.5), CONFIG)).all()
    fov = replace(fov, pixels=np.full_like(fov.pixels, 7))
    assert np.isnan(measure_sharpness(fov, masks, CONFIG)).all()
    nothing = np.zeros((1, 1), np.int32)
    empty = CellMasks(nothing, nothing, "drawn", 0.1)
    fov = FieldOfView("a", np.zeros((4, 1, 1), np.uint8), 0.1, 255)
    assert np.isnan(measure_sharpness(fov, empty, CONFIG)).all()


def test_the_second_stain_is_looked_at_only_where_the_first_does_not_do():
    fov, masks = draw(blur_um=1.2)  # cell 2 is sharp in microtubules, cell 4 is not
    fov.pixels[Channel.ER.position] = fov.pixels[Channel.MICROTUBULES.position][:, ::-1]
    least = CONFIG.min_sharpness
    both = measure_sharpness(fov, masks, CONFIG)
    assert both[[2, 4]].min() > least
    assert np.array_equal(measure_sharpness(fov, masks, CONFIG, enough=least), both, equal_nan=True)
    one = measure_sharpness(fov, masks, CONFIG, enough=0.01)
    assert one[4] < least < both[4]


def test_the_protein_is_never_looked_at():
    fov, masks = draw()
    before = measure_sharpness(fov, masks, CONFIG)
    fov.pixels[Channel.PROTEIN.position] = np.random.default_rng(0).integers(0, 256, (300, 400))
    after = measure_sharpness(replace(fov), masks, CONFIG)  # a field keeps what was found in it
    assert np.array_equal(after, before, equal_nan=True)
