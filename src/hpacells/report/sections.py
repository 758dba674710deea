"""One pictured field as the page shows it: pictures, outlines, rows of cells.

A section is made when the page is written down to it, or shortly before, and forgotten after, so
few masks and previews are in memory at a time.
"""

import base64
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
from hpacells.images.mask_files import read_label_image
from hpacells.report.config import ReportSettings
from hpacells.report.marks import CellMark, mark_cells, rank_locations
from hpacells.report.outlines import svg_path, trace_outlines
from hpacells.report.overview import RunOverview
from hpacells.report.run_tables import EMPTY_CELLS, FieldRow, Variation, iterate_cells

__all__ = ["CellRow", "FieldSection", "OutlineRow", "iterate_sections", "read_preview"]

_N_TOP = 3
_TOLD = ("qc_cut_by_border",)
_LETTER_PX = 11.0  # about the width of a letter in a name on the picture
_JPEG_QUALITIES = (88, 80, 70, 55, 40, 25, 10)


@dataclass(frozen=True)
class CellRow:
    """One cell: its numbers, and its locations as (class id, score) by falling score."""

    cell_id: int
    status: str
    reason: str
    flags: str
    area_um2: float
    nucleus_area_um2: float
    doubt: float
    top: list[tuple[int, float]]
    listed: list[tuple[int, float]]
    mark: CellMark


@dataclass(frozen=True)
class OutlineRow:
    """One outline: the ``d`` of its SVG path and where its name goes, in preview pixels."""

    cell: CellRow
    path: str
    x: float
    y: float


@dataclass(frozen=True)
class FieldSection:
    """A field ready for the template; ``composite`` and ``protein`` are base64 JPEGs or empty."""

    anchor: str
    row: FieldRow
    variation: Variation | None
    composite: str
    protein: str
    width_px: int
    height_px: int
    outlines: list[OutlineRow]
    cells: list[CellRow]
    image_locations: list[tuple[int, float]]

    @property
    def data(self) -> list[list[Any]]:
        """What the page's script shows of each cell, one short list a cell."""
        return [
            [
                cell.cell_id,
                cell.status,
                "; ".join(filter(None, (cell.reason, cell.flags))),
                round(cell.area_um2, 1),
                round(cell.nucleus_area_um2, 1),
                round(cell.doubt, 3),
                [[location, round(score, 3)] for location, score in cell.top],
            ]
            for cell in self.cells
        ]


def iterate_sections(
    run_folder: Path, overview: RunOverview, settings: ReportSettings, *, workers: int = 1
) -> Iterator[FieldSection]:
    """Make the sections of the pictured fields, by fov_id, ``workers`` of them at the same time.

    Raises
    ------
    InputError
        When a mask holds a cell that the cells table lacks, or ``cells.parquet`` is not sorted.
    """
    groups = iterate_cells(run_folder)
    group = next(groups, None)
    make = partial(_make_section, run_folder, overview=overview, settings=settings)
    ahead: deque[Future[FieldSection]] = deque()
    with ThreadPoolExecutor(workers, "section") as pool:
        for index, row in enumerate(overview.pictured):
            while group is not None and group[0] < row.fov_id:
                group = next(groups, None)
            cells = group[1] if group is not None and group[0] == row.fov_id else EMPTY_CELLS
            ahead.append(pool.submit(make, row, cells, index=index))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _make_section(
    run_folder: Path,
    row: FieldRow,
    table: pa.Table,
    *,
    index: int,
    overview: RunOverview,
    settings: ReportSettings,
) -> FieldSection:
    previews = run_folder / "previews"
    composite, shape = read_preview(
        previews / "composite" / f"{row.fov_id}.jpg", settings.max_image_bytes
    )
    protein, _ = read_preview(previews / "protein" / f"{row.fov_id}.jpg", settings.max_image_bytes)
    height_px, width_px = shape or _fit(row.height, row.width)
    cells = _list_cells(table, settings.min_score)
    ids = read_label_image(run_folder / "masks" / f"{row.fov_id}_cells.png")
    return FieldSection(
        anchor=f"field-{index}",
        row=row,
        variation=overview.variation.get(row.fov_id),
        composite=composite,
        protein=protein,
        width_px=width_px,
        height_px=height_px,
        outlines=_outline_cells(row.fov_id, ids, cells, (height_px, width_px), settings),
        cells=cells,
        image_locations=rank_locations(list(row.image_scores or ()), settings.min_score, 1),
    )


