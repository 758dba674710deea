"""How large every id of a label image is, where it lies and what grey values it holds, from runs.

What enters are the runs of ``core.mask_parts.find_runs``; a field has some thousands of them where
it has millions of pixels. All results are indexed by id; sums of whole numbers are exact.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.mask_parts import IdRuns

__all__ = ["boxes_of_ids", "centroids_of_ids", "pixels_of_ids", "sum_over_ids"]


_Floats = npt.NDArray[np.float32]


def pixels_of_ids(runs: IdRuns, n: int) -> npt.NDArray[np.int64]:
    """Count the pixels of the ids below ``n``: ``(n,)``, 0 for an id that is not there."""
    return np.bincount(runs.ids, runs.stop - runs.start, n).astype(np.int64)


def sum_over_ids(
    runs: IdRuns, values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | _Floats, n: int
) -> npt.NDArray[np.float64]:
    """Sum the values ``(H, W)`` inside the ids below ``n``: ``(n,)``."""
    flat = values.reshape(-1)
    edges = np.stack([runs.start, runs.stop], axis=1).reshape(-1)
    if edges.size and edges[-1] == flat.size:
        edges = edges[:-1]  # reduceat sums to the end by itself
    # a run is no longer than a row: 2**16 pixels of 16 bits fit; between runs it may wrap around
    kind = np.float64 if flat.dtype.kind == "f" else np.uint32
    sums = np.add.reduceat(flat, edges, dtype=kind)[::2] if edges.size else edges
    return np.bincount(runs.ids, sums, n).astype(np.float64)


def centroids_of_ids(runs: IdRuns, n: int) -> npt.NDArray[np.float64]:
    """Find the centroids of the ids below ``n``.

    Returns
    -------
    ndarray
        ``(n, 2)`` float64 row and column, where 0.5 is the middle of the first pixel; NaN for an
        id that is not there.
    """
    row, first = np.divmod(runs.start, max(runs.columns, 1))
    length = runs.stop - runs.start
    twice_column = (2 * first + length - 1) * length  # of a run: count times first plus last
    pixels = np.bincount(runs.ids, length, n).astype(np.float64)
    pixels[pixels == 0] = np.nan
    sums = np.bincount(runs.ids, row * length, n), np.bincount(runs.ids, twice_column, n) / 2
    middle = np.stack(sums, axis=1) / pixels[:, None] + 0.5
    return middle.astype(np.float64, copy=False)


def boxes_of_ids(runs: IdRuns, n: int) -> npt.NDArray[np.int32]:
    """Find the boxes of the ids below ``n``.

    Returns
    -------
    ndarray
        ``(n, 4)`` int32, half-open: r0, c0, r1, c1; all 0 for an id that is not there.
    """
    row, first = np.divmod(runs.start, max(runs.columns, 1))
    last = first + runs.stop - runs.start
    boxes = np.zeros((n, 4), np.int32)
    boxes[runs.ids, :2] = np.iinfo(np.int32).max
    for side, values in ((0, row), (1, first)):
        np.minimum.at(boxes[:, side], runs.ids, values.astype(np.int32))
    for side, values in ((2, row + 1), (3, last)):
        np.maximum.at(boxes[:, side], runs.ids, values.astype(np.int32))
    return boxes
