"""One cell as a figure for a paper: its crop in every stain, its probabilities as bars.

What enters are the field's pictures at their full size, its mask and its rows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, PROBABILITY_COLUMNS, CellStatus
from hpacells.core.errors import InputError
from hpacells.core.palette import REJECTED_COLOR, STYLES
from hpacells.images.outlines import trace_outlines
from hpacells.report.config import FigureSettings
from hpacells.report.field_figure import STAIN_NAMES, name_field, place_pictures
from hpacells.report.figure import choose_bar_um
from hpacells.report.figure_sheet import FONT, Sheet, add_outline, add_scale_bar, add_text
from hpacells.report.marks import CellMark, mark_cells
from hpacells.report.stain_pictures import StainPictures

__all__ = ["describe_cell", "draw_cell", "find_cell"]

_HEAD_MM = 9.0
_PICTURES_SHARE, _ONE_PICTURE_SHARE = 0.62, 0.4
_BESIDE_FROM_MM = 120.0
"""In a narrower figure the bars stand below the pictures."""
_NAMES_MM, _VALUE_MM, _LEAST_BARS_MM = 28.0, 6.0, 46.0
_MARGIN = 1.25
_STATUS = {CellStatus.OK: "whole cell", CellStatus.BORDER: "cut by the frame"}
_FLAG_NAMES = {name: name.removeprefix("qc_").replace("_", " ") for name in CELL_QUALITY_COLUMNS}
_NEIGHBOUR = CellMark(CellStatus.BORDER, REJECTED_COLOR, "")


def draw_cell(
    pictures: StainPictures,
    cells: npt.NDArray[np.integer],
    table: pa.Table,
    field: Mapping[str, Any],
    cell_id: int,
    settings: FigureSettings | None = None,
) -> Figure:
    """Draw a cell.

    Parameters
    ----------
    pictures
        Of the whole field; the sharper the better.
    cells, table, field, settings
        As of ``field_figure.draw_field``.
    cell_id
        The cell.

    Returns
    -------
    Figure
        Rejected cells are drawn too, with the reason.

    Raises
    ------
    InputError
        When the field has no such cell.
    """
    settings = settings or FigureSettings()
    row = find_cell(table, cell_id, str(field["fov_id"]))
    r0, c0, r1, c1 = _window(row, cells.shape)
    scale = pictures.shape[1] / cells.shape[1]
    shown = _cut(pictures, [round(edge * scale) for edge in (r0, c0, r1, c1)])
    height, width = shown.shape

    beside = settings.width_mm >= _BESIDE_FROM_MM
    share = _PICTURES_SHARE if beside and shown.stains else _ONE_PICTURE_SHARE if beside else 1.0
    places = place_pictures(len(shown.stains), height / width, share * settings.width_mm)
    tall = places[0][1] * height / width
    right = max(left + side for left, side, _ in places)
    bars_left, bars_top = (right + 2, 0.0) if beside else (0.0, tall + 5)
    bars_tall = max(tall, _LEAST_BARS_MM) if beside else _LEAST_BARS_MM
    sheet = Sheet(settings.width_mm, _HEAD_MM + bars_top + max(bars_tall, tall), settings.dpi)
    sheet.write(name_field(field, cell_id), 0.3, 0.4, weight="bold")
    sheet.write(describe_cell(row), 0.3, 4.0)

    named = {"Composite": shown.composite}
    named |= {STAIN_NAMES[stain]: picture for stain, picture in shown.stains.items()}
    pixel_um = float(field["pixel_size_um"]) / scale
    for i, ((name, picture), (left, side, top)) in enumerate(
        zip(named.items(), places, strict=True)
    ):
        axes = sheet.add_picture(picture, left, _HEAD_MM + top, side)
        add_text(axes, 0.025 * width, 0.02 * width, name, va="top", weight="bold", size=6)
        if settings.outlines:
            _draw_outlines(axes, cells[r0:r1, c0:c1], table, cell_id, shape=shown.shape)
        add_scale_bar(axes, pixel_um, bar_um=choose_bar_um(width * pixel_um) if i else None)
    bars_width = settings.width_mm - bars_left - _NAMES_MM - _VALUE_MM
    axes = sheet.add_axes(bars_left + _NAMES_MM, _HEAD_MM + bars_top, bars_width, bars_tall)
    sheet.write("Probability", bars_left + _NAMES_MM, _HEAD_MM + bars_top - 3, size=6)
    _draw_bars(axes, [float(row[name]) for name in PROBABILITY_COLUMNS])
    return sheet.figure


def describe_cell(row: Mapping[str, Any]) -> str:
    """Say in one line what is known of a cell besides its scores."""
    status = _STATUS.get(row["status"]) or f"rejected: {row['reason']}"
    nucleus = f"nucleus {row['nucleus_area_um2']:.0f} µm²" if row["nucleus_area_um2"] else ""
    flags = ", ".join(text for name, text in _FLAG_NAMES.items() if row.get(name))
    words = [status, f"{row['area_um2']:.0f} µm²", nucleus, f"doubt {row['doubt']:.2f}", flags]
    return " · ".join(word for word in words if word)


def find_cell(table: pa.Table, cell_id: int, fov_id: str) -> dict[str, Any]:
    """Give a cell's row of a field's table.

    Raises
    ------
    InputError
        When the field has no such cell.
    """
    found = table.filter(pc.equal(table["cell_id"], cell_id)).to_pylist()
    if not found:
        ids = table["cell_id"].to_pylist()
        there = f"its ids are {min(ids)} to {max(ids)}" if ids else "it has no cells"
        raise InputError(f"field {fov_id}: expected one of its cells, got {cell_id}; {there}.")
    row: dict[str, Any] = found[0]
    return row


def _window(row: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Give the square around a cell, with a margin, moved into the frame."""
    side = round(_MARGIN * max(row["r1"] - row["r0"], row["c1"] - row["c0"]))
    side = min(max(side, 8), *shape)
    top, left = (
        min(max((row[low] + row[high] - side) // 2, 0), whole - side)
        for (low, high), whole in zip((("r0", "r1"), ("c0", "c1")), shape, strict=True)
    )
    return top, left, top + side, left + side


def _cut(pictures: StainPictures, box: list[int]) -> StainPictures:
    part = (slice(box[0], box[2]), slice(box[1], box[3]))
    return StainPictures(
        pictures.composite[part], {stain: plane[part] for stain, plane in pictures.stains.items()}
    )


def _draw_outlines(
    axes: Axes,
    cells: npt.NDArray[np.integer],
    table: pa.Table,
    cell_id: int,
    *,
    shape: tuple[int, int],
) -> None:
    """Draw the cell in its colour, what is seen of its neighbours in thin grey."""
    marks = mark_cells(table)
    scale = (shape[1] / cells.shape[1], shape[0] / cells.shape[0])
    padded = np.pad(cells, 1, mode="edge")  # no line where the window cuts a cell
    found = trace_outlines(padded, scale=scale, tolerance_px=0.3)
    for outline in sorted(found, key=lambda outline: outline.cell_id == cell_id):
        moved = replace(outline, rings=tuple(ring - scale for ring in outline.rings))
        own = outline.cell_id == cell_id
        mark = marks[outline.cell_id] if own else _NEIGHBOUR
        add_outline(axes, moved, mark, width_pt=1.2 if own else 0.6)


def _draw_bars(axes: Axes, scores: list[float]) -> None:
    """Draw one bar per location, in the order of the vocabulary."""
    places = range(len(STYLES))
    axes.barh(places, scores, 0.72, color=[style.color for style in STYLES], ec="black", lw=0.4)
    for place, score in zip(places, scores, strict=True):
        bold = "bold" if score == max(scores) else "normal"
        look: dict[str, Any] = {"size": 5.5, "va": "center", "family": FONT, "weight": bold}
        axes.text(-0.03, place, STYLES[place].location.title, ha="right", **look)
        axes.text(score + 0.03, place, f"{score:.2f}", **look)
    axes.set(xlim=(0, 1), ylim=(len(STYLES) - 0.4, -0.6), yticks=[], xticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_linewidth(0.6)
