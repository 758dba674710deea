"""Noise, strokes and spots in µm."""

import cv2
import numpy as np
import pytest

from hpacells.simulate.texture import (
    blur_um,
    compress,
    draw_spots,
    draw_strokes,
    from_coarse,
    noise_spread,
    pick_places,
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


def test_a_spot_has_the_same_light_at_any_pixel_size():
    def light(pixel_um):
        centres = np.random.default_rng(1).uniform(5.0, 25.0, (60, 2)) / pixel_um
        sigmas, levels = np.full(60, 0.12), np.ones(60)
        shape = (round(30 / pixel_um), round(34 / pixel_um))
        image = draw_spots(shape, centres, sigmas_um=sigmas, levels=levels, pixel_um=pixel_um)
        return image.sum() * pixel_um**2

    assert light(0.16) == pytest.approx(light(0.08), rel=0.02)
    assert light(0.4) == pytest.approx(light(0.08), rel=0.1)


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


@pytest.mark.parametrize("step", [1, 4])
def test_places_follow_the_weights(step):
    weights = np.zeros((40, 60), np.float32)
    weights[:, 40:] = 1
    weights[20:, 40:] = 3
    places = pick_places(weights, 4000, np.random.default_rng(0), step=step)
    assert places.shape == (4000, 2)
    assert places[:, 1].min() >= 40 - step
    assert (places[:, 0] > 19.5 - step / 2).mean() == pytest.approx(0.75, abs=0.05)


def test_no_places_where_the_map_is_empty():
    empty = np.zeros((4, 7), np.float32)
    assert pick_places(empty, 5, np.random.default_rng(0)).shape == (0, 2)
    assert pick_places(empty + 1, 0, np.random.default_rng(0)).shape == (0, 2)
