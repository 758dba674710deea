"""Amounts of locations, unspecific staining, and what an antibody's cells share."""

import numpy as np
import pytest

from hpacells.core.locations import LOCATION_KEYS, NEGATIVE
from hpacells.simulate.patterns.ground import Grain, draw_grain, draw_grain_look, even_substance
from hpacells.simulate.patterns.registry import PATTERNS
from hpacells.simulate.protein import (
    draw_amounts,
    draw_image_levels,
    draw_protein,
    draw_unspecific_level,
    limit_unspecific,
    unspecific_staining,
)

KEY = {key: i for i, key in enumerate(LOCATION_KEYS)}


def mean_in(image, where):
    return float(image[where].mean())


def test_levels_are_unequal_and_reach_down_to_barely_visible():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        levels = draw_image_levels((7, 2, 17), rng)
        assert list(levels) == [2, 7, 17]
        beside_usual = [levels[k] / PATTERNS[k].level for k in levels]
        shares.append(min(beside_usual) / max(beside_usual))
        assert 0.55 * 0.999 <= max(beside_usual) <= 1.3 * 1.001
    assert 0.4 * 0.999 <= min(shares) < 0.45
    assert np.mean(np.array(shares) < 0.6) > 0.5


def test_even_areas_are_held_back_beside_lines_and_dots_only():
    cytosol, golgi, nucleoplasm = KEY["cytosol"], KEY["golgi_apparatus"], KEY["nucleoplasm"]

    def usual(locations, of):
        rng = np.random.default_rng(1)
        return np.median([draw_image_levels(locations, rng)[of] for _ in range(300)])

    assert usual((cytosol, golgi), cytosol) < 0.75 * usual((cytosol, nucleoplasm), cytosol)


def test_negative_has_no_level_and_no_amount():
    rng = np.random.default_rng(0)
    assert draw_image_levels((NEGATIVE,), rng) == {}
    assert draw_amounts((NEGATIVE,), {}, rng) == {}


def test_amounts_scatter_around_the_images_level():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_amounts((7, 2), {2: 0.5, 7: 1.0}, rng)[2] for _ in range(500)])
    assert np.median(drawn) == pytest.approx(0.5, rel=0.06)
    assert 0.2 < np.log(drawn).std() < 0.3


def test_unspecific_levels_are_log_uniform_and_never_nothing_on_a_negative_sample():
    rng = np.random.default_rng(0)
    beside = np.array([draw_unspecific_level((7,), rng) for _ in range(500)])
    alone = np.array([draw_unspecific_level((NEGATIVE,), rng) for _ in range(500)])
    assert 0.02 * 0.999 <= beside.min() < 0.024
    assert 0.33 < beside.max() <= 0.36 * 1.001
    assert alone.min() >= 0.1 * 0.999


def test_amounts_scale_the_picture_and_do_not_change_the_look(interphase):
    stained = interphase[0]
    once = draw_protein(stained, {7: 0.4}, antibody=(1,), seed=(2,))
    twice = draw_protein(stained, {7: 0.8}, antibody=(1,), seed=(2,))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5, atol=1e-6)


def test_a_mixture_is_the_sum_of_its_locations(interphase):
    stained = interphase[0]
    seeds = {"antibody": (1,), "seed": (2,)}
    both = draw_protein(stained, {4: 0.9, 16: 0.4}, **seeds)
    apart = draw_protein(stained, {4: 0.9}, **seeds) + draw_protein(stained, {16: 0.4}, **seeds)
    np.testing.assert_allclose(both, apart, rtol=1e-4, atol=1e-5)
    assert not draw_protein(stained, {}, **seeds).any()


def test_the_cells_of_a_sample_look_alike(interphase):
    """The share of cytosol in the nucleus varies more between antibodies than within one."""

    def share(stained, antibody):
        cell = stained.anatomy
        image = draw_protein(stained, {16: 1.0}, antibody=(antibody,), seed=(9, cell.number))
        inner = mean_in(image, cell.nucleus_depth_um > 1)
        return np.log(inner / mean_in(image, cell.body & (cell.nucleus_depth_um < -1)))

    table = np.array([[share(s, antibody) for s in interphase[:4]] for antibody in range(10)])
    cells = table - table.mean(axis=0)
    assert cells.mean(axis=1).std() > 1.5 * (cells - cells.mean(axis=1, keepdims=True)).std()


