"""Masks to outlines: what enters is a label image, what leaves are polygons at another scale.

A polygon runs through the middles of a cell's outermost pixels, so a drawn outline lies half a
pixel of the mask inside the cell's edge. A run keeps the outlines of each field's preview
(``write_paths``): made while the masks are in memory, nobody has to decode them again to draw.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.id_statistics import boxes_of_ids
from hpacells.core.mask_parts import IdRuns, find_runs
from hpacells.core.storage import atomic_path

__all__ = [
    "INSET_PX",
    "TOLERANCE_PX",
    "CellPath",
    "Outline",
    "PathsOf",
    "draw_paths",
    "read_paths",
    "svg_path",
    "trace_outlines",
    "write_paths",
]

TOLERANCE_PX = 0.6
"""How far an outline that a run keeps may leave the mask's, in pixels of the preview."""

INSET_PX = 1.0
"""How far inside the mask's edge it is drawn, in pixels of the preview."""


@dataclass(frozen=True)
class Outline:
    """The outline of one cell.

    Parameters
    ----------
    cell_id
        Its id in the mask.
    rings
        Closed polygons, each ``(n, 2)`` float64 of (x, y) = (column, row) in pixels of the target
        image; the edge of a pixel is at a whole number. Holes are rings too (even-odd rule).
    anchor
        (x, y) of a point inside the cell, as far from its edge as possible: where a name goes.
    """

    cell_id: int
    rings: tuple[npt.NDArray[np.float64], ...]
    anchor: tuple[float, float]


def trace_outlines(
    cells: npt.NDArray[np.integer],
    *,
    scale: tuple[float, float],
    tolerance_px: float = 0.0,
    inset_px: float = 0.0,
    runs: IdRuns | None = None,
) -> Iterator[Outline]:
    """Trace every cell of a label image, ids ascending.

    Parameters
    ----------
    cells
        ``(H, W)`` ids, 0 = background.
    scale
        (x, y): pixels of the target image per pixel of the mask.
    tolerance_px
        How far a simplified outline may lie from the traced one, in pixels of the target.
    inset_px
        How far inside the cell's edge the outline runs, in pixels of the target, so that the
        lines of touching cells lie side by side. A cell too thin for it keeps its edge.
    runs
        Of ``cells``, where they are known.

    Yields
    ------
    Outline
        One per id present. A cell too small for a polygon gets a square around its pixel.
    """
    ids = np.ascontiguousarray(cells, np.int32)
    reach = round(inset_px / max(scale))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    runs = find_runs(ids) if runs is None else runs
    found = np.unique(runs.ids)
    boxes = boxes_of_ids(runs, int(found.max(initial=0)) + 1)
    for cell_id, (r0, c0, r1, c1) in zip(found.tolist(), boxes[found].tolist(), strict=True):
        inside = np.zeros((r1 - r0 + 2, c1 - c0 + 2), np.uint8)  # np.pad takes longer
        inside[1:-1, 1:-1] = ids[r0:r1, c0:c1] == cell_id
        origin = (c0 - 1, r0 - 1)
        inner = np.asarray(cv2.erode(inside, kernel), np.uint8)
        drawn = inner if inner.any() else inside
        rings = tuple(_trace_rings(drawn, origin, scale, tolerance_px))
        yield Outline(cell_id, rings, _find_anchor(inside, origin, scale))


def _trace_rings(
    inside: npt.NDArray[np.uint8],
    origin: tuple[int, int],
    scale: tuple[float, float],
    tolerance_px: float,
) -> Iterator[npt.NDArray[np.float64]]:
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        simple = cv2.approxPolyDP(contour, tolerance_px / max(scale), True)  # noqa: FBT003  OpenCV
        if len(simple) < 3:
            simple = contour
        points = simple.reshape(-1, 2).astype(np.float64)
        if len(points) < 3:
            points = _square_around(points)
        yield (points + origin + 0.5) * scale


