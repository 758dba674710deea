"""Masks to polygons along the pixels' edges, and polygons back to masks: exact both ways.

A vertex (x, y) = (column, row) is a corner of pixels, (0, 0) the image's upper left one. A pixel
belongs to a polygon when its centre lies inside. Parts that touch by a corner only become parts
of a multipolygon, and a ring that touches itself is cut there, so every polygon is valid in the
sense of the Simple Features standard. No library of the base install does this: OpenCV's contours
run through the middles of pixels, and unions of boxes take a hundred times longer.
"""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Polygon", "fill_rings", "trace_pixel_edges"]

_FAR = 1e7
"""Vertices farther out, hundreds of fields away, are moved here: no integer overflows."""

Ring = list[tuple[int, int]]
Polygon = list[Ring]
"""An outer ring, then its holes; closed: the first vertex stands at the end again."""


def trace_pixel_edges(
    mask: npt.NDArray[np.bool_], *, row: int = 0, column: int = 0
) -> list[Polygon]:
    """Trace a mask.

    Parameters
    ----------
    mask
        ``(h, w)``.
    row, column
        Where its upper left pixel lies in the image.

    Returns
    -------
    list of Polygon
        One per part connected by sides; none for an empty mask. Outer rings run clockwise as
        seen on the screen (y downwards), holes the other way.

    Examples
    --------
    >>> trace_pixel_edges(np.ones((1, 2), bool), row=5)
    [[[(0, 5), (2, 5), (2, 6), (0, 6), (0, 5)]]]
    """
    inside = np.pad(mask, 1).astype(np.uint8)
    parts = np.asarray(cv2.connectedComponents(inside, connectivity=4)[1], np.int32)
    outer: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for loop in _follow(inside.astype(np.bool_)):
        for ring in _cut_at_touches(loop):
            part = _part_beside(parts, ring)
            placed = [(x + column, y + row) for x, y in ring]
            placed.append(placed[0])
            if _doubled_area(ring) > 0:
                outer[part] = placed
            else:
                holes.setdefault(part, []).append(placed)
    return [[outer[part], *holes.get(part, [])] for part in sorted(outer)]


def fill_rings(
    rings: list[npt.NDArray[np.float64]], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.bool_], int, int]:
    """Fill polygons: the pixels whose centres lie inside (even-odd rule).

    Parameters
    ----------
    rings
        Each ``(n, 2)`` of (x, y), closed or not; holes are rings too. What lies outside the image
        is cut away.
    shape
        ``(H, W)`` of the image.

    Returns
    -------
    tuple
        The mask of a box ``(h, w)`` bool, and the row and column of its upper left pixel.

    Notes
    -----
    A centre exactly on an edge belongs to the polygon below or right of that edge.
    """
    placed = [np.asarray(ring, np.float64).clip(-_FAR, _FAR) for ring in rings]
    starts = np.concatenate(placed)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in placed])
    low = np.floor(starts.min(axis=0)).astype(np.int64).clip(0)
    high = np.ceil(starts.max(axis=0)).astype(np.int64)
    (c0, r0), (c1, r1) = low, np.minimum(high, (shape[1], shape[0]))
    if c1 <= c0 or r1 <= r0:
        return np.zeros((0, 0), np.bool_), int(r0), int(c0)
    upwards = ends[:, 1] < starts[:, 1]
    starts[upwards], ends[upwards] = ends[upwards], starts[upwards].copy()
    first = np.ceil(starts[:, 1] - 0.5).astype(np.int64).clip(r0, r1)
    stop = np.ceil(ends[:, 1] - 0.5).astype(np.int64).clip(r0, r1)
    edge = np.repeat(np.arange(len(starts)), stop - first)
    rows = np.arange(edge.size) - np.repeat(np.cumsum(stop - first) - stop, stop - first)
    (x0, y0), (x1, y1) = starts[edge].T, ends[edge].T
    crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    columns = np.ceil(crossing - 0.5).astype(np.int64).clip(c0, c1)
    toggles = np.zeros((r1 - r0, c1 - c0 + 1), np.int64)
    np.add.at(toggles, (rows - r0, columns - c0), 1)
    return (toggles.cumsum(axis=1) % 2 == 1)[:, :-1], int(r0), int(c0)


def _follow(inside: npt.NDArray[np.bool_]) -> list[Ring]:
    """Link the corners of a padded mask to closed loops, the mask always on the right hand.

    In a row the corners pair up from left to right as ends of horizontal edges, in a column from
    top to bottom; where two pixels touch by a corner only, that corner stands twice, once for each
    pixel.
    """
    nw, ne, sw, se = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    saddle = (nw == se) & (ne == sw) & (nw != ne)
    ys, xs = np.nonzero(nw ^ ne ^ sw ^ se | saddle)
    twice = saddle[ys, xs].astype(np.int64)
    at = np.repeat(np.arange(len(ys)), 1 + twice)
    ys, xs = ys[at], xs[at]
    copy = np.append(0, at[1:] == at[:-1])[: len(at)].astype(np.int64)
    # the first copy ends the edge from the left; above it lies the edge of the same pixel only
    # where that pixel is the upper left one
    turn = np.where((twice[at] == 1) & ~nw[ys, xs], 1 - copy, copy)
    beside = _pair(np.arange(len(at)))  # nonzero reads row by row
    above = _pair(np.lexsort((turn, ys, xs)))
    below = inside[ys + 1, xs + 1].tolist()
    vertices: Ring = list(zip(xs.tolist(), ys.tolist(), strict=True))
    loops, seen = [], [False] * len(vertices)
    for start in range(len(vertices)):
        if seen[start]:
            continue
        loop, corner = [], start
        while not seen[corner]:
            other = beside[corner]
            seen[corner] = seen[other] = True
            loop += [vertices[corner], vertices[other]]
            corner = above[other]
        loops.append(loop if below[start] else loop[::-1])  # the first edge runs to the right
    return loops


def _pair(order: npt.NDArray[np.int64]) -> list[int]:
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return list(partner.tolist())


def _cut_at_touches(loop: Ring) -> list[Ring]:
    """Cut a loop that comes back to a vertex into loops that don't."""
    if len(set(loop)) == len(loop):
        return [loop]
    rings: list[Ring] = []
    path: Ring = []
    for vertex in loop:
        if vertex in path:
            at = path.index(vertex)
            rings.append(path[at:])
            del path[at:]
        path.append(vertex)
    return [*rings, path]


def _part_beside(parts: npt.NDArray[np.int32], ring: Ring) -> int:
    """Give the part on the right hand of a ring's first edge."""
    (x, y), (next_x, next_y) = ring[0], ring[1]
    column = x - (next_x < x or next_y > y)
    row = y - (next_x < x or next_y < y)
    return int(parts[row + 1, column + 1])


def _doubled_area(ring: Ring) -> int:
    following = [*ring[1:], ring[0]]
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, following, strict=True))
