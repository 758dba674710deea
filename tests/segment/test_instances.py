"""Cells read from maps that were drawn from true masks."""

import cv2
import numpy as np
import pytest
from skimage.segmentation import watershed

from hpacells.core.masks import CellMasks
from hpacells.evaluate.masks import match_masks
from hpacells.segment import instances
from hpacells.segment.config import UnetConfig
from hpacells.segment.instances import cells_from_maps
from hpacells.segment.resolution import WorkingScale, keep_inside
from hpacells.train.segmentation.targets import build_targets

PIXEL_UM = 0.32
SHAPE = (150, 240)
LEVELS = {"cell_level": 0.5, "seed_level": 0.5, "merge_border": 0.2}  # for maps that are drawn


def draw_maps(cells, nuclei, *, noise=0.0, blur=0.8, seed=0):
    """What a good network would give: blurred maps with noise, never quite 0 or 1."""
    rng = np.random.default_rng(seed)
    maps = build_targets(cells, nuclei, PIXEL_UM).astype(np.float32) * 0.9 + 0.05
    maps = np.stack([cv2.GaussianBlur(m, (0, 0), blur) for m in maps]).reshape(maps.shape)
    return np.clip(maps + rng.normal(0, noise, maps.shape), 0, 1).astype(np.float32)


def read(maps, **settings):
    grid = WorkingScale(maps.shape[1:], PIXEL_UM)
    cells, nuclei = cells_from_maps(maps, grid, UnetConfig(**LEVELS | settings))
    cells, nuclei = keep_inside(cells, nuclei)
    CellMasks(cells, nuclei, "unet", PIXEL_UM)  # checks parts and that nuclei lie inside
    return cells, nuclei


def blank():
    return np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)


def put(ids, centre, radius, value):
    cv2.circle(ids, centre[::-1], radius, value, cv2.FILLED)


def check_same(found, true, threshold=0.85):
    match = match_masks(found, true, threshold)
    assert len(match.pairs) == len(np.unique(true)) - 1
    assert not match.unmatched_found.size
    return {int(t): int(f) for f, t in match.pairs}


@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_touching_cells_are_parted_along_the_border(noise):
    cells, nuclei = blank()
    cells[20:130, 20:90] = 1
    cells[20:75, 90:200] = 2
    cells[75:130, 90:200] = 3
    for value, centre in ((1, (75, 70)), (2, (45, 110)), (3, (100, 150))):
        put(nuclei, centre, 14, value)
    found, inside = read(draw_maps(cells, nuclei, noise=noise))
    ids = check_same(found, cells, 0.9)
    for true_id, found_id in ids.items():
        shared = ((nuclei == true_id) & (inside == found_id)).sum()
        assert shared > 0.9 * (nuclei == true_id).sum()


def test_touching_nuclei_of_two_cells_are_two_seeds():
    cells, nuclei = blank()
    cells[40:110, 60:120] = 1
    cells[40:110, 120:180] = 2
    put(nuclei, (75, 106), 14, 1)
    put(nuclei, (75, 134), 14, 2)
    nuclei[nuclei != cells] = 0
    check_same(read(draw_maps(cells, nuclei))[0], cells, 0.9)


def draw_two_nuclei():
    cells, nuclei = blank()
    cv2.ellipse(cells, (120, 75), (80, 45), 0, 0, 360, 1, cv2.FILLED)
    put(nuclei, (75, 85), 12, 1)
    put(nuclei, (75, 155), 12, 1)
    return cells, nuclei


def test_a_cell_with_two_nuclei_stays_whole_and_has_both():
    cells, nuclei = draw_two_nuclei()
    found, inside = read(draw_maps(cells, nuclei, noise=0.05))
    check_same(found, cells)
    assert cv2.connectedComponents((inside > 0).astype(np.uint8))[0] == 3


def test_two_seeds_without_a_border_between_them_are_one_cell():
    cells, nuclei = draw_two_nuclei()
    maps = draw_maps(cells, nuclei)
    maps[3, :, 105:135] = 0.02  # the network missed that both nuclei are one cell's
    check_same(read(maps)[0], cells)
    assert len(np.unique(read(maps, merge_border=0.0)[0])) == 3


def two_cores(saddle, radius=9):
    """One cell; its seed has two cores of 0.9995 and between them a bridge of ``saddle``."""
    cells, nuclei = blank()
    cv2.ellipse(cells, (120, 75), (60, 40), 0, 0, 360, 1, cv2.FILLED)
    for column in (100, 140):
        put(nuclei, (75, column), radius, 1)
    maps = draw_maps(cells, nuclei, blur=0.5)
    maps[3] = 0.02
    maps[3, 71:80, 100:141] = saddle
    maps[3][nuclei > 0] = 0.9995
    return maps


