"""Matched ids, whole cells, the field's own pixels."""

import tracemalloc

import numpy as np
import pytest

from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.fov import FieldOfView
from hpacells.segment.adapters.matching import (
    is_blank,
    match_nuclei,
    pad_to,
    read_ids,
)
from hpacells.segment.redraw import finish_cells
from hpacells.segment.resolution import WorkingScale


def test_a_nucleus_belongs_to_the_cell_that_it_lies_in_most():
    cells = np.array([[1, 1, 1, 2, 2, 2, 0, 0]] * 2, np.int32)
    nuclei = np.array([[0, 5, 5, 5, 0, 0, 3, 3]] * 2, np.int32)
    wanted = np.array([[0, 1, 1, 0, 0, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(match_nuclei(nuclei, cells), wanted)


def test_two_nuclei_in_one_cell_get_its_id_and_a_tie_goes_to_the_lower_one():
    cells = np.array([[4, 4, 4, 4, 7, 7]], np.int32)
    nuclei = np.array([[1, 0, 2, 9, 9, 0]], np.int32)
    np.testing.assert_array_equal(match_nuclei(nuclei, cells), [[4, 0, 4, 4, 0, 0]])


def test_a_nucleus_mostly_outside_all_cells_is_gone():
    cells = np.array([[1, 1, 0, 0, 0]], np.int32)
    nuclei = np.array([[0, 1, 1, 1, 0]], np.int32)
    assert not match_nuclei(nuclei, cells).any()
    assert not match_nuclei(np.zeros_like(cells), cells).any()
    assert not match_nuclei(nuclei, np.zeros_like(cells)).any()


def test_many_ids_take_memory_by_the_pixels_not_by_the_pairs_of_ids():
    """A table of all pairs of these ids would hold 3.6 thousand million numbers."""
    cells = np.arange(60_000, dtype=np.int32).reshape(200, 300)
    nuclei = (60_000 - cells) * (cells % 7 == 0)
    tracemalloc.start()
    try:
        found = match_nuclei(nuclei.astype(np.int32), cells)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, np.where(nuclei > 0, cells, 0))
    assert peak < 20 * 2**20


@pytest.mark.parametrize("seed", range(4))
def test_owners_are_those_of_a_table_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    nuclei, cells = rng.integers(0, 9, (2, 17, 23)).astype(np.int32)
    shared = np.zeros((9, 9), int)
    np.add.at(shared, (nuclei.ravel(), cells.ravel()), 1)
    owner = shared.argmax(axis=1)
    owner[0] = 0
    wanted = np.where((owner[nuclei] == cells), cells, 0) * (nuclei > 0)
    np.testing.assert_array_equal(match_nuclei(nuclei, cells), wanted)


def test_finished_cells_are_whole_numbered_in_reading_order_and_no_debris():
    cells = np.zeros((40, 60), np.int32)
    cells[20:35, 30:50] = 3
    cells[25:28, 35:38] = 0  # a hole
    cells[5:15, 10:30] = 8
    cells[5:7, 40:42] = 8  # a loose piece
    cells[18, 5] = 6  # debris
    cells[39, 0] = 9  # as small, cut by the frame
    nuclei = np.where((cells == 3) & (np.arange(60) > 44), 3, 0).astype(np.int32)
    fov = FieldOfView("f", np.zeros((4, 80, 120), np.uint8), 0.5, 255)
    found, inside = finish_cells(
        cells, nuclei, grid=WorkingScale((40, 60), 1.0), fov=fov, least_um2=4
    )
    assert found.shape == (80, 120)
    assert found[20, 40] == 1
    assert found[53, 73] == found[50, 60] == 2
    assert not found[10:15, 80:85].any()
    assert found[36:38, 10:12].max() == 0
    assert set(np.unique(inside)) == {0, 2}


def test_blank_is_asked_of_the_stored_pixels_and_of_the_wanted_stains():
    """Averaged to a coarser grid, a constant stain differs by rounding: it once counted as seen."""
    pixels = np.full((4, 50, 90), 200, np.uint8)
    pixels[Channel.PROTEIN.position, 3, 4] = 9
    fov = FieldOfView("f", pixels, 0.08, 255)
    stains = (Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER)
    assert is_blank(fov, stains)
    assert not is_blank(fov, (*stains, Channel.PROTEIN))
    pixels[Channel.ER.position, 0, 0] = 201
    assert not is_blank(fov, stains)
    assert is_blank(fov, stains[:2])


def test_padding_repeats_the_edge():
    stack = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    padded = pad_to(stack, 4, 4)
    np.testing.assert_array_equal(
        padded[0], [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    )
    assert pad_to(padded, 2, 4) is padded


@pytest.mark.parametrize(
    "found",
    [
        np.zeros((2, 4, 4)),
        np.zeros((3, 9)),
        np.full((4, 4), np.nan),
        np.full((4, 4), -1),
        np.full((4, 4), 70000),
    ],
)
def test_what_is_no_label_image_is_refused(found):
    with pytest.raises(ModelError, match="x: expected ids 0-65535 of at least 4 x 4 pixels"):
        read_ids(found, (4, 4), "x")


def test_ids_are_cropped_to_the_working_image():
    ids = read_ids(np.eye(5, dtype=np.uint16), (3, 4), "x")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, np.eye(3, 4))
