"""Nuclei in the wrong stain: drawn fields, simulated ones, and what must raise no alarm."""

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.segment.stain_swap import find_misplaced_nuclei

MICROTUBULES, PROTEIN, NUCLEUS, ER = CHANNELS
PIXEL_UM = 0.5


def swap(fov, one, other):
    pixels = fov.pixels.copy()
    order = [one.position, other.position]
    pixels[order] = pixels[order[::-1]]
    return replace(fov, pixels=pixels)


def draw(protein="cytosol", pixel_um=PIXEL_UM, expressing=12, seed=5):
    """Twelve cells that touch, with round nuclei; the protein is drawn where it is asked for."""
    rng = np.random.default_rng(seed)
    side = round(190 / pixel_um)
    planes = np.zeros((4, side, side), np.float32)
    grain = 0.6 + 0.4 * cv2.GaussianBlur(rng.normal(0, 4, (side, side)), (0, 0), 2)
    for i in range(12):
        centre = np.array([24 + 47 * (i % 4), 33 + 60 * (i // 4)]) + rng.uniform(-3, 3, 2)
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        reach = 27 + 6 * np.sin(rng.integers(3, 5) * angles + rng.uniform(0, 6))
        points = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        body = np.zeros((side, side), np.float32)
        cv2.fillPoly(body, [np.round(points / pixel_um).astype(np.int32)], 1.0)
        nucleus = np.zeros_like(body)
        size = (rng.uniform(7, 9, 2) / pixel_um).astype(int).tolist()
        middle = np.round(centre / pixel_um).astype(int).tolist()
        cv2.ellipse(nucleus, middle, size, 0, 0, 360, 1.0, -1)
        planes[MICROTUBULES.position] += 90 * body * (1 - 0.7 * nucleus) * grain
        planes[ER.position] += 80 * body * (1 - 0.9 * nucleus)
        planes[NUCLEUS.position] += rng.uniform(90, 150) * nucleus
        if i < expressing:
            where = {
                "cytosol": body * (1 - nucleus),
                "nucleoplasm": nucleus,
                "nucleoplasm and haze": nucleus + 0.15 * body,
                "everywhere": body,
                "nothing": 0 * body,
            }[protein]
            planes[PROTEIN.position] += 100 * where
    planes = np.stack([cv2.GaussianBlur(plane, (0, 0), 0.3 / pixel_um) for plane in planes])
    noise = np.maximum(rng.normal(0, 1, planes.shape), 0)
    pixels = np.clip(planes + noise, 0, 255).astype(np.uint8)
    return FieldOfView("a", pixels, pixel_um, 255)


@pytest.mark.parametrize(
    "protein", ["cytosol", "nucleoplasm", "nucleoplasm and haze", "everywhere", "nothing"]
)
@pytest.mark.parametrize("expressing", [4, 12])
def test_no_alarm_whatever_the_protein_looks_like(protein, expressing):
    assert find_misplaced_nuclei(draw(protein, expressing=expressing)) is None


@pytest.mark.parametrize("stain", [MICROTUBULES, PROTEIN, ER])
@pytest.mark.parametrize("protein", ["cytosol", "everywhere", "nothing", "nucleoplasm and haze"])
def test_the_stain_with_the_nuclei_is_named(protein, stain):
    found = find_misplaced_nuclei(swap(draw(protein), NUCLEUS, stain))
    assert found is not None
    if "nucleoplasm" not in protein:
        assert found is stain


@pytest.mark.parametrize("pixel_um", [0.3, 0.8])
def test_pixel_size_and_bit_depth_do_not_matter(pixel_um):
    swapped = swap(draw(pixel_um=pixel_um), NUCLEUS, PROTEIN)
    deep = FieldOfView("a", swapped.pixels.astype(np.uint16) * 257, pixel_um, 65535)
    assert find_misplaced_nuclei(swapped) is PROTEIN
    assert find_misplaced_nuclei(deep) is PROTEIN


def test_other_stains_exchanged_among_each_other_are_not_seen():
    fov = draw()
    for one, other in combinations([MICROTUBULES, PROTEIN, ER], 2):
        assert find_misplaced_nuclei(swap(fov, one, other)) is None


def test_too_coarse_too_few_or_blank_is_no_alarm():
    swapped = swap(draw(), NUCLEUS, PROTEIN)
    assert find_misplaced_nuclei(replace(swapped, pixel_size_um=2.0)) is None
    two_cells = np.ascontiguousarray(swapped.pixels[:, :120, :180])
    assert find_misplaced_nuclei(replace(swapped, pixels=two_cells)) is None
    assert find_misplaced_nuclei(replace(swapped, pixels=0 * swapped.pixels)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (20_000, 4)])
@pytest.mark.parametrize("pixel_um", [0.005, 0.08, 1.3, 5.0])
def test_any_size_is_looked_at(shape, pixel_um):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (4, *shape)).astype(np.uint8)
    assert find_misplaced_nuclei(FieldOfView("a", pixels, pixel_um, 255)) is None


def test_stains_are_told_apart_by_name():
    assert find_misplaced_nuclei(swap(draw(), NUCLEUS, ER)) is Channel("yellow")