def _fit(height: int, width: int, max_side: int = 768) -> tuple[int, int]:
    """Give the size of a preview that is not there."""
    scale = min(1.0, max_side / max(height, width, 1))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _list_cells(table: pa.Table, min_score: float) -> list[CellRow]:
    if not table.num_rows:
        return []
    marks = mark_cells(table)
    rows = []
    for row in table.to_pylist():
        scores = [row[name] for name in PROBABILITY_COLUMNS]
        rows.append(
            CellRow(
                cell_id=row["cell_id"],
                status=row["status"],
                reason=row["reason"] or "",
                flags=_name_flags(row),
                area_um2=row["area_um2"],
                nucleus_area_um2=row["nucleus_area_um2"],
                doubt=row["doubt"],
                top=rank_locations(scores, 2.0, _N_TOP),
                listed=rank_locations(scores, min_score, 1),
                mark=marks[row["cell_id"]],
            )
        )
    return rows


def _name_flags(row: dict[str, Any]) -> str:
    """Name a cell's quality flags; that the frame cuts it is said by its status and its outline."""
    flags = (name for name in CELL_QUALITY_COLUMNS if row.get(name) and name not in _TOLD)
    return ", ".join(name.removeprefix("qc_").replace("_", " ") for name in flags)


def _outline_cells(
    fov_id: str,
    ids: npt.NDArray[np.int32],
    cells: list[CellRow],
    shape_px: tuple[int, int],
    settings: ReportSettings,
) -> list[OutlineRow]:
    scale = (shape_px[1] / ids.shape[1], shape_px[0] / ids.shape[0])
    by_id = {cell.cell_id: cell for cell in cells}
    rows = []
    outlines = trace_outlines(
        ids,
        scale=scale,
        tolerance_px=settings.outline_tolerance_px,
        inset_px=settings.outline_inset_px,
    )
    for outline in outlines:
        cell = by_id.get(outline.cell_id)
        if cell is None:
            raise InputError(
                f"field {fov_id}: cell {outline.cell_id} stands in its mask and not in "
                "cells.parquet. One of them was changed: make the field again with 'hpacells run'."
            )
        x, y = (
            _keep_inside(at, half, side)
            for at, half, side in zip(
                outline.anchor,
                (len(cell.mark.name) * _LETTER_PX / 2, _LETTER_PX),
                shape_px[::-1],
                strict=True,
            )
        )
        rows.append(OutlineRow(cell, svg_path(outline), x, y))
    return rows


def _keep_inside(at: float, half: float, side: int) -> float:
    """Move the middle of a name so that the name stays inside the picture, where it can."""
    return round(min(max(at, half), max(side - half, side / 2)), 1)


def read_preview(path: Path, max_bytes: int) -> tuple[str, tuple[int, int] | None]:
    """Read a JPEG preview for embedding.

    Parameters
    ----------
    path
        The JPEG; a missing or unreadable one gives no picture.
    max_bytes
        A larger file is compressed again, at the best quality that fits (or the lowest tried).

    Returns
    -------
    tuple
        Base64 text (empty without a picture) and (height, width) in pixels, or None.
    """
    if not path.is_file():
        return "", None
    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content)) as picture:  # reads no more than the header
            width, height = picture.size
    except UnidentifiedImageError:
        return "", None
    if len(content) > max_bytes:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            return "", None
        for quality in _JPEG_QUALITIES:
            content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            if len(content) <= max_bytes:
                break
    return base64.b64encode(content).decode("ascii"), (height, width)
