"""The watershed segmenter on drawn fields: invariants, invariances, degenerate fields."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView
from hpacells.segment.config import SegmentConfig
from hpacells.segment.measure import measure_cells
from hpacells.segment.watershed import WatershedSegmenter

SEGMENT = WatershedSegmenter()


def ellipse(shape, row, column, radii):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - row) / radii[0]) ** 2 + ((columns - column) / radii[1]) ** 2 <= 1


def make_field(shape_um, cells, *, pixel_um=0.32, full=255, dtype=np.uint8, offset=0.0, noise=0.01):
    """Draw cells given as (row, column, nucleus radii, body radii, nucleus brightness), in µm."""
    shape = tuple(round(side / pixel_um) for side in shape_um)
    stains = np.zeros((4, *shape), np.float32)
    for row, column, nucleus, body, bright in cells:
        middle = (row / pixel_um, column / pixel_um)
        inside = ellipse(shape, *middle, [r / pixel_um for r in body])
        dna = ellipse(shape, *middle, [r / pixel_um for r in nucleus])
        stains[0][inside] = 0.5
        stains[3][inside & ~dna] = 0.6
        stains[2][dna] = np.maximum(stains[2][dna], bright)
    rng = np.random.default_rng(1)
    stains = np.stack([cv2.GaussianBlur(s, (0, 0), 0.3 / pixel_um) for s in stains])
    stains = offset + stains + noise * rng.random(stains.shape)
    stains[1] = rng.random(shape)
    pixels = np.clip(np.rint(stains * full), 0, full).astype(dtype)
    return FieldOfView("drawn", pixels, pixel_um, full)


ROUND = ((7.0, 7.0), (14.0, 14.0), 0.8)
THREE = [(30, 30, *ROUND), (30, 90, *ROUND), (75, 60, *ROUND)]


def overlap(ids, shape, row, column, radii, pixel_um=0.32):
    """IoU of a drawn ellipse (in µm) with the id at its middle."""
    true = ellipse(shape, row / pixel_um, column / pixel_um, [r / pixel_um for r in radii])
    found_id = ids[int(row / pixel_um), int(column / pixel_um)]
    if found_id == 0:
        return 0.0
    return (true & (ids == found_id)).sum() / (true | (ids == found_id)).sum()


def test_drawn_cells_are_found_in_reading_order():
    fov = make_field((110, 130), THREE)
    masks = SEGMENT(fov)
    assert masks.cell_ids.tolist() == [1, 2, 3]
    assert masks.segmenter == "watershed"
    assert masks.pixel_size_um == fov.pixel_size_um
    for row, column, nucleus, body, _ in THREE:
        assert overlap(masks.cells, masks.cells.shape, row, column, body) > 0.85
        assert overlap(masks.nuclei, masks.nuclei.shape, row, column, nucleus) > 0.85
    first = np.array([np.flatnonzero(masks.cells == i)[0] for i in masks.cell_ids])
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize("pixel_um", [0.08, 0.16, 0.5])
def test_same_cells_at_any_pixel_size(pixel_um):
    masks = SEGMENT(make_field((110, 130), THREE, pixel_um=pixel_um))
    assert masks.cell_ids.tolist() == [1, 2, 3]
    for row, column, nucleus, body, _ in THREE:
        assert overlap(masks.cells, masks.cells.shape, row, column, body, pixel_um) > 0.8
        assert overlap(masks.nuclei, masks.nuclei.shape, row, column, nucleus, pixel_um) > 0.8


@pytest.mark.parametrize(("full", "dtype"), [(4095, np.uint16), (65535, np.uint16)])
def test_bit_depth_and_background_do_not_matter(full, dtype):
    expected = SEGMENT(make_field((110, 130), THREE))
    found = SEGMENT(make_field((110, 130), THREE, full=full, dtype=dtype, offset=0.1))
    assert (found.cells > 0).sum() == pytest.approx((expected.cells > 0).sum(), rel=0.1)
    assert found.cell_ids.tolist() == expected.cell_ids.tolist()


def test_protein_is_never_looked_at():
    fov = make_field((110, 130), THREE)
    without = fov.pixels.copy()
    without[Channel.PROTEIN.position] = 0
    other = SEGMENT(FieldOfView("other", without, fov.pixel_size_um, fov.max_value))
    np.testing.assert_array_equal(SEGMENT(fov).cells, other.cells)


def test_dim_nucleus_beside_a_bright_one_is_found_whole():
    dim = ((7.0, 7.0), (12.0, 12.0), 0.22)
    cells = [(30, 30, (7, 7), (12, 12), 0.9), (30, 58, *dim)]
    masks = SEGMENT(make_field((60, 90), cells))
    assert masks.cell_ids.tolist() == [1, 2]
    assert overlap(masks.nuclei, masks.nuclei.shape, 30, 58, (7, 7)) > 0.8


def test_touching_nuclei_are_split_and_long_ones_are_not():
    touching = [(30, 30, *ROUND), (30, 43, *ROUND)]
    assert SEGMENT(make_field((60, 80), touching)).cell_ids.tolist() == [1, 2]
    long = [(30, 40, (5, 14), (12, 22), 0.8)]
    assert SEGMENT(make_field((60, 80), long)).cell_ids.tolist() == [1]


def test_bent_nucleus_stays_one():
    fov = make_field((60, 80), [(30, 40, (1, 1), (18, 22), 0.8)])
    shape = fov.pixels.shape[1:]
    ring = ellipse(shape, 94, 125, (32, 32)) & ~ellipse(shape, 94, 125, (14, 14))
    ring[94:] = False
    fov.pixels[2] = np.where(ring, 200, 0)
    assert SEGMENT(fov).cell_ids.tolist() == [1]


def test_touching_cells_part_at_the_dark_line_between_them():
    fov = make_field((70, 110), [(35, 35, *ROUND)])
    shape = fov.pixels.shape[1:]
    for stain in (0, 3):
        fov.pixels[stain] = 0
        fov.pixels[stain][40:180, 40:300] = 120
        fov.pixels[stain][40:180, 186:192] = 30
    fov.pixels[2] = 200 * (ellipse(shape, 110, 100, (22, 22)) | ellipse(shape, 110, 250, (22, 22)))
    halfway_segmenter = WatershedSegmenter(SegmentConfig(valley_weight_um=0))
    for segmenter, border in ((SEGMENT, 189), (halfway_segmenter, 175)):
        cells = segmenter(fov).cells
        assert set(np.unique(cells)) == {0, 1, 2}
        found = (cells[60:160] == 1).sum(axis=1) + 40
        assert np.abs(found - border).max() <= 4


def test_body_reaches_no_farther_than_allowed():
    fov = make_field((60, 200), [(30, 20, *ROUND)])
    for stain in (0, 3):
        fov.pixels[stain][60:130, :] = 150
    reach_um = 20.0
    masks = WatershedSegmenter(SegmentConfig(max_reach_um=reach_um))(fov)
    columns = np.flatnonzero((masks.cells == 1).any(axis=0))
    nucleus = np.flatnonzero((masks.nuclei == 1).any(axis=0))
    assert (columns.max() - nucleus.max()) * 0.32 <= reach_um + 1


def test_debris_and_bodies_without_nucleus_are_left_out():
    cells = [*THREE, (85, 110, (1.2, 1.2), (1.5, 1.5), 0.8), (90, 20, (0.01, 0.01), (12, 12), 0.0)]
    assert SEGMENT(make_field((110, 130), cells)).cell_ids.tolist() == [1, 2, 3]


def test_nucleoli_leave_no_holes():
    fov = make_field((60, 80), [(30, 40, (9, 9), (16, 16), 0.8)])
    fov.pixels[2][ellipse(fov.pixels.shape[1:], 94, 125, (6, 6))] = 0
    masks = SEGMENT(fov)
    assert masks.nuclei[94, 125] == masks.cells[94, 125] == 1


def test_large_nucleolus_across_a_nucleus_does_not_split_it():
    fov = make_field((60, 80), [(30, 40, (8, 11), (18, 22), 0.8)])
    fov.pixels[2][ellipse(fov.pixels.shape[1:], 94, 125, (21, 5))] = 60
    masks = SEGMENT(fov)
    assert masks.cell_ids.tolist() == [1]
    assert overlap(masks.nuclei, masks.nuclei.shape, 30, 40, (8, 11)) > 0.85


def test_cells_cut_by_the_frame_reach_it():
    masks = SEGMENT(make_field((60, 80), [(2, 40, *ROUND), (45, 40, *ROUND)]))
    assert masks.cells[0].any()
    assert masks.nuclei[0].any()


@pytest.mark.parametrize("grey", [0, 3, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (64, 96)])
def test_constant_field_has_no_cells(grey, shape):
    fov = FieldOfView("blank", np.full((4, *shape), grey, np.uint8), 0.08, 255)
    masks = SEGMENT(fov)
    assert masks.cells.shape == shape
    assert len(masks.cell_ids) == 0


@pytest.mark.parametrize("shape", [(20_000, 90), (90, 20_000)])
def test_a_side_of_20000_pixels_has_cells_from_end_to_end(shape):
    places = [(4, 4, *ROUND), (5990, 20, *ROUND)]
    fov = make_field((6000, 27), places, pixel_um=0.3)
    if shape[0] == 90:
        fov = replace(fov, pixels=np.ascontiguousarray(fov.pixels.transpose(0, 2, 1)))
    assert (fov.height, fov.width) == shape
    masks = SEGMENT(fov)
    assert len(masks.cell_ids) == 2
    assert measure_cells(fov, masks).table["touches_border"].to_pylist() == [True, True]


@pytest.mark.parametrize("side_um", [110, 400])
def test_a_lone_cell_is_found_however_large_the_field(side_um):
    """Nuclei on less than 0.5 % of a field were once taken for background."""
    fov = make_field((side_um, side_um + 30), [(40, 60, *ROUND)])
    masks = SEGMENT(fov)
    assert masks.cell_ids.tolist() == [1]
    assert overlap(masks.nuclei, masks.nuclei.shape, 40, 60, ROUND[0]) > 0.85
    assert overlap(masks.cells, masks.cells.shape, 40, 60, ROUND[1]) > 0.8


def test_a_bright_speck_hides_no_nuclei():
    fov = make_field(
        (330, 360),
        [
            (row, column, (7, 7), (14, 14), 0.12)
            for row in (40, 150, 260)
            for column in (50, 170, 290)
        ],
    )
    speck = ellipse((fov.height, fov.width), 300, 300, (12, 12))
    fov.pixels[Channel.NUCLEUS.position][speck] = 255
    assert len(SEGMENT(fov).cell_ids) in {9, 10}


def test_noise_alone_gives_no_cells():
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 4, (4, 300, 400)).astype(np.uint8)
    assert len(SEGMENT(FieldOfView("noise", pixels, 0.08, 255)).cell_ids) == 0


@pytest.mark.parametrize("blank", [[0], [3], [0, 3]])
def test_blank_body_stains_leave_cells_around_their_nuclei(blank):
    fov = make_field((110, 130), THREE)
    fov.pixels[blank] = 255
    masks = SEGMENT(fov)
    assert masks.cell_ids.tolist() == [1, 2, 3]
    assert (masks.cells > 0).sum() > (masks.nuclei > 0).sum()


def test_tiny_field_with_one_nucleus_works():
    pixels = np.zeros((4, 9, 12), np.uint8)
    pixels[2, 3:8, 3:9] = 200
    masks = SEGMENT(FieldOfView("tiny", pixels, 2.0, 255))
    assert masks.cells.shape == (9, 12)
    assert masks.cell_ids.tolist() == [1]


def test_field_can_be_turned():
    fov = make_field((110, 130), THREE)
    turned = np.ascontiguousarray(np.rot90(fov.pixels, axes=(1, 2)))
    other = SEGMENT(FieldOfView("turned", turned, fov.pixel_size_um, fov.max_value))
    plain = np.rot90(SEGMENT(fov).cells) > 0
    assert (plain ^ (other.cells > 0)).mean() < 0.005
    assert other.cell_ids.tolist() == [1, 2, 3]
