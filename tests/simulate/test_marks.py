"""Lines and spots in µm, and where they are put."""

import numpy as np
import pytest

from hpacells.simulate.marks import draw_spots, draw_strokes, pick_places


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


def test_spots_of_many_sizes_are_the_sum_of_each_alone():
    rng = np.random.default_rng(3)
    centres = rng.uniform(-3, 45, (30, 2))
    look = {"sigmas_um": rng.uniform(0.02, 0.4, 30), "levels": rng.uniform(0.1, 1.0, 30)}
    together = draw_spots((40, 50), centres, **look, pixel_um=0.1)
    alone = sum(
        draw_spots(
            (40, 50), centres[k : k + 1], pixel_um=0.1, **{n: v[k : k + 1] for n, v in look.items()}
        )
        for k in range(30)
    )
    assert together == pytest.approx(alone, abs=1e-5)
