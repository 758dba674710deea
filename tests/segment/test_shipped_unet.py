"""The shipped weights: what they find in simulated fields, and that nothing is found in nothing."""

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.evaluate.masks import match_masks
from hpacells.segment.unet import UnetSegmenter
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import simulate_field

SEED = 700_100


@pytest.fixture(scope="module")
def field():
    config = SimulateConfig(size_px=640, pixel_size_um=0.16, cell_lines=("U-2 OS",))
    return simulate_field(SEED, 0, config)


def agreement(found, true):
    match = match_masks(found, true, 0.6)
    wrong = len(match.unmatched_found) + len(match.unmatched_true)
    return 2 * len(match.pairs) / max(2 * len(match.pairs) + wrong, 1)


def test_most_cells_of_a_simulated_field_are_found(field):
    assert field.masks.cell_ids.size >= 4
    assert agreement(UnetSegmenter()(field.fov).cells, field.masks.cells) >= 0.7


@pytest.mark.parametrize("missing", [Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER])
def test_a_stain_said_to_be_missing_is_not_looked_at(field, missing):
    fov = field.fov
    noisy = np.array(fov.pixels)
    noisy[missing.position] = np.random.default_rng(0).integers(0, 255, noisy.shape[1:])
    other = FieldOfView("other", noisy, fov.pixel_size_um, fov.max_value)
    segmenter = UnetSegmenter(missing=(missing,))
    np.testing.assert_array_equal(segmenter(other).cells, segmenter(fov).cells)
    assert agreement(segmenter(fov).cells, field.masks.cells) >= 0.5


@pytest.mark.parametrize("sd", [0.5, 2.0, 5.0])
@pytest.mark.parametrize(("base", "pixel_um"), [(0, 0.08), (20, 0.08), (20, 0.32)])
def test_a_blank_field_with_noise_has_no_cells(sd, base, pixel_um):
    rng = np.random.default_rng(1)
    shape = (len(CHANNELS), round(80 / pixel_um), round(60 / pixel_um))
    pixels = np.clip(np.rint(rng.normal(base, sd, shape)), 0, 255).astype(np.uint8)
    fov = FieldOfView("blank", pixels, pixel_um, 255)
    assert UnetSegmenter()(fov).cell_ids.size == 0