@pytest.mark.parametrize(("saddle", "n_cells"), [(0.9, 2), (0.985, 2), (0.9994, 1)])
def test_a_seed_is_parted_unless_the_bridge_is_certain(saddle, n_cells):
    cells, _ = read(two_cores(saddle), seed_level=0.5, merge_border=0)
    assert len(np.unique(cells)) - 1 == n_cells


def test_small_cores_do_not_part_a_seed_and_without_levels_none_is_parted():
    small = two_cores(0.9, radius=6)  # 11.6 µm²
    assert len(np.unique(read(small, seed_level=0.5, merge_border=0)[0])) - 1 == 1
    cells, _ = read(two_cores(0.9), seed_level=0.5, merge_border=0, split_levels=())
    assert len(np.unique(cells)) - 1 == 1


def test_a_seed_of_three_cores_is_parted_level_by_level():
    cells, nuclei = blank()
    cv2.ellipse(cells, (120, 75), (90, 45), 0, 0, 360, 1, cv2.FILLED)
    for column in (70, 120, 170):
        put(nuclei, (75, column), 9, 1)
    maps = draw_maps(cells, nuclei, blur=0.5)
    maps[3] = 0.02
    maps[3, 71:80, 70:120], maps[3, 71:80, 120:171] = 0.85, 0.992
    maps[3][nuclei > 0] = 0.9995
    assert len(np.unique(read(maps, seed_level=0.5, merge_border=0)[0])) - 1 == 3


def test_an_anaphase_is_one_cell():
    cells, nuclei = blank()
    put(cells, (75, 120), 35, 1)
    nuclei[55:95, 100:106] = 1
    nuclei[55:95, 134:140] = 1
    found, inside = read(draw_maps(cells, nuclei, noise=0.05))
    check_same(found, cells)
    assert (inside > 0).sum() == pytest.approx((nuclei > 0).sum(), rel=0.15)


def test_cells_cut_by_the_frame_are_found_however_little_is_seen():
    cells, nuclei = blank()
    put(cells, (0, 60), 40, 1)
    put(nuclei, (0, 60), 14, 1)
    put(cells, (150, 239), 40, 2)  # its nucleus is outside
    put(cells, (75, -8), 16, 3)  # under 40 µm²
    found, _ = read(draw_maps(cells, nuclei))
    check_same(found, cells, 0.8)


def test_a_cell_at_the_frame_without_any_seed_is_not_its_neighbours():
    cells, nuclei = blank()
    cells[40:110, 60:120] = 1
    cells[40:110, 120:240] = 2  # its nucleus is outside: the network sees no place for a seed
    put(nuclei, (75, 90), 14, 1)
    maps = draw_maps(cells, nuclei)
    maps[3, :, 120:] = 0.05
    check_same(read(maps)[0], cells, 0.9)
    maps[3, 72:75, 236:240] = 0.9  # a sliver of a nucleus, too small for a seed
    check_same(read(maps)[0], cells, 0.9)


def ramble(seed):
    """Random seeds, borders and foreground, rougher than any network draws."""
    rng = np.random.default_rng(seed)
    shape = (40, 60)
    border = cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 1.5)
    border = (border - border.min()) / np.ptp(border)
    foreground = cv2.GaussianBlur(rng.random(shape), (0, 0), 2) > 0.48
    seeds = np.zeros(shape, np.int32)
    for k, at in enumerate(rng.permutation(np.flatnonzero(foreground))[:12], start=1):
        seeds.flat[at] = k
    return seeds, border, foreground


@pytest.mark.parametrize("seed", range(8))
def test_growing_place_by_place_is_the_watershed(seed):
    seeds, border, foreground = ramble(seed)
    height = (border * 255).astype(np.uint8)
    whole = watershed(height, seeds, mask=foreground)
    grown = instances._grow(seeds, border.astype(np.float32), foreground)
    assert grown.dtype == np.int32
    np.testing.assert_array_equal(grown > 0, whole > 0)
    assert (grown == whole).mean() > 0.99  # pixels as high as each other may flood in turn


def test_debris_without_a_seed_and_specks_with_one_are_dropped():
    cells, nuclei = blank()
    put(cells, (75, 60), 30, 1)
    put(nuclei, (75, 60), 12, 1)
    maps = draw_maps(cells, nuclei)
    cv2.circle(maps[0], (150, 75), 25, 0.95, cv2.FILLED)  # no seed in it
    cv2.circle(maps[0], (200, 30), 8, 0.95, cv2.FILLED)  # 20 µm²
    cv2.circle(maps[3], (200, 30), 4, 0.95, cv2.FILLED)
    check_same(read(maps)[0], cells)


