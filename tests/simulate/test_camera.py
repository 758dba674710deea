"""Grey values: gain, noise, clipping, depth."""

import dataclasses

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


def test_light_leaks_into_the_stain_that_the_exposure_names():
    er, protein = Channel.ER.position, Channel.PROTEIN.position
    leak = [[0.0] * 4 for _ in range(4)]
    leak[protein][er] = 0.2
    leaky = dataclasses.replace(QUIET, leak=tuple(tuple(row) for row in leak))
    stains = np.zeros((4, 40, 60), np.float32)
    stains[er] = 1
    picture = picture_of(stains, leaky)
    assert picture[protein].mean() == pytest.approx(0.2 * 100 - 2, rel=0.2)
    assert not picture[Channel.NUCLEUS.position].any()


def test_light_falls_off_away_from_the_middle():
    dim = dataclasses.replace(QUIET, vignette=0.8)
    picture = picture_of(np.ones((4, 200, 260), np.float32), dim)[0].astype(float)
    corners = picture[:20, :20].mean() + picture[-20:, -20:].mean()
    assert corners / 2 < 0.9 * picture[90:110, 120:140].mean()


def test_hot_pixels_are_few_single_and_bright():
    hot = dataclasses.replace(QUIET, hot_pixels=20.0)
    picture = picture_of(np.zeros((4, 200, 260), np.float32), hot)[0]
    assert 5 < (picture > 0).sum() < 50
    assert picture.max() > 100


def test_now_and_then_a_field_is_out_of_focus():
    rng = np.random.default_rng(0)
    blurs = np.array([draw_exposure(rng, negative=False).blur_um[0] for _ in range(300)])
    assert 0.01 < (blurs > 0.2).mean() < 0.12
    assert blurs.max() < 0.5


def test_negative_levels_are_dark_and_no_error():
    picture = picture_of(
        np.full((4, 40, 60), -1, np.float32),
        draw_exposure(np.random.default_rng(1), negative=False),
    )
    assert picture.mean() < 2


def test_the_stretch_brings_images_of_any_brightness_nearer_to_one_another():
    stretched = dataclasses.replace(QUIET, stretch=(0.75,) * 4)

    def tops(exposure):
        return [
            float(picture_of(np.full((4, 40, 60), v, np.float32), exposure)[0].mean())
            for v in (0.7, 1.4)
        ]

    plain, near = tops(QUIET), tops(stretched)
    assert plain[1] / plain[0] > 1.8
    assert 1.05 < near[1] / near[0] < 1.55


def test_faint_images_stay_faint_and_negative_ones_are_not_stretched():
    stretched = dataclasses.replace(QUIET, stretch=(0.75,) * 4)
    faint = picture_of(np.full((4, 40, 60), 0.1, np.float32), stretched)
    assert faint.max() < 40
    negative = draw_exposure(np.random.default_rng(0), negative=True)
    assert negative.stretch[Channel.PROTEIN.position] == 0
    assert min(draw_exposure(np.random.default_rng(0), negative=False).stretch) > 0.5
