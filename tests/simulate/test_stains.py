"""Reference stains: where they are bright, what a field's cells share, what differs."""

import dataclasses

import cv2
import numpy as np
import pytest

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.stain_style import StainStyle, draw_stain_style
from hpacells.simulate.stains import stain_cell
from hpacells.simulate.texture import to_unit


def styled(seed=0, **changes):
    style = draw_stain_style(np.random.default_rng(seed))
    return dataclasses.replace(style, scatter=(0.0, 0.0, 0.0), **changes)


def restain(stained, style, seed=5):
    return stain_cell(stained.anatomy, style, np.random.default_rng(seed))


def roomy(cells):
    """Give the cells that have cytoplasm enough to look at."""
    return [c for c in cells if c.anatomy.cytoplasm_um2 > 150]


def band_energy(image, where, small_px, large_px):
    small, large = (cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (small_px, large_px))
    return float((small - large)[where].std() / image[where].mean())


def test_stains_are_finite_light_inside_the_body(interphase, dividing):
    for stained in interphase + dividing:
        for image in (stained.microtubules, stained.er, stained.dna):
            assert image.dtype == np.float32
            assert image.shape == stained.anatomy.shape
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert not image[~stained.anatomy.body].any()


def test_the_same_seed_draws_the_same_cell(interphase):
    style = styled()
    first, again = (restain(interphase[0], style) for _ in range(2))
    other = restain(interphase[0], style, seed=6)
    assert np.array_equal(first.er, again.er)
    assert not np.array_equal(first.er, other.er)


def test_each_stain_is_where_it_belongs(interphase):
    for stained in roomy(interphase):
        cell = stained.anatomy
        nucleus = cell.nucleus_depth_um > 0.8
        beside = cell.body & (cell.nucleus_depth_um < -0.8) & (cell.nucleus_depth_um > -2.5)
        assert stained.dna[nucleus].mean() > 0.3
        away = stained.dna[cell.body & (cell.nucleus_depth_um < -0.6)]
        assert away.max(initial=0) < 0.15 * stained.dna[nucleus].mean()
        assert stained.microtubules[nucleus].mean() < stained.microtubules[beside].mean()
        assert stained.er[nucleus].mean() < 0.9 * stained.er[beside].mean()


def test_er_thins_out_towards_the_edge(interphase):
    ratios = []
    for stained in roomy(interphase):
        cell = stained.anatomy
        away = cell.body & ~cell.nucleus
        share = -cell.nucleus_depth_um / (cell.edge_um - cell.nucleus_depth_um + 1e-3)
        near, far = away & (share < 0.25), away & (share > 0.75)
        ratios.append(stained.er[near].mean() / stained.er[far].mean())
    assert np.median(ratios) > 2


def test_nucleoli_are_as_dark_as_the_style_says(interphase):
    def darkness(depth):
        values = []
        for stained in interphase:
            cell = stained.anatomy
            dna = restain(stained, styled(nucleolus_depth=depth)).dna
            core = cell.nucleoli > 0.9
            plain = (cell.nucleoli == 0) & (cell.nucleus_depth_um > 1.5)
            if core.sum() > 20 and plain.any():
                values.append(dna[core].mean() / dna[plain].mean())
        return np.mean(values)

    assert darkness(0.0) == pytest.approx(1.0, abs=0.1)
    assert darkness(0.5) < 0.75


def test_a_field_without_haze_has_no_dna_stain_beside_the_nucleus(interphase):
    for stained in roomy(interphase):
        beside = stained.anatomy.nucleus_depth_um < -0.6
        clear, hazy = (restain(stained, styled(dna_haze=level)).dna for level in (0.0, 0.02))
        assert not clear[beside].any()
        assert hazy[beside].any()


def test_dna_brightness_follows_content(interphase):
    stained = interphase[0]
    style = styled(dna_haze=0.0)
    sums = [
        stain_cell(
            dataclasses.replace(stained.anatomy, dna_content=content),
            style,
            np.random.default_rng(1),
        ).dna.sum()
        for content in (1.0, 2.0)
    ]
    assert sums[1] / sums[0] == pytest.approx(2**0.3, rel=1e-3)


def test_brightness_scatters_between_cells_as_the_style_says(interphase):
    stained = interphase[0]

    def spread(sigma):
        style = dataclasses.replace(styled(), scatter=(0.0, sigma, 0.0))
        levels = [np.log(restain(stained, style, seed=s).dna.mean()) for s in range(12)]
        return np.std(levels)

    assert spread(0.6) > 3 * spread(0.0)


def test_more_er_contrast_means_more_grain(interphase):
    stained = max(interphase, key=lambda s: s.anatomy.cytoplasm_um2)
    where = stained.anatomy.in_cytoplasm > 0.9
    energies = [
        band_energy(restain(stained, styled(er_contrast=c, er_dots=0.0)).er, where, 1, 4)
        for c in (0.2, 0.6, 1.0)
    ]
    assert energies == sorted(energies)


