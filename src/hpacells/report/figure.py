"""Figures of a field: outlines and location names drawn into an RGB image, a scale bar.

What enters are arrays and marks, what leaves is an RGB array; nothing here reads a run folder.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hpacells.core.errors import InputError
from hpacells.core.palette import hex_to_rgb
from hpacells.images.outlines import trace_outlines
from hpacells.report.marks import CellMark

__all__ = ["choose_bar_um", "draw_overlay", "draw_scale_bar"]

RGBImage = npt.NDArray[np.uint8]

_DASH_PX = 5
_INSET_PX = 1.5
_SUBPIXEL_BITS = 4


def draw_overlay(
    rgb: RGBImage,
    cells: npt.NDArray[np.integer],
    marks: Mapping[int, CellMark],
    *,
    font_px: int = 13,
) -> RGBImage:
    """Draw each cell's outline and the short name of its top location.

    Parameters
    ----------
    rgb
        ``(h, w, 3)`` uint8; may be smaller than the mask, of the same proportions.
    cells
        ``(H, W)`` ids, 0 = background.
    marks
        Cell id → how to draw it; see ``marks.mark_cells``.
    font_px
        Height of the names; 0 draws none.

    Returns
    -------
    ndarray
        ``(h, w, 3)`` uint8, a new array.

    Raises
    ------
    InputError
        When image and mask differ in proportions, or a cell of the mask has no mark.
    """
    (h, w), (rows, columns) = rgb.shape[:2], cells.shape
    if abs(w / columns - h / rows) > 1.5 / min(rows, columns):
        raise InputError(
            f"expected an image and a mask of the same proportions (height x width), got "
            f"{h} x {w} and {rows} x {columns}. Give the image and the mask of one field."
        )
    drawn = np.ascontiguousarray(rgb).copy()
    names: list[tuple[tuple[float, float], CellMark]] = []
    for outline in trace_outlines(cells, scale=(w / columns, h / rows), inset_px=_INSET_PX):
        mark = marks.get(outline.cell_id)
        if mark is None:
            raise InputError(
                f"cell {outline.cell_id} of the mask has no mark: mask and cells table are not "
                "of the same field"
            )
        for ring in outline.rings:
            _draw_ring(drawn, ring, mark)
        names.append((outline.anchor, mark))
    return _draw_names(drawn, names, font_px) if font_px > 0 else drawn


def _draw_ring(rgb: RGBImage, ring: npt.NDArray[np.float64], mark: CellMark) -> None:
    corners = np.vstack([ring, ring[:1]])
    if mark.is_dashed:
        corners = _resample(corners, _DASH_PX)
    # OpenCV's fixed point has pixel centres at whole numbers, the outline has edges there.
    points = np.round((corners - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    segments = np.stack([points[:-1], points[1:]], axis=1)[:: 2 if mark.is_dashed else 1]
    width = max(1, round(mark.width))
    for color, thickness in (((0, 0, 0), width + 2), (hex_to_rgb(mark.color), width)):
        cv2.polylines(
            rgb,
            list(segments),
            isClosed=False,
            color=color,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=_SUBPIXEL_BITS,
        )


def _resample(corners: npt.NDArray[np.float64], step_px: float) -> npt.NDArray[np.float64]:
    """Walk along a line and set a point every so many pixels."""
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    at = np.arange(0.0, walked[-1], step_px)
    return np.stack([np.interp(at, walked, corners[:, axis]) for axis in (0, 1)], axis=1)


def _draw_names(
    rgb: RGBImage, names: list[tuple[tuple[float, float], CellMark]], font_px: int
) -> RGBImage:
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(font_px)
    for (x, y), mark in names:
        half = draw.textlength(mark.name, font=font) / 2 + 2
        inside = (
            min(max(x, half), max(rgb.shape[1] - half, half)),
            min(max(y, font_px), rgb.shape[0] - font_px),
        )
        draw.text(
            inside,
            mark.name,
            hex_to_rgb(mark.name_color),
            font,
            "mm",
            stroke_width=2,
            stroke_fill="black",
        )
    return np.asarray(image)


def choose_bar_um(width_um: float) -> float:
    """Choose a scale bar: the longest 1, 2 or 5 x 10ⁿ µm up to a quarter of the width.

    Examples
    --------
    >>> choose_bar_um(163.84)
    20.0
    """
    limit = width_um / 4
    decade = 10.0 ** np.floor(np.log10(limit))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= limit))


def draw_scale_bar(rgb: RGBImage, pixel_size_um: float, *, font_px: int = 15) -> RGBImage:
    """Draw a white scale bar with its length in µm into the lower right corner.

    Parameters
    ----------
    rgb
        ``(h, w, 3)`` uint8.
    pixel_size_um
        µm per pixel of ``rgb``, not of the field it was made from.
    font_px
        Height of the text.

    Returns
    -------
    ndarray
        ``(h, w, 3)`` uint8, a new array.

    Raises
    ------
    InputError
        When the pixel size is not a positive number.
    """
    if not pixel_size_um > 0:
        raise InputError(f"scale bar: expected a pixel size above 0 µm, got {pixel_size_um}")
    height, width = rgb.shape[:2]
    length_um = choose_bar_um(width * pixel_size_um)
    length_px = round(length_um / pixel_size_um)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    draw = ImageDraw.Draw(image)
    right, bottom = width - 14, height - 12
    bar = (right - length_px, bottom - 5, right, bottom)
    draw.rectangle((bar[0] - 1, bar[1] - 1, bar[2], bar[3]), fill="black")
    draw.rectangle((bar[0], bar[1], bar[2] - 1, bar[3] - 1), fill="white")
    _draw_length(
        draw, f"{length_um:g} ", ((bar[0] + bar[2]) / 2, bar[1] - 4 - font_px // 4), font_px
    )
    return np.asarray(image)


def _draw_length(
    draw: ImageDraw.ImageDraw, number: str, middle_bottom: tuple[float, float], font_px: int
) -> None:
    """Write a length in µm; Pillow's own font lacks the µ, so a u gets the stem."""
    font = ImageFont.load_default(font_px)
    left = round(middle_bottom[0] - draw.textlength(f"{number}um", font=font) / 2)
    u_box = draw.textbbox((0, 0), "u", font, "ls")
    u_left = left + draw.textbbox((0, 0), f"{number}u", font, "ls")[2] - (u_box[2] - u_box[0])
    top, foot = middle_bottom[1] - 0.45 * font_px, middle_bottom[1] + font_px / 4
    stem = (u_left, top, u_left + font_px / 12, foot)
    draw.rectangle((stem[0] - 2, stem[1], stem[2] + 2, stem[3] + 2), fill="black")
    draw.text(
        (left, middle_bottom[1]),
        f"{number}um",
        "white",
        font,
        "ls",
        stroke_width=2,
        stroke_fill="black",
    )
    draw.rectangle(stem, fill="white")
