import cv2
import numpy as np
import pytest

from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import InputError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.crops.extract import cell_centres, extract_crops


def test_drawn_field_shrunk_twice_has_the_drawn_crop():
    pixels = np.zeros((4, 32, 40), np.uint8)
    pixels[1, 8:10, 20:22] = [[100, 60], [40, 0]]  # one crop pixel: mean 50
    cells = np.zeros((32, 40), np.int32)
    cells[4:12, 16:28] = 3
    nuclei = np.zeros_like(cells)
    nuclei[7:11, 19:23] = 3  # centroid at row 9, column 21
    masks = CellMasks(cells, nuclei, "drawn", 0.1)
    crops, cell_masks = extract_crops(
        FieldOfView("a", pixels, 0.1, 255), masks, [3], CropSpec(16, 0.2)
    )
    assert crops.shape == (1, 4, 16, 16)
    assert crops.dtype == np.uint8
    # centre 4.5, 10.5 in crop pixels of the field; the window starts at row -3, column 3
    assert np.argwhere(crops[0, 1]).tolist() == [[7, 7]]
    assert crops[0, 1, 7, 7] == 50
    expected = np.zeros((16, 16), bool)
    expected[5:9, 5:11] = True
    np.testing.assert_array_equal(cell_masks[0], expected)


def test_windows_are_centred_on_the_nucleus_or_else_on_the_cell(make_field):
    _, masks = make_field()
    centres = cell_centres(masks, np.array([2, 1, 5]))
    np.testing.assert_allclose(centres, [[24, 51], [25, 20], [57, 85]])


def test_same_scale_copies_pixels_neighbours_included(make_field):
    fov, masks = make_field()
    crops, cell_masks = extract_crops(fov, masks, [1], CropSpec(40, 0.1))
    np.testing.assert_array_equal(crops[0], fov.pixels[:, 5:45, 0:40])
    np.testing.assert_array_equal(cell_masks[0], masks.cells[5:45, 0:40] == 1)


def test_outside_the_frame_is_zero(make_field):
    fov, masks = make_field()
    bright = FieldOfView("a", np.full_like(fov.pixels, 200), 0.1, 255)
    for pixel_size_um in (0.1, 0.05, 0.2):
        crops, cell_masks = extract_crops(bright, masks, [5], CropSpec(40, pixel_size_um))
        centre_to_edge = round((60 - 57) * 0.1 / pixel_size_um)
        assert (crops[0, :, 20 + centre_to_edge + 1 :] == 0).all()
        assert (crops[0, :, 10:20, 10:20] == 200).all()
        assert not cell_masks[0, 20 + centre_to_edge + 1 :].any()


def test_enlarging_agrees_with_resizing_the_whole_field(make_field):
    fov, masks = make_field()
    crops, cell_masks = extract_crops(fov, masks, [1], CropSpec(60, 0.05))
    for channel in range(4):
        whole = cv2.resize(fov.pixels[channel], (180, 120), interpolation=cv2.INTER_LINEAR)
        difference = crops[0, channel, :, 10:].astype(int) - whole[20:80, 20:70].astype(int)
        assert np.abs(difference).max() <= 1
    assert cell_masks.sum() == 60 * 50  # the window ends ten columns before the cell


def test_twice_the_resolution_gives_nearly_the_same_crop(make_field):
    fov, masks = make_field((120, 180), pixel_size_um=0.1)
    twice = FieldOfView("a", fov.pixels.repeat(2, 1).repeat(2, 2), 0.05, 255)
    twice_masks = CellMasks(
        masks.cells.repeat(2, 0).repeat(2, 1), masks.nuclei.repeat(2, 0).repeat(2, 1), "drawn", 0.05
    )
    spec = CropSpec(32, 0.27)
    one, one_masks = extract_crops(fov, masks, masks.cell_ids, spec)
    two, two_masks = extract_crops(twice, twice_masks, masks.cell_ids, spec)
    assert np.abs(one.astype(int) - two.astype(int)).mean() < 1.0
    assert (one_masks == two_masks).mean() > 0.99


@pytest.mark.parametrize("pixel_size_um", [0.05, 0.25])
def test_16_bit_field_gives_the_crops_of_its_8_bit_twin(pixel_size_um, make_field):
    fov, masks = make_field()
    deep = FieldOfView("a", fov.pixels.astype(np.uint16) * 257, 0.1, 65535)
    spec = CropSpec(24, pixel_size_um)
    shallow, _ = extract_crops(fov, masks, [1, 2], spec)
    got, _ = extract_crops(deep, masks, [1, 2], spec)
    assert np.abs(got.astype(int) - shallow.astype(int)).max() <= 1


@pytest.mark.parametrize("pixel_size_um", [0.05, 0.25])
def test_order_and_company_of_ids_change_nothing(pixel_size_um, make_field):
    fov, masks = make_field()
    spec = CropSpec(24, pixel_size_um)
    crops, cell_masks = extract_crops(fov, masks, [1, 2, 5], spec)
    turned, turned_masks = extract_crops(fov, masks, [5, 1], spec)
    np.testing.assert_array_equal(turned, crops[[2, 0]])
    np.testing.assert_array_equal(turned_masks, cell_masks[[2, 0]])


@pytest.mark.parametrize("pixel_size_um", [0.05, 0.25])
def test_no_cells_no_crops(pixel_size_um, make_field):
    fov, masks = make_field()
    crops, cell_masks = extract_crops(fov, masks, [], CropSpec(24, pixel_size_um))
    assert crops.shape == (0, 4, 24, 24)
    assert cell_masks.shape == (0, 24, 24)


def test_masks_of_another_size_are_refused(make_field):
    fov, _ = make_field((60, 90))
    _, masks = make_field((90, 60 + 40))
    with pytest.raises(InputError, match=r"masks are \(90, 100\)"):
        extract_crops(fov, masks, [1], CropSpec(24, 0.1))


@pytest.mark.parametrize("unknown", [3, 99])
def test_an_id_that_is_not_in_the_masks_is_refused(unknown, make_field):
    fov, masks = make_field()
    with pytest.raises(InputError, match=str(unknown)):
        extract_crops(fov, masks, [1, unknown], CropSpec(24, 0.1))
