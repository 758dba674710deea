"""The picture of one field as the viewer shows it: the stains, and an outline for each cell.

What leaves is what ``assets/viewer.js`` takes. A field's picture is made when the page is written
down to it, or shortly before, and forgotten after. Outlines are those that the run keeps; where it
has none of the mask as it is (an older run, a mask exchanged since), they are drawn anew.
"""

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, PROBABILITY_COLUMNS
from hpacells.core.errors import InputError
from hpacells.core.palette import STYLES
from hpacells.core.pools import in_order
from hpacells.images.decode import read_bytes
from hpacells.images.mask_files import read_label_image
from hpacells.images.outlines import CellPath, PathsOf, draw_paths, read_paths
from hpacells.images.preview import PREVIEW_SIDE_PX, preview_shape
from hpacells.predict.run_folder import MASKS, PREVIEWS, STAINS, outlines_file
from hpacells.report.config import ReportSettings
from hpacells.report.marks import CellMark, mark_cells
from hpacells.report.run_tables import FieldRow

__all__ = [
    "fit_preview",
    "iterate_pictures",
    "list_notes",
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
        With ``masks/``, ``previews/stains/`` and, where made, ``previews/outlines/``.
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

    def make(field: tuple[FieldRow, pa.Table]) -> dict[str, Any]:
        return _make_picture(run_folder, *field, settings)

    return in_order(make, fields, threads=workers, name="picture")


def _make_picture(
    run_folder: Path, row: FieldRow, cells: pa.Table, settings: ReportSettings
) -> dict[str, Any]:
    strip = read_strip(
        run_folder / PREVIEWS / STAINS / f"{row.fov_id}.jpg", settings.max_image_bytes
    )
    return {
        "strip": base64.b64encode(strip).decode("ascii"),
        "cells": outline_cells(_find_paths(run_folder, row, settings), cells, fit_preview(row)),
    }


def _find_paths(run_folder: Path, row: FieldRow, settings: ReportSettings) -> list[CellPath]:
    """Read the outlines that the run keeps; draw them where it has none of this mask."""
    mask, shape = run_folder / MASKS / f"{row.fov_id}_cells.png", fit_preview(row)
    how = (settings.outline_tolerance_px, settings.outline_inset_px)
    of = PathsOf(zlib.crc32(read_bytes(mask)), *shape, *how)
    kept = read_paths(run_folder / outlines_file(row.fov_id), of)
    if kept is not None:
        return kept
    return draw_paths(read_label_image(mask), shape, tolerance_px=how[0], inset_px=how[1])


def fit_preview(row: FieldRow) -> tuple[int, int]:
    """Give (height, width) in pixels of the preview of a field, one stain of it."""
    return preview_shape(row.height, row.width, max_side=PREVIEW_SIDE_PX)


def outline_cells(
    paths: Sequence[CellPath], cells: pa.Table, shape_px: tuple[int, int]
) -> list[dict[str, Any]]:
    """Give the cells of a field as ``hpacellsViewer.openView`` takes them.

    Parameters
    ----------
    paths
        Their outlines on the picture.
    cells
        Rows of ``CELL_SCHEMA`` of this field.
    shape_px
        (height, width) of the picture they are drawn on.

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
    drawn = []
    for path in paths:
        mark = marks.get(path.cell_id)
        if mark is None:
            fov_id = cells["fov_id"][0] if len(cells) else "a field without cells"
            raise InputError(
                f"{fov_id}: cell {path.cell_id} stands in its mask and not in "
                "cells.parquet. One of them was changed: make the field again with 'hpacells run'."
            )
        x, y = _place_name((path.x, path.y), mark, shape_px)
        drawn.append(
            {
                "id": path.cell_id,
                "d": path.d,
                "x": x,
                "y": y,
                "color": mark.color,
                "nameColor": mark.name_color,
                "lineWidth": mark.width,
                "dashed": mark.is_dashed,
                "name": mark.name,
                "title": titles[path.cell_id],
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
    probabilities = np.column_stack([cells[name].to_numpy() for name in PROBABILITY_COLUMNS])
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :_N_TOP].tolist()
    rows = zip(list_notes(cells), ranked, probabilities.tolist(), strict=True)
    for row, top, values in rows:
        scores = ", ".join(f"{STYLES[i].location.title} {values[i]:.2f}" for i in top)
        notes = [row["status"], row["reason"], name_flags(row)]
        titles[row["cell_id"]] = (
            f"Cell {row['cell_id']}, {', '.join(filter(None, notes))}: {scores}"
        )
    return titles


def list_notes(cells: pa.Table) -> list[dict[str, Any]]:
    """Give of every cell what is said of it in words: id, status, reason, quality flags."""
    told = ("cell_id", "status", "reason", *CELL_QUALITY_COLUMNS)
    return cells.select([name for name in told if name in cells.column_names]).to_pylist()


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