def test_a_stain_in_dots_is_grainier(interphase):
    stained = max(interphase, key=lambda s: s.anatomy.cytoplasm_um2)
    where = stained.anatomy.in_cytoplasm > 0.9
    smooth, dotted = (
        restain(stained, styled(er_dots=d, er_contrast=0.3, er_network=0.0)).er for d in (0.0, 0.6)
    )
    assert band_energy(dotted, where, 1, 3) > 1.1 * band_energy(smooth, where, 1, 3)


def test_microtubules_over_the_nucleus_follow_the_style(interphase):
    stained = max(interphase, key=lambda s: s.anatomy.nucleus_um2)
    inside = stained.anatomy.nucleus_depth_um > 1
    levels = [
        np.mean(
            [
                restain(stained, styled(tubules_over_nucleus=share), seed=s)
                .microtubules[inside]
                .mean()
                for s in range(4)
            ]
        )
        for share in (0.05, 0.9)
    ]
    assert levels[1] > 1.5 * levels[0]


def test_dividing_cells_have_bright_poles_and_haze(dividing):
    for stained in dividing:
        cell = stained.anatomy
        places = np.rint(cell.poles).astype(int)
        at_poles = stained.microtubules[places[:, 0], places[:, 1]].mean()
        haze = stained.microtubules[cell.body & (cell.edge_um > 1)]
        assert at_poles > 2 * np.median(haze)
        assert np.median(haze) > 0.05
        assert stained.dna.max() > 0.9


def test_a_cell_looks_alike_at_another_pixel_size(interphase, interphase_fine):
    style = styled()

    def means(cells):
        rows = []
        for stained in roomy(cells):
            body = stained.anatomy.body
            again = [restain(stained, style, seed=s) for s in range(2)]
            rows.extend([c.microtubules[body].mean(), c.er[body].mean()] for c in again)
        return np.mean(rows, axis=0)

    assert means(interphase_fine) == pytest.approx(means(interphase), rel=0.3)


def test_styles_differ_and_stay_in_their_limits():
    styles = [draw_stain_style(np.random.default_rng(s)) for s in range(60)]
    assert len({s.er_mesh_um for s in styles}) > 50
    assert all(isinstance(s, StainStyle) for s in styles)
    assert max(s.tubules_over_nucleus for s in styles) <= 1
    assert max(s.er_nuclear for s in styles) < 1
    assert 0 < np.mean([s.er_dots > 0 for s in styles]) < 0.3


def test_to_unit_leaves_an_empty_image_alone():
    empty = np.zeros((4, 7), np.float32)
    assert to_unit(empty) is empty
    assert to_unit(np.full((4, 7), 5, np.float32)).max() == 1


def test_a_cell_stays_thick_where_it_touches_another():
    body = np.zeros((60, 90), bool)
    body[10:50, 20:60] = True
    beside = np.zeros((60, 90), np.float32)
    beside[:, 60:] = 1  # the neighbour is on the right, the left edge is free
    cell = CellAnatomy(
        number=1, box=(0, 0, 60, 90), pixel_um=0.2, body=body, nucleus=np.zeros_like(body),
        contact=beside, direction=0.0, phase="G1", dna_content=1.0,
        centrosome=np.array([30.0, 40.0]), poles=np.zeros((0, 2)),
        nucleoli=np.zeros((60, 90), np.float32), nucleolus_centres=np.zeros((0, 2)),
        nucleolus_radii_um=np.zeros(0), seed=(1,),
    )  # fmt: skip
    assert cell.edge_um[30, 59] < 0.3
    assert cell.free_edge_um[30, 59] > 3
    assert cell.free_edge_um[30, 20] == pytest.approx(cell.edge_um[30, 20])
    assert not cell.free_edge_um[~body].any()
    assert cell.height[25:35, 58].mean() > 2 * cell.height[25:35, 21].mean()
    assert cell.in_cytoplasm[30, 59] > 0.95
    assert not cell.in_cytoplasm[~body].any()


def test_beads_make_filaments_uneven(interphase):
    stained = max(interphase, key=lambda s: s.anatomy.cytoplasm_um2)
    where = stained.anatomy.in_cytoplasm > 0.9
    energies = [
        band_energy(restain(stained, styled(tubule_beading=b)).microtubules, where, 0.6, 2)
        for b in (0.0, 0.8)
    ]
    assert energies[1] > 1.1 * energies[0]


def test_filaments_reach_the_rim_and_fill_the_cytoplasm(interphase):
    shares = []
    for stained in roomy(interphase):
        cell = stained.anatomy
        rim = cell.in_cytoplasm * ((cell.edge_um > 0.8) & (cell.edge_um < 2.0)) > 0.9
        lit = stained.microtubules > 0.1 * np.percentile(stained.microtubules[cell.body], 95)
        shares.append(lit[rim].mean())
    assert np.median(shares) > 0.6


def test_the_rim_of_a_nucleus_is_no_brighter_than_its_middle(interphase):
    ratios = []
    for stained in interphase:
        cell = stained.anatomy
        rim = (cell.nucleus_depth_um > 0.3) & (cell.nucleus_depth_um < 1.0)
        middle = (cell.nucleus_depth_um > 1.5) & (cell.nucleoli < 0.05)
        if middle.any():
            ratios.append(stained.dna[rim].mean() / stained.dna[middle].mean())
    assert 0.75 < np.median(ratios) < 0.98
