"""A matplotlib figure laid out in millimetres, with pictures, outlines and scale bars on it.

No window and no global state: figures are made without pyplot and drawn by Agg, or by matplotlib's
own PDF and SVG writers. The same figure gives the same bytes.
"""

from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Line
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath

from hpacells import __version__
from hpacells.core.errors import OutputError
from hpacells.core.storage import atomic_path
from hpacells.images.outlines import Outline
from hpacells.report.figure import choose_bar_um
from hpacells.report.marks import CellMark

__all__ = [
    "FONT",
    "SUFFIXES",
    "Sheet",
    "add_outline",
    "add_scale_bar",
    "add_text",
    "check_figure_name",
    "printable",
    "save_figure",
]

SUFFIXES = (".png", ".pdf", ".svg", ".tif", ".tiff")
FONT = "DejaVu Sans"
"""Comes with matplotlib, so a figure looks the same everywhere."""

_MM_PER_INCH, _POINTS_PER_INCH = 25.4, 72.0
_SAVING: Any = {"pdf.fonttype": 42, "svg.hashsalt": "hpacells", "svg.fonttype": "path"}
_UNDATED: dict[str, dict[str, Any]] = {
    ".png": {"Software": f"hpacells {__version__}"},
    ".pdf": {"CreationDate": None, "Creator": f"hpacells {__version__}"},
    ".svg": {"Date": None, "Creator": f"hpacells {__version__}"},
}


class Sheet:
    """An empty figure; places on it are given in mm from its upper left corner.

    Parameters
    ----------
    width_mm, height_mm
        Of the whole figure.
    dpi
        Pixels per inch.
    """

    def __init__(self, width_mm: float, height_mm: float, dpi: int) -> None:
        self.width_mm, self.height_mm = width_mm, height_mm
        size = (width_mm / _MM_PER_INCH, height_mm / _MM_PER_INCH)
        self.figure = Figure(figsize=size, dpi=dpi, facecolor="white")

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes of so many mm."""
        bottom = self.height_mm - top - height
        w, h = self.width_mm, self.height_mm
        return self.figure.add_axes((left / w, bottom / h, width / w, height / h))

    def add_picture(
        self, picture: npt.NDArray[np.uint8], left: float, top: float, width: float
    ) -> Axes:
        """Add a picture ``(h, w)`` or ``(h, w, 3)`` in pixels of its own, without ticks."""
        height, columns = picture.shape[:2]
        axes = self.add_axes(left, top, width, width * height / columns)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=(0, columns, height, 0))
        axes.set_axis_off()
        return axes

    def write(self, text: str, left: float, top: float, *, size: float = 7, **look: Any) -> None:
        """Write one black line, its upper left corner at a place; what has no room is cut off."""
        text = _cut_to(printable(text), self.width_mm - left, size, look.get("weight", "normal"))
        at = (left / self.width_mm, 1 - top / self.height_mm)
        look = {"size": size, "va": "top", "family": FONT, **look}
        self.figure.text(*at, text, parse_math=False, **look)


def add_text(
    axes: Axes, x: float, y: float, text: str, *, color: str = "white", **look: Any
) -> None:
    """Write onto a picture, with a dark rim."""
    look = {"size": 7, "family": FONT, "clip_on": True, **look}
    rim = [withStroke(linewidth=1.4, foreground="black")]
    axes.text(x, y, printable(text), color=color, path_effects=rim, parse_math=False, **look)


def add_outline(axes: Axes, outline: Outline, mark: CellMark, *, width_pt: float = 0.9) -> None:
    """Draw a cell's outline: thinner where the frame cuts the cell, dashed where it is rejected."""
    rings = [np.vstack([ring, ring[:1]]) for ring in outline.rings]
    path = Line.make_compound_path(*[Line(ring, closed=True) for ring in rings])
    thickness = width_pt * mark.width / 2
    look = {"fill": False, "joinstyle": "round", "capstyle": "butt"}
    if not mark.is_dashed:
        axes.add_patch(PathPatch(path, color="black", lw=thickness + 0.7, alpha=0.6, **look))
    dashes = (0, (3, 2)) if mark.is_dashed else "-"
    axes.add_patch(PathPatch(path, color=mark.color, lw=thickness, ls=dashes, **look))


def add_scale_bar(axes: Axes, pixel_size_um: float, *, bar_um: float | None = None) -> None:
    """Draw a scale bar into the lower right corner of a picture.

    Parameters
    ----------
    axes
        Of ``Sheet.add_picture``, or showing a part of it.
    pixel_size_um
        µm per pixel of the picture.
    bar_um
        Its length, drawn without its number; None: chosen by the width, and written above it.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = bar_um or choose_bar_um((right - left) * pixel_size_um)
    edge, thick = 0.035 * (right - left), 0.012 * (bottom - top)
    x, y = right - edge - length / pixel_size_um, bottom - edge - thick
    axes.add_patch(
        Rectangle((x, y), length / pixel_size_um, thick, fc="white", ec="black", lw=0.4, zorder=4)
    )
    if bar_um is None:
        middle = x + length / pixel_size_um / 2
        add_text(axes, middle, y - thick, f"{length:g} µm", ha="center", va="bottom", zorder=5)


def check_figure_name(path: Path) -> Path:
    """Give a path back if a figure can be written there.

    Raises
    ------
    OutputError
        When its suffix is none of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"{path}: expected a name that ends with {', '.join(SUFFIXES)}, got "
            f"{path.suffix or 'no suffix'}. Change the name."
        )
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's suffix, atomically.

    Raises
    ------
    OutputError
        As ``check_figure_name``.
    """
    kind = check_figure_name(path).suffix.lower()
    with mpl.rc_context(_SAVING), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind[1:], dpi=figure.dpi, metadata=_UNDATED.get(kind))


def printable(text: str) -> str:
    """Put a box where the font has no such character (Chinese, say), instead of a warning."""
    known = _characters()
    return "".join(c if ord(c) in known or c == "\n" else "□" for c in text)


def _cut_to(text: str, width_mm: float, size: float, weight: str) -> str:
    """Shorten a text until it is no wider than so many mm."""
    font = font_manager.FontProperties(family=FONT, size=size, weight=weight)
    room = width_mm / _MM_PER_INCH * _POINTS_PER_INCH
    shown = text
    while len(text) > 1 and _width(shown, font) > room:
        text = text[:-1].rstrip(" ·")
        shown = f"{text}…"
    return shown


def _width(text: str, font: font_manager.FontProperties) -> float:
    as_wide = text.replace("$", "S")  # which would begin a formula
    return float(TextPath((0, 0), as_wide, prop=font).get_extents().width)


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(FONT)).get_charmap())
