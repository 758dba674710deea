"""What is said of a field as a whole."""

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.field_quality import (
    FieldQuality,
    find_constant_stains,
    find_empty_stains,
    judge_field,
)
from hpacells.segment.measure import measure_cells


def make_field(shape=(120, 90), dtype=np.uint8, max_value=255):
    """Noise, and a bright disk in each stain."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 9, (4, *shape)).astype(dtype)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    pixels[:, np.hypot(rows - 50, columns - 40) < 16] += dtype(40)
    return FieldOfView("a", pixels, 0.5, max_value)


def measure(fov, cells):
    masks = CellMasks(cells, np.zeros_like(cells), "drawn", fov.pixel_size_um)
    return measure_cells(fov, masks)


def test_a_blank_field_has_no_cells_and_is_no_error():
    fov = FieldOfView("a", np.zeros((4, 50, 70), np.uint8), 0.08, 255)
    found = judge_field(fov, measure(fov, np.zeros((50, 70), np.int32)))
    assert found == FieldQuality(no_cells=True, constant=CHANNELS)
    assert found.columns() == {
        "qc_no_cells": True,
        "qc_constant_stain": True,
        "qc_swapped_stains": False,
        "reason": "no cells found; constant stain: red, green, blue, yellow",
    }


def test_rejected_cells_are_no_cells():
    fov = make_field()
    debris = np.zeros((120, 90), np.int32)
    debris[50:54, 50:54] = 1
    assert judge_field(fov, measure(fov, debris)).no_cells
    debris[20:60, 20:60] = 2
    found = judge_field(fov, measure(fov, np.where(debris == 2, 2, 0).astype(np.int32)))
    assert found == FieldQuality(no_cells=False)
    assert found.reason is None
    assert not any(found.columns().values())


@pytest.mark.parametrize(("dtype", "max_value"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("level", [0, 3, 255])
def test_one_grey_value_is_constant_but_for_hot_pixels(level, dtype, max_value):
    fov = make_field((200, 300), dtype, max_value)
    assert find_constant_stains(fov) == ()
    fov.pixels[3] = level
    fov.pixels[3, 7, 5:11] = 9  # six of 60,000
    assert find_constant_stains(fov) == (Channel.ER,)
    fov.pixels[3, 8, 5:11] = 9
    assert find_constant_stains(fov) == ()


def test_noise_is_not_constant_and_one_pixel_is():
    fov = make_field()
    fov.pixels[:] = np.random.default_rng(2).integers(0, 2, fov.pixels.shape)
    assert find_constant_stains(fov) == ()
    assert find_constant_stains(make_field((1, 1))) == CHANNELS


@pytest.mark.parametrize("level", [0, 60])
def test_a_stain_of_noise_is_said_to_be_without_structure(level):
    fov = make_field((240, 300))
    noise = np.random.default_rng(3).normal(level, 2, (2, 240, 300))
    fov.pixels[[1, 2]] = noise.clip(0, 255).astype(np.uint8)  # the protein's doesn't matter
    fov.pixels[3] = 7
    assert find_empty_stains(fov) == (Channel.NUCLEUS, Channel.ER)
    found = judge_field(fov, measure(fov, np.zeros((240, 300), np.int32)))
    assert found == FieldQuality(no_cells=True, constant=(Channel.ER,), empty=(Channel.NUCLEUS,))
    told = "no cells found; constant stain: yellow; stain without structure: blue"
    assert found.reason == told
    assert found.columns()["qc_constant_stain"]
    alone = FieldQuality(no_cells=False, empty=(Channel.NUCLEUS,))
    assert alone.columns()["qc_constant_stain"]


def test_a_nucleus_stain_without_structure_is_not_said_to_be_swapped(monkeypatch):
    monkeypatch.setattr(
        "hpacells.segment.field_quality.find_misplaced_nuclei", lambda *_: Channel.PROTEIN
    )
    fov = make_field((240, 300))
    fov.pixels[2] = np.random.default_rng(3).integers(0, 9, (240, 300))
    assert judge_field(fov, measure(fov, np.zeros((240, 300), np.int32))).nuclei_in is None


def test_a_swap_is_told_in_words():
    found = FieldQuality(no_cells=False, nuclei_in=Channel.PROTEIN)
    assert found.columns()["qc_swapped_stains"] is True
    assert found.reason == "stains look swapped: nuclei in green, not in blue"


def test_a_constant_nucleus_stain_is_said_alone(monkeypatch):
    monkeypatch.setattr(
        "hpacells.segment.field_quality.find_misplaced_nuclei", lambda *_: Channel.PROTEIN
    )
    fov = make_field()
    cells = measure(fov, np.zeros((120, 90), np.int32))
    assert judge_field(fov, cells).nuclei_in is Channel.PROTEIN
    fov.pixels[2] = 0
    assert judge_field(fov, cells) == FieldQuality(no_cells=True, constant=(Channel.NUCLEUS,))