@pytest.mark.parametrize("gap", [0, 20])
def test_a_faint_seed_counts_where_there_is_no_other(gap):
    cells, nuclei = blank()
    cells[40:110, 40:100] = 1
    cells[40:110, 100 + gap : 160 + gap] = 2
    put(nuclei, (75, 70), 12, 1)
    put(nuclei, (75, 130 + gap), 12, 2)
    maps = draw_maps(cells, nuclei)
    maps[3, :, 100:] *= 0.42
    check_same(read(maps)[0], cells)
    assert len(np.unique(read(maps, faint_seed_level=0.5)[0])) == 2


def test_faint_bridges_between_seeds_join_nothing():
    cells, nuclei = blank()
    cells[40:110, 60:120] = 1
    cells[40:110, 120:180] = 2
    put(nuclei, (75, 100), 14, 1)
    put(nuclei, (75, 140), 14, 2)
    maps = draw_maps(cells, nuclei)
    maps[3, 70:80, 100:140] = np.maximum(maps[3, 70:80, 100:140], 0.4)
    check_same(read(maps)[0], cells)


def test_holes_in_cells_and_nuclei_are_filled_and_crumbs_of_nuclei_dropped():
    cells, nuclei = blank()
    put(cells, (75, 100), 45, 1)
    put(nuclei, (75, 100), 16, 1)
    maps = draw_maps(cells, nuclei)
    cv2.circle(maps[0], (120, 60), 5, 0.1, cv2.FILLED)
    cv2.circle(maps[2], (100, 75), 4, 0.1, cv2.FILLED)
    cv2.circle(maps[2], (70, 75), 3, 0.9, cv2.FILLED)  # 3 µm²
    found, inside = read(maps)
    check_same(found, cells, 0.95)
    assert found[60, 120] == inside[75, 100] != 0
    assert inside[75, 70] == 0


def test_what_a_neighbour_cuts_off_a_nucleus_is_dropped():
    cells, nuclei = blank()
    cells[40:110, 60:120] = 1
    cells[40:110, 120:180] = 2
    put(nuclei, (75, 100), 14, 1)
    put(nuclei, (75, 150), 14, 2)
    maps = draw_maps(cells, nuclei)
    maps[2, 70:80, 105:124] = 0.9  # a lobe that crosses the border by 4 px
    _, inside = read(maps)
    assert inside[75, 122] == 0
    assert inside[75, 116] == inside[75, 100]


def test_a_smoother_grid_gives_the_same_cells():
    cells, nuclei = draw_two_nuclei()
    maps = draw_maps(cells, nuclei)
    large = np.stack([cv2.resize(m, (480, 300), interpolation=cv2.INTER_LINEAR) for m in maps])
    fine, _ = cells_from_maps(large, WorkingScale((300, 480), PIXEL_UM / 2), UnetConfig(**LEVELS))
    check_same(fine[::2, ::2].copy(), cells)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 60)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_empty_and_constant_maps(shape, value):
    cells, nuclei = read(np.full((4, *shape), value, np.float32))
    assert cells.shape == nuclei.shape == shape
    assert len(np.unique(cells)) == 1
    assert cells.any() == (value == 1.0 and shape == (40, 60))


def halves(*radii, row=75):
    """Cells side by side, each with a nucleus of such a radius (7 px: 15 µm², 12 px: 45 µm²)."""
    cells, nuclei = np.zeros((150, 300), np.int32), np.zeros((150, 300), np.int32)
    for i, radius in enumerate(radii):
        left = 20 + 60 * i
        cells[max(0, row - 30) : row + 30, left : left + 60] = i + 1
        put(nuclei, (row, left + 30), radius, i + 1)
    return cells, np.where(cells > 0, nuclei, 0).astype(np.int32)


def test_the_halves_of_a_dividing_cell_are_one_cell_with_both():
    cells, nuclei = halves(7, 8, 16, 16)
    found, inside = read(draw_maps(cells, nuclei))
    check_same(found, np.where(cells == 2, 1, cells))
    assert cv2.connectedComponents((inside > 0).astype(np.uint8))[0] == 5
    check_same(read(draw_maps(cells, nuclei), max_condensed_um2=0)[0], cells)


@pytest.mark.parametrize(
    ("radii", "row"),
    [
        ((12, 12, 16, 16), 75),  # ordinary nuclei
        ((8, 8, 8, 8), 75),  # all nuclei are drawn so small
        ((7, 12, 16, 16), 75),
        ((5, 8, 16, 16), 75),  # unlike
        ((7, 7, 7, 16), 75),  # which two?
        ((8, 8, 16, 16), 4),  # cut by the frame
    ],
)
def test_other_cells_stay_apart(radii, row):
    cells, nuclei = halves(*radii, row=row)
    check_same(read(draw_maps(cells, nuclei), min_nucleus_um2=0)[0], cells)
