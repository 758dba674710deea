"""The picture of one field as the viewer shows it: the stains, and an outline for each cell.

What leaves is what ``assets/viewer.js`` takes. A field's picture is made when the page is written
down to it, or shortly before, and forgotten after, so few masks are in memory at a time.
"""

import base64
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, PROBABILITY_COLUMNS
from hpacells.core.errors import InputError
from hpacells.core.palette import STYLES
from hpacells.images.mask_files import read_label_image
from hpacells.images.preview import PREVIEW_SIDE_PX, preview_shape
from hpacells.report.config import ReportSettings
from hpacells.report.marks import CellMark, mark_cells, rank_locations
from hpacells.report.outlines import svg_path, trace_outlines
from hpacells.report.run_tables import FieldRow

__all__ = [
    "fit_preview",
    "iterate_pictures",
    "name_flags",
    "outline_cells",
    "read_strip",
]

_N_TOP = 3
_TOLD = ("qc_cut_by_border",)
_LETTER_PX = 9.0  # about the width of a letter in a name on the picture
_LINE_PX = 9.0
_JPEG_QUALITIES = (70, 60, 50, 40, 25, 10)


def iterate_pictures(
    run_folder: Path,
    fields: Iterable[tuple[FieldRow, pa.Table]],
    settings: ReportSettings,
    *,
    workers: int = 1,
) -> Iterator[dict[str, Any]]:
    """Make the pictures of fields in their order, ``workers`` of them at the same time.

    Parameters
    ----------
    run_folder
        With ``masks/`` and ``previews/stains/``.
    fields
        Each with its cells.
    settings
        How outlines are drawn, how large a picture may be.
    workers
        Threads.

    Yields
    ------
    dict
        ``strip``: base64 JPEG, empty without a preview; ``cells``: as ``outline_cells`` gives them.

    Raises
    ------
    InputError
        As ``outline_cells``.
    ImageError
        When a mask cannot be read.
    """
    ahead: deque[Future[dict[str, Any]]] = deque()
    with ThreadPoolExecutor(workers, "picture") as pool:
        for row, cells in fields:
            ahead.append(pool.submit(_make_picture, run_folder, row, cells, settings))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _make_picture(
    run_folder: Path, row: FieldRow, cells: pa.Table, settings: ReportSettings
) -> dict[str, Any]:
    strip = read_strip(
        run_folder / "previews" / "stains" / f"{row.fov_id}.jpg", settings.max_image_bytes
    )
    ids = read_label_image(run_folder / "masks" / f"{row.fov_id}_cells.png")
    return {
        "strip": base64.b64encode(strip).decode("ascii"),
        "cells": outline_cells(ids, cells, fit_preview(row), settings),
    }


def fit_preview(row: FieldRow) -> tuple[int, int]:
    """Give (height, width) in pixels of the preview of a field, one stain of it."""
    return preview_shape(row.height, row.width, max_side=PREVIEW_SIDE_PX)


def outline_cells(
    ids: npt.NDArray[np.int32],
    cells: pa.Table,
    shape_px: tuple[int, int],
    settings: ReportSettings,
) -> list[dict[str, Any]]:
    """Give the cells of a field as ``hpacellsViewer.openView`` takes them.

    Parameters
    ----------
    ids
        ``(H, W)`` cell ids, 0 = background.
    cells
        Rows of ``CELL_SCHEMA`` of this field.
    shape_px
        (height, width) of the picture they are drawn on.
    settings
        Tolerance and inset of the outlines.

    Returns
    -------
    list of dict
        One per id of the mask: ``id``, ``d`` (the outline as an SVG path), ``x`` and ``y`` of the
        middle of its name, ``color``, ``nameColor``, ``lineWidth``, ``dashed``, ``name``,
        ``title``; lengths in pixels of the picture.

    Raises
    ------
    InputError
        When the mask holds a cell that the table lacks.
    """
    marks, titles = mark_cells(cells), _title_cells(cells)
    scale = (shape_px[1] / ids.shape[1], shape_px[0] / ids.shape[0])
    drawn = []
    outlines = trace_outlines(
        ids,
        scale=scale,
        tolerance_px=settings.outline_tolerance_px,
        inset_px=settings.outline_inset_px,
    )
    for outline in outlines:
        mark = marks.get(outline.cell_id)
        if mark is None:
            fov_id = cells["fov_id"][0] if len(cells) else "a field without cells"
            raise InputError(
                f"{fov_id}: cell {outline.cell_id} stands in its mask and not in "
                "cells.parquet. One of them was changed: make the field again with 'hpacells run'."
            )
        x, y = _place_name(outline.anchor, mark, shape_px)
        drawn.append(
            {
                "id": outline.cell_id,
                "d": svg_path(outline),
                "x": x,
                "y": y,
                "color": mark.color,
                "nameColor": mark.name_color,
                "lineWidth": mark.width,
                "dashed": mark.is_dashed,
                "name": mark.name,
                "title": titles[outline.cell_id],
            }
        )
    return drawn


def _place_name(
    anchor: tuple[float, float], mark: CellMark, shape_px: tuple[int, int]
) -> tuple[float, float]:
    """Move the middle of a name so that the name stays inside the picture, where it can."""
    halves = (len(mark.name) * _LETTER_PX / 2, _LINE_PX)
    x, y = (
        round(min(max(at, half), max(side - half, side / 2)), 1)
        for at, half, side in zip(anchor, halves, shape_px[::-1], strict=True)
    )
    return x, y


def _title_cells(cells: pa.Table) -> dict[int, str]:
    """Say each cell in words: what a screen reader hears of its outline."""
    titles = {}
    for row in cells.to_pylist():
        top = rank_locations([row[name] for name in PROBABILITY_COLUMNS], 2.0, _N_TOP)
        scores = ", ".join(f"{STYLES[i].location.title} {score:.2f}" for i, score in top)
        notes = [row["status"], row["reason"], name_flags(row)]
        titles[row["cell_id"]] = (
            f"Cell {row['cell_id']}, {', '.join(filter(None, notes))}: {scores}"
        )
    return titles


def name_flags(row: dict[str, Any]) -> str:
    """Name a cell's quality flags; that the frame cuts it is said by its status and its outline."""
    flags = (name for name in CELL_QUALITY_COLUMNS if row.get(name) and name not in _TOLD)
    return ", ".join(name.removeprefix("qc_").replace("_", " ") for name in flags)


def read_strip(path: Path, max_bytes: int) -> bytes:
    """Read a JPEG preview for embedding.

    Parameters
    ----------
    path
        The JPEG; a missing or unreadable one gives no picture.
    max_bytes
        A larger file is compressed again, at the best quality that fits (or the lowest tried).

    Returns
    -------
    bytes
        A JPEG; empty without a picture.
    """
    if not path.is_file():
        return b""
    content = path.read_bytes()
    if len(content) <= max_bytes:
        try:
            with Image.open(BytesIO(content)):  # reads no more than the header
                return content
        except UnidentifiedImageError:
            return b""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return b""
    for quality in _JPEG_QUALITIES:
        content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= max_bytes:
            break
    return content
