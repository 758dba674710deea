"""A field as a figure for a paper: composite with outlined cells, each stain, scale bar, legend.

What enters are pictures, a mask and the field's rows; nothing here reads a run folder.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hpacells.core.cell_table import CellStatus
from hpacells.core.channels import Channel
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.palette import REJECTED_COLOR, STYLES
from hpacells.images.outlines import trace_outlines
from hpacells.report.config import FigureSettings
from hpacells.report.figure import choose_bar_um
from hpacells.report.figure_sheet import FONT, Sheet, add_outline, add_scale_bar, add_text
from hpacells.report.marks import CellMark, mark_cells
from hpacells.report.stain_pictures import StainPictures

__all__ = ["GAP_MM", "STAIN_NAMES", "draw_field", "name_field", "place_pictures"]

STAIN_NAMES = {
    Channel.MICROTUBULES: "Microtubules",
    Channel.PROTEIN: "Protein",
    Channel.NUCLEUS: "Nucleus",
    Channel.ER: "ER",
}
GAP_MM = 1.0
_HEAD_MM, _LEGEND_ROW_MM, _LEGEND_COLUMN_MM = 5.0, 3.6, 44.0
_EDGE_SHARE = 0.06
"""Names so near to the side of the picture are written inwards."""
_MOST_RATIO = 1.6
"""A field higher than so many times its width has its pictures made narrower."""


def draw_field(
    pictures: StainPictures,
    cells: npt.NDArray[np.integer],
    table: pa.Table,
    field: Mapping[str, Any],
    settings: FigureSettings | None = None,
) -> Figure:
    """Draw a field.

    Parameters
    ----------
    pictures
        The composite, and the stains to show beside it.
    cells
        ``(H, W)`` ids, 0 = background; the pictures may be smaller, of the same proportions.
    table
        The field's rows of ``cells.parquet``.
    field
        Its row of ``fields.parquet``.
    settings
        None: the defaults.

    Returns
    -------
    Figure
        To be saved by ``figure_sheet.save_figure``.
    """
    settings = settings or FigureSettings()
    marks = mark_cells(table)
    legend = list(_legend(marks)) if settings.outlines else []
    columns = max(1, int(settings.width_mm // _LEGEND_COLUMN_MM))
    rows = math.ceil(len(legend) / columns)
    height, width = pictures.shape
    places = place_pictures(len(pictures.stains), height / width, settings.width_mm)
    tall = places[0][1] * height / width
    sheet = Sheet(
        settings.width_mm, _HEAD_MM + tall + rows * _LEGEND_ROW_MM + 2 * bool(rows), settings.dpi
    )
    sheet.write(name_field(field), 0.3, 0.4)
    pixel_um = float(field["pixel_size_um"]) * cells.shape[1] / width
    shown = {"Composite": pictures.composite}
    shown |= {STAIN_NAMES[stain]: picture for stain, picture in pictures.stains.items()}
    for (name, picture), (left, side, top) in zip(shown.items(), places, strict=True):
        axes = sheet.add_picture(picture, left, _HEAD_MM + top, side)
        add_text(axes, 0.025 * width, 0.02 * width, name, va="top", weight="bold")
        first = picture is pictures.composite
        if first and settings.outlines:
            _draw_cells(axes, cells, marks, pictures.shape, settings)
        add_scale_bar(axes, pixel_um, bar_um=None if first else choose_bar_um(width * pixel_um))
    if legend:
        _draw_legend(sheet, legend, columns, _HEAD_MM + tall + 2)
    return sheet.figure


def place_pictures(
    n_stains: int, ratio: float, width_mm: float
) -> list[tuple[float, float, float]]:
    """Place the composite at the left and the stains beside it, two below each other.

    Parameters
    ----------
    n_stains
        0 to 4.
    ratio
        Height of a picture by its width.
    width_mm
        To be filled, but by pictures that would become too high.

    Returns
    -------
    list of tuple
        (left, width, top) of each picture in mm, the composite's first; together they are as high
        as the composite.
    """
    columns = math.ceil(n_stains / 2)
    gap = GAP_MM
    if n_stains <= 1:
        side = (width_mm - n_stains * gap) / (1 + n_stains)
        side = min(side, width_mm / (ratio * (1 + n_stains)) * _MOST_RATIO)
        return [(i * (side + gap), side, 0.0) for i in range(n_stains + 1)]
    # large + columns * (gap + small) = width, and 2 * small * ratio + gap = large * ratio
    large = (width_mm - columns * (gap - gap / ratio / 2)) / (1 + columns / 2)
    large = min(large, width_mm / (ratio * (1 + columns / 2)) * _MOST_RATIO)
    small = (large - gap / ratio) / 2
    places = [(0.0, large, 0.0)]
    for i in range(n_stains):
        left = large + gap + (i % columns) * (small + gap)
        places.append((left, small, (i // columns) * (small * ratio + gap)))
    return places


def name_field(field: Mapping[str, Any], cell_id: int | None = None) -> str:
    """Write a field's id, a cell's where one is meant, and what is known of it in one line."""
    named = [str(field["fov_id"])] + ([] if cell_id is None else [f"cell {cell_id}"])
    known = (field.get(name) for name in METADATA_COLUMNS[:3])
    return " · ".join([*named, *[str(value) for value in known if value]])


def _draw_cells(
    axes: Axes,
    cells: npt.NDArray[np.integer],
    marks: Mapping[int, CellMark],
    shape: tuple[int, int],
    settings: FigureSettings,
) -> None:
    scale = (shape[1] / cells.shape[1], shape[0] / cells.shape[0])
    inset = shape[1] / 500
    for outline in trace_outlines(cells, scale=scale, tolerance_px=0.4, inset_px=inset):
        mark = marks[outline.cell_id]
        add_outline(axes, outline, mark)
        if settings.names == "none" or mark.is_dashed:
            continue
        text = str(outline.cell_id)
        if settings.names == "full":
            text += f"\n{mark.name}"
        x, y = outline.anchor
        edge = _EDGE_SHARE * shape[1]
        across = "left" if x < edge else "right" if x > shape[1] - edge else "center"
        at = (min(max(x, 0.005 * shape[1]), 0.995 * shape[1]), y)
        look: dict[str, Any] = {"ha": across, "va": "center", "size": 5, "linespacing": 1.0}
        add_text(axes, *at, text, color=mark.name_color, **look)


def _legend(marks: Mapping[int, CellMark]) -> list[tuple[str, dict[str, Any]]]:
    """List what the outlines mean: each location with its cells, then the kinds of line."""
    shown = [mark for mark in marks.values() if mark.status is not CellStatus.REJECTED]
    counts = Counter(mark.name for mark in shown)
    lines: list[tuple[str, dict[str, Any]]] = [
        (f"{style.location.title} ({counts[style.short]})", {"color": style.color, "lw": 2})
        for style in STYLES
        if counts[style.short]
    ]
    statuses = Counter(mark.status for mark in marks.values())
    if n := statuses[CellStatus.BORDER]:
        lines.append((f"thin: cut by the frame ({n})", {"color": "#555555", "lw": 0.8}))
    if n := statuses[CellStatus.REJECTED]:
        look = {"color": REJECTED_COLOR, "lw": 1.0, "ls": (0, (3, 2))}
        lines.append((f"dashed: rejected ({n})", look))
    return lines


def _draw_legend(
    sheet: Sheet, legend: list[tuple[str, dict[str, Any]]], columns: int, top: float
) -> None:
    rows = math.ceil(len(legend) / columns)
    height = rows * _LEGEND_ROW_MM
    axes = sheet.add_axes(0, top, sheet.width_mm, height)
    axes.set(xlim=(0, sheet.width_mm), ylim=(rows, 0))
    axes.set_axis_off()
    for i, (text, look) in enumerate(legend):
        row, left = i // columns, i % columns * sheet.width_mm / columns
        rim = [{**look, "color": "black", "lw": look["lw"] + 0.8}] if look["lw"] > 1 else []
        for drawn in [*rim, look]:
            axes.add_line(Line2D([left + 0.5, left + 5], [row + 0.5] * 2, **drawn))
        axes.text(left + 6.5, row + 0.5, text, size=6.5, va="center", family=FONT)
