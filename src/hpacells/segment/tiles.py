"""Large images through the network in tiles, without seams.

A network that only convolves sees nothing beyond its field of view. Each tile is computed with a
margin at least that wide and keeps only its core, so every pixel has the value that it has in one
piece (to rounding); there is nothing to blend.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.runtime.segmenter_folder import SIDE_MULTIPLE

__all__ = ["MARGIN_PX", "map_in_tiles"]

MARGIN_PX = 128
"""Margin of a tile: how far the network sees, rounded up to a multiple of ``SIDE_MULTIPLE``."""

_Images = npt.NDArray[np.float32]


def map_in_tiles(
    stains: _Images, network: Callable[[_Images], _Images], *, n_maps: int, core_px: int
) -> _Images:
    """Compute maps of an image of any size.

    Parameters
    ----------
    stains
        ``(C, h, w)`` float32, any size of 1 or more.
    network
        ``(C, H, W)`` float32 with sides in multiples of ``SIDE_MULTIPLE`` to ``(n_maps, H, W)``.
    n_maps
        Maps that it gives.
    core_px
        Side of what a tile keeps, rounded up to a multiple of ``SIDE_MULTIPLE``. An image that is
        no longer than this plus a margin at both ends is computed in one piece.

    Returns
    -------
    ndarray
        ``(n_maps, h, w)`` float32.
    """
    rows, columns = stains.shape[1:]
    padded = _pad(stains)
    maps = np.empty((n_maps, rows, columns), np.float32)
    for down in _cuts(padded.shape[1], core_px):
        for across in _cuts(padded.shape[2], core_px):
            tile = np.ascontiguousarray(padded[:, down[0], across[0]])
            found = network(tile)
            kept = maps[:, down[1], across[1]]
            inner = found[:, down[2], across[2]]
            kept[:] = inner[:, : kept.shape[1], : kept.shape[2]]
    return maps


def _pad(stains: _Images) -> _Images:
    """Repeat the last row and column up to a multiple of ``SIDE_MULTIPLE``."""
    down, across = (-side % SIDE_MULTIPLE for side in stains.shape[1:])
    if not (down or across):
        return stains
    planes = [
        cv2.copyMakeBorder(plane, 0, down, 0, across, cv2.BORDER_REPLICATE) for plane in stains
    ]
    return np.stack(planes).astype(np.float32, copy=False)


def _cuts(side: int, core_px: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a side: what a tile reads, what it keeps of the image, where that lies in the tile."""
    core = -(-core_px // SIDE_MULTIPLE) * SIDE_MULTIPLE
    if side <= core + 2 * MARGIN_PX:
        core = side
    for start in range(0, side, core):
        stop = min(start + core, side)
        first, last = max(0, start - MARGIN_PX), min(side, stop + MARGIN_PX)
        yield slice(first, last), slice(start, stop), slice(start - first, stop - first)
