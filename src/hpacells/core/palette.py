"""The colour and the short name of each location, decided here and nowhere else.

Nineteen colours cannot all be told apart by everybody, so wherever a colour stands for a location
its short name stands beside it. The colours were chosen to be as different as possible, in
CIEDE2000 and under normal, deuteranope and protanope vision, while bright enough to be seen on a
dark fluorescence image; grey is kept for rejected cells.
"""

from dataclasses import dataclass

from hpacells.core.locations import LOCATIONS, Location

__all__ = ["REJECTED_COLOR", "STYLES", "LocationStyle", "hex_to_rgb", "lighten"]


REJECTED_COLOR = "#9a9a9a"
"""Outline of a cell that was rejected, whatever its scores."""

_COLORS_AND_SHORT_NAMES = (
    ("#95aaff", "Nucleopl."),
    ("#9540ff", "Nuc. membr."),
    ("#00eaff", "Nucleoli"),
    ("#80d4aa", "Fibr. center"),
    ("#9580ff", "Speckles"),
    ("#2a9555", "Nuc. bodies"),
    ("#eabf00", "ER"),
    ("#ff4055", "Golgi"),
    ("#aa80bf", "Interm. fil."),
    ("#ea2a00", "Actin"),
    ("#d49500", "Microtub."),
    ("#558000", "Spindle"),
    ("#aa5595", "Centrosome"),
    ("#bfff95", "Plasma m."),
    ("#40ffd4", "Mitochond."),
    ("#80aa80", "Aggresome"),
    ("#eaaad4", "Cytosol"),
    ("#bfbf80", "Vesicles"),
    ("#ffffff", "Negative"),
)


@dataclass(frozen=True)
class LocationStyle:
    """How a location looks: ``color`` as ``#rrggbb``, ``short`` at most 12 ASCII characters."""

    location: Location
    color: str
    short: str


STYLES: tuple[LocationStyle, ...] = tuple(
    LocationStyle(location, color, short)
    for location, (color, short) in zip(LOCATIONS, _COLORS_AND_SHORT_NAMES, strict=True)
)
"""One style per location, in the order of the vocabulary."""


def hex_to_rgb(color: str) -> tuple[int, int, int]:
    """Turn ``#rrggbb`` into three grey values 0-255.

    Examples
    --------
    >>> hex_to_rgb("#00eaff")
    (0, 234, 255)
    """
    value = int(color[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255


def lighten(color: str) -> str:
    """Mix a colour half and half with white.

    Examples
    --------
    >>> lighten("#00eaff")
    '#7ff4ff'
    """
    return "#" + "".join(f"{(value + 255) // 2:02x}" for value in hex_to_rgb(color))