def _square_around(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    (x0, y0), (x1, y1) = points.min(axis=0) - 0.5, points.max(axis=0) + 0.5
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _find_anchor(
    inside: npt.NDArray[np.uint8], origin: tuple[int, int], scale: tuple[float, float]
) -> tuple[float, float]:
    step = max(1, int(2 / max(scale)))  # two pixels of the target are near enough
    every = inside[::step, ::step]
    coarse = np.zeros((every.shape[0] + 1, every.shape[1] + 1), np.uint8)  # np.pad takes longer
    coarse[:-1, :-1] = every  # whose last row may be a cell's
    depth = cv2.distanceTransform(coarse, cv2.DIST_L2, 3)
    row, column = (int(i) * step for i in np.unravel_index(int(depth.argmax()), depth.shape))
    if not depth.any():  # too thin for that
        row, column = np.argwhere(inside)[0].tolist()
    return (column + origin[0] + 0.5) * scale[0], (row + origin[1] + 0.5) * scale[1]


def svg_path(outline: Outline) -> str:
    """Write an outline as the ``d`` of one SVG path, to a tenth of a pixel.

    Examples
    --------
    >>> svg_path(Outline(1, (np.array([[0.5, 1.0], [2.0, 1.0], [2.0, 3.26]]),), (1.0, 1.0)))
    'M0.5 1 2 1 2 3.3Z'
    """
    return "".join(
        "M" + " ".join(map("%g".__mod__, np.round(ring, 1).ravel().tolist())) + "Z"
        for ring in outline.rings
    )


@dataclass(frozen=True)
class CellPath:
    """The outline of one cell as a line to be drawn on a picture of its field.

    Parameters
    ----------
    cell_id
        Its id in the mask.
    d
        As ``svg_path`` writes it.
    x, y
        Where its name goes (``Outline.anchor``), in pixels of the picture.
    """

    cell_id: int
    d: str
    x: float
    y: float


@dataclass(frozen=True)
class PathsOf:
    """What the outlines of a field were drawn from, and how: others would be other lines.

    Parameters
    ----------
    mask_crc32
        Of the file of the cells' mask.
    height, width
        Of the picture, in pixels.
    tolerance_px, inset_px
        As for ``trace_outlines``.
    """

    mask_crc32: int
    height: int
    width: int
    tolerance_px: float = TOLERANCE_PX
    inset_px: float = INSET_PX


def draw_paths(
    cells: npt.NDArray[np.integer],
    shape_px: tuple[int, int],
    *,
    tolerance_px: float = TOLERANCE_PX,
    inset_px: float = INSET_PX,
    runs: IdRuns | None = None,
) -> list[CellPath]:
    """Draw every cell of a label image onto a picture of ``shape_px`` (height, width).

    Parameters
    ----------
    cells, tolerance_px, inset_px, runs
        As for ``trace_outlines``.
    shape_px
        Of the picture.
    """
    outlines = trace_outlines(
        cells,
        scale=(shape_px[1] / cells.shape[1], shape_px[0] / cells.shape[0]),
        tolerance_px=tolerance_px,
        inset_px=inset_px,
        runs=runs,
    )
    return [CellPath(o.cell_id, svg_path(o), *o.anchor) for o in outlines]


def write_paths(path: Path, paths: Sequence[CellPath], of: PathsOf) -> None:
    """Write the outlines of a field as JSON, whole or not at all."""
    cells = [[cell.cell_id, cell.d, cell.x, cell.y] for cell in paths]
    text = json.dumps({"of": asdict(of), "cells": cells}, separators=(",", ":"))
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_paths(path: Path, of: PathsOf) -> list[CellPath] | None:
    """Read the outlines of a field; None where there are none, or of another mask or picture."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if PathsOf(**content["of"]) != of:
            return None
        return [CellPath(int(i), str(d), float(x), float(y)) for i, d, x, y in content["cells"]]
    except (OSError, ValueError, TypeError, KeyError):  # missing, damaged, or of another version
        return None
