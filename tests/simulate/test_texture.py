"""Noise, blur and curves in µm."""

import cv2
import numpy as np
import pytest

from hpacells.simulate.texture import (
    blur_um,
    compress,
    from_coarse,
    mean_within,
    noise_spread,
    place_bound_noise,
    polygon_walls,
    smooth_noise,
    smoothstep,
)


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


@pytest.mark.parametrize("length_um", [0.12, 0.16, 0.2, 0.24, 0.28, 0.32, 0.4, 0.6])
def test_noise_at_large_pixels_is_that_of_small_ones_averaged(length_um):
    fine = smooth_noise((1440, 1680), 0.04, length_um, rng=np.random.default_rng(5))
    for step in (2, 4, 6, 8, 10):
        mean = cv2.resize(fine, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        direct = smooth_noise(mean.shape, 0.04 * step, length_um, rng=np.random.default_rng(6))
        assert direct.std() == pytest.approx(mean.std(), rel=0.1)
        assert direct.std() == pytest.approx(noise_spread(length_um, 0.04 * step), rel=0.05)


def test_grains_far_below_a_pixel_average_out_as_independent_values_do():
    for pixels in (8, 16):
        mean = (
            np.random.default_rng(0)
            .standard_normal((400, 560))
            .reshape(400 // pixels, pixels, 560 // pixels, pixels)
        )
        spread = mean.mean(axis=(1, 3)).std()
        assert noise_spread(0.05, 0.05 * pixels) == pytest.approx(spread, rel=0.2)
    assert noise_spread(2.0, 0.08) == pytest.approx(1.0, abs=0.002)


def test_noise_bound_to_places_is_the_same_at_any_pixel_size_and_in_any_part():
    def draw(shape, pixel_um, corner_px):
        rng = np.random.default_rng(3)
        return place_bound_noise(shape, pixel_um, 5.0, corner_px=corner_px, rng=rng)

    fine, coarse = draw((500, 700), 0.08, (-250, 100)), draw((200, 280), 0.2, (-100, 40))
    assert fine.shape == (500, 700)
    assert fine.dtype == np.float32
    means = [cv2.resize(n, (140, 100), interpolation=cv2.INTER_AREA) for n in (fine, coarse)]
    assert means[0] == pytest.approx(means[1], abs=0.03)
    part = draw((90, 60), 0.08, (-200, 300))
    assert part == pytest.approx(fine[50:140, 200:260], abs=0.05)
    wide = draw((640, 700), 0.5, (0, 0))  # 64 grains: twice the period
    assert wide.std() == pytest.approx(1.0, abs=0.1)
    assert wide[:320] == pytest.approx(wide[320:], abs=1e-3)


def test_a_coarse_map_comes_back_straight_between_its_pixels():
    down, right = np.mgrid[:11, :17].astype(np.float32)
    whole = 3 * down - 2 * right
    back = from_coarse(whole[::4, ::4], 4, whole.shape)
    assert back.shape == whole.shape
    assert back[:9] == pytest.approx(whole[:9], abs=0.02)
    assert back[9:] == pytest.approx(np.broadcast_to(whole[8], (2, 17)), abs=0.02)  # the last one
    assert from_coarse(whole, 1, whole.shape) is whole


def test_smoothstep_rises_between_its_ends():
    values = smoothstep(np.array([-1.0, 0.0, 1.0, 2.0, 3.0], np.float32), 0.0, 2.0)
    assert values.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_blur_keeps_the_amount_and_skips_what_is_below_a_pixel():
    image = np.zeros((41, 61), np.float32)
    image[20, 30] = 1
    blurred = blur_um(image, 0.3, 0.1)
    assert blurred.sum() == pytest.approx(1.0, abs=1e-3)
    assert blurred[20, 30] == pytest.approx(1 / (2 * np.pi * 9), rel=0.05)
    assert blur_um(image, 0.01, 0.1) is image


def test_a_wide_blur_on_the_coarser_grid_is_the_same_blur():
    image = np.random.default_rng(2).random((301, 407)).astype(np.float32)
    image[100:180, 150:260] += 3
    wide = blur_um(image, 1.2, 0.1)
    exact = cv2.GaussianBlur(image, (0, 0), 12.0)
    assert np.abs(wide - exact)[40:-40, 40:-40].max() < 0.05
    assert wide.mean() == pytest.approx(exact.mean(), rel=0.01)


def test_compression_keeps_order_and_the_level_one():
    values = compress(np.array([0.0, 0.5, 1.0, 2.0, 5.0], np.float32), 0.5)
    assert values[0] == 0
    assert values[2] == pytest.approx(1.0)
    assert (np.diff(values) > 0).all()
    assert values[1] > 0.5
    assert values[3] < 2


def test_walls_stand_between_two_seeds():
    walls = polygon_walls((21, 41), np.array([[10.0, 10.0], [10.0, 30.0]]))
    assert set(np.unique(walls)) == {0.0, 1.0}
    assert walls[:, 18:23].any(axis=1).all()
    assert not walls[:, :17].any()
    assert not polygon_walls((21, 41), np.array([[3.0, 3.0]])).any()


def test_a_mean_within_a_mask_is_that_of_its_pixels_and_none_is_nothing():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = image > 8
    assert mean_within(image, mask) == pytest.approx(10.0)
    assert mean_within(image, mask & False) == 0.0
