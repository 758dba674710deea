"""Images in tiles (the network's own seams are tested in tests/model/test_unet.py)."""

import cv2
import numpy as np
import pytest

from hpacells.segment.tiles import MARGIN_PX, map_in_tiles


def blur_far(tile):
    """See as far as the margin, by chained box filters."""
    planes = [cv2.blur(plane, (2 * 50 + 1, 2 * 50 + 1)) for plane in tile]
    return np.stack(planes[:2])


def make_stains(rows, columns):
    return np.random.default_rng(0).random((3, rows, columns), np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (16, 32), (17, 31), (5, 200)])
def test_small_images_are_computed_in_one_piece_of_whole_multiples(shape):
    seen = []

    def network(tile):
        seen.append(tile.shape)
        return tile[:2] * 2

    stains = make_stains(*shape)
    maps = map_in_tiles(stains, network, n_maps=2, core_px=1024)
    np.testing.assert_array_equal(maps, stains[:2] * 2)
    assert len(seen) == 1
    assert all(side % 16 == 0 for side in seen[0][1:])


@pytest.mark.parametrize("shape", [(300, 610), (641, 320)])
@pytest.mark.parametrize("core_px", [50, 128])
def test_tiles_give_what_one_piece_gives(shape, core_px):
    stains = make_stains(*shape)
    whole = map_in_tiles(stains, blur_far, n_maps=2, core_px=4096)
    tiled = map_in_tiles(stains, blur_far, n_maps=2, core_px=core_px)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_no_tile_is_larger_than_core_and_margins():
    sizes = []

    def network(tile):
        sizes.append(tile.shape[1:])
        return tile

    map_in_tiles(make_stains(800, 430), network, n_maps=3, core_px=160)
    assert len(sizes) == 5 * 3
    assert max(max(size) for size in sizes) <= 160 + 2 * MARGIN_PX
