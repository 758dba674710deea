"""Grey values: gain, noise, clipping, depth."""

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.simulate.camera import Exposure, draw_exposure, take_picture

QUIET = Exposure((100.0,) * 4, (0.0,) * 4, (0.0,) * 4, (0.0,) * 4, (0.0,) * 4, (2.0,) * 4)


def picture_of(stains, exposure=QUIET, pixel_um=0.08, max_value=255):
    rng = np.random.default_rng(0)
    return take_picture(stains, exposure, pixel_um=pixel_um, max_value=max_value, rng=rng)


def test_level_one_has_the_gain_minus_the_offset():
    stains = np.ones((4, 40, 60), np.float32)
    picture = picture_of(stains)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(float) - 98).max() < 20  # uneven light, a little bleed-through


def test_background_is_exact_zero_and_bright_parts_saturate():
    stains = np.zeros((4, 40, 60), np.float32)
    stains[:, :, 30:] = 9
    picture = picture_of(stains)
    assert not picture[:, :, :30].any()
    assert (picture[:, :, 30:] == 255).all()


def test_sixteen_bits_are_the_same_picture_on_a_finer_scale():
    stains = np.random.default_rng(1).random((4, 40, 60)).astype(np.float32)
    small = picture_of(stains.copy()).astype(float)
    large = picture_of(stains.copy(), max_value=65535)
    assert large.dtype == np.uint16
    assert np.abs(large / 257 - small).max() <= 0.5 + 1e-3
    assert len(np.unique(large)) > 1000


def test_noise_is_weaker_in_larger_pixels():
    noisy = Exposure((100.0,) * 4, (0.0,) * 4, (0.0,) * 4, (1.0,) * 4, (1.0,) * 4, (0.0,) * 4)
    ones = np.ones((4, 100, 120), np.float32)
    fine, coarse = (picture_of(ones.copy(), noisy, pixel_um=um)[0].std() for um in (0.08, 0.32))
    assert fine > 2 * coarse


def test_an_image_without_protein_is_dim_in_that_stain_only():
    rng = np.random.default_rng(0)
    protein = Channel.PROTEIN.position
    dim = [draw_exposure(rng, negative=True).gain for _ in range(50)]
    usual = [draw_exposure(rng, negative=False).gain for _ in range(50)]
    assert max(gain[protein] for gain in dim) < min(gain[protein] for gain in usual)
    for other in (c.position for c in CHANNELS if c is not Channel.PROTEIN):
        assert np.median([g[other] for g in dim]) == pytest.approx(
            np.median([g[other] for g in usual]), rel=0.4
        )


def test_light_from_out_of_focus_reaches_beyond_the_structure():
    glowing = Exposure((100.0,) * 4, (0.0,) * 4, (0.1,) * 4, (0.0,) * 4, (0.0,) * 4, (0.0,) * 4)
    stains = np.zeros((4, 120, 160), np.float32)
    stains[:, 40:80, 60:100] = 1
    picture = picture_of(stains, glowing, pixel_um=0.3)[0]
    assert 0 < picture[60, 105] < 12
    assert picture[60, 105] > picture[60, 140]