def test_the_same_seeds_give_the_same_picture_and_others_another(interphase):
    stained = interphase[1]
    image = draw_protein(stained, {14: 1.0}, antibody=(1,), seed=(2,))
    np.testing.assert_array_equal(image, draw_protein(stained, {14: 1.0}, antibody=(1,), seed=(2,)))
    for other in ({"antibody": (5,), "seed": (2,)}, {"antibody": (1,), "seed": (5,)}):
        assert not np.array_equal(image, draw_protein(stained, {14: 1.0}, **other))


def test_unspecific_staining_follows_its_level_inside_the_cell(interphase):
    stained = interphase[0]
    body = stained.anatomy.body
    faint = unspecific_staining(stained, 0.05, antibody=(1,), seed=(2,))
    strong = unspecific_staining(stained, 0.5, antibody=(1,), seed=(2,))
    np.testing.assert_allclose(strong, 10 * faint, rtol=1e-4, atol=1e-6)
    assert not strong[~body].any()
    assert 0.05 < mean_in(strong, body) < 0.8
    assert strong.min() >= 0


def test_some_antibodies_stain_the_nucleus_unspecifically_more_than_the_cytoplasm(interphase):
    stained = interphase[0]
    cell = stained.anatomy
    ratios = []
    for antibody in range(24):
        image = unspecific_staining(stained, 0.3, antibody=(antibody,), seed=(3,))
        ratios.append(
            mean_in(image, cell.nucleus_depth_um > 1)
            / mean_in(image, cell.body & (cell.nucleus_depth_um < -1))
        )
    assert min(ratios) < 1.0
    assert max(ratios) > 1.5


def test_grain_keeps_the_mean_and_is_dottier_when_stronger(interphase):
    cell = interphase[0].anatomy
    smooth = draw_grain(cell, Grain(0.3, 0.2), np.random.default_rng(0))
    dotty = draw_grain(cell, Grain(0.3, 0.9), np.random.default_rng(0))
    assert smooth.mean() == pytest.approx(1.0, abs=0.05)
    assert dotty.mean() == pytest.approx(1.0, abs=0.12)
    assert dotty.std() > 3 * smooth.std()
    assert dotty.min() >= 0
    weaker = draw_grain(cell, Grain(0.3, 0.9), np.random.default_rng(0), share=0.5)
    assert smooth.std() < weaker.std() < dotty.std()


def test_grain_looks_span_smooth_to_dotty():
    looks = [draw_grain_look(np.random.default_rng(i)).strength for i in range(100)]
    assert min(looks) < 0.35
    assert max(looks) > 0.85


def test_what_fills_a_cell_thins_out_to_its_rim(interphase):
    for stained in interphase[:4]:
        cell = stained.anatomy
        rim = cell.body & (cell.free_edge_um < 1.0)
        for flat in (0.0, 1.0):
            image = even_substance(cell, flat=flat)
            assert not image[~cell.body].any()
            assert image.max() <= max(1.0, cell.height.max()) + 1e-6
            assert mean_in(image, rim) < 0.7 * mean_in(image, cell.nucleus)
        shallow = even_substance(cell, flat=0.0, steep=0.0)
        assert (shallow >= even_substance(cell, flat=0.0, steep=1.0) - 1e-6).all()


def test_unspecific_staining_does_not_hide_what_the_label_names():
    cells = [{2: 0.5, 16: 0.2}, {16: 0.3}, {16: 0.25, 7: 0.01}, {}]
    assert limit_unspecific(0.36, (2, 16), cells) == pytest.approx(0.6 * 0.25)
    assert limit_unspecific(0.05, (2, 16), cells) == 0.05
    assert limit_unspecific(0.36, (NEGATIVE,), [{}, {}]) == 0.36
