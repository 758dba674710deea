"""Noise, strokes and spots in µm."""

import numpy as np
import pytest

from hpacells.simulate.texture import blur_um, draw_spots, draw_strokes, smooth_noise, smoothstep


@pytest.mark.parametrize("pixel_um", [0.08, 0.16, 0.4])
def test_noise_has_unit_spread_at_any_pixel_size(pixel_um):
    noise = smooth_noise((300, 220), pixel_um, 1.0, rng=np.random.default_rng(0))
    assert noise.shape == (300, 220)
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(1.0, abs=0.15)
    assert abs(noise.mean()) < 0.15


def test_noise_grains_have_their_length_in_um():
    def correlation(pixel_um, lag_um):
        noise = smooth_noise((400, 300), pixel_um, 2.0, rng=np.random.default_rng(1))
        lag = round(lag_um / pixel_um)
        return np.corrcoef(noise[lag:].ravel(), noise[:-lag].ravel())[0, 1]

    assert correlation(0.1, 1.0) == pytest.approx(correlation(0.2, 1.0), abs=0.1)
    assert correlation(0.1, 1.0) > 0.4
    assert abs(correlation(0.1, 4.0)) < 0.2


def test_smoothstep_rises_between_its_ends():
    values = smoothstep(np.array([-1.0, 0.0, 1.0, 2.0, 3.0], np.float32), 0.0, 2.0)
    assert values.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_a_spot_has_its_peak_and_width():
    image = draw_spots(
        (61, 81),
        np.array([[30.0, 40.0]]),
        sigmas_um=np.array([0.5]),
        levels=np.array([0.7]),
        pixel_um=0.1,
    )
    assert image[30, 40] == pytest.approx(0.7, rel=0.03)
    assert image[30, 45] == pytest.approx(0.7 * np.exp(-0.5), rel=0.05)
    assert np.unravel_index(image.argmax(), image.shape) == (30, 40)


def test_spots_outside_and_no_spots_draw_nothing():
    outside = np.array([[-50.0, 10.0]])
    ones = np.ones(1)
    assert not draw_spots((20, 30), outside, sigmas_um=ones, levels=ones, pixel_um=1.0).any()
    empty = np.zeros((0, 2))
    none = np.zeros(0)
    assert not draw_spots((20, 30), empty, sigmas_um=none, levels=none, pixel_um=1.0).any()


def test_a_stroke_lies_where_it_is_drawn():
    path = np.array([[10.0, 5.0], [10.0, 35.0]])
    image = draw_strokes((21, 41), [path], levels=np.ones(1), width_um=0.1, pixel_um=0.1)
    assert image[10, 20] == pytest.approx(1.0, abs=0.12)  # the drawing library's soft edge
    assert image[4, 20] == 0
    assert image[:, 39].sum() == 0


def test_crossing_strokes_add_up():
    paths = [np.array([[10.0, 2.0], [10.0, 38.0]]), np.array([[2.0, 20.0], [18.0, 20.0]])]
    image = draw_strokes((21, 41), paths, levels=np.full(2, 0.5), width_um=0.1, pixel_um=0.1)
    assert image[10, 20] == pytest.approx(2 * image[10, 10], rel=0.05)


def test_a_stroke_thinner_than_a_pixel_is_dimmer_and_a_point_is_nothing():
    path = np.array([[10.0, 5.0], [10.0, 35.0]])
    thin = draw_strokes((21, 41), [path], levels=np.ones(1), width_um=0.05, pixel_um=0.1)
    assert thin[10, 20] == pytest.approx(0.5, abs=0.06)
    point = draw_strokes((21, 41), [path[:1]], levels=np.ones(1), width_um=0.1, pixel_um=0.1)
    assert not point.any()


def test_blur_keeps_the_amount_and_skips_what_is_below_a_pixel():
    image = np.zeros((41, 61), np.float32)
    image[20, 30] = 1
    blurred = blur_um(image, 0.3, 0.1)
    assert blurred.sum() == pytest.approx(1.0, abs=1e-3)
    assert blurred[20, 30] == pytest.approx(1 / (2 * np.pi * 9), rel=0.05)
    assert blur_um(image, 0.01, 0.1) is image
