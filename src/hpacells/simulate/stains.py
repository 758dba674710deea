"""The three reference stains of one cell, before the microscope: microtubules, ER, nucleus."""

from dataclasses import dataclass

import numpy as np

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.chromatin import draw_dna
from hpacells.simulate.reticulum import draw_er
from hpacells.simulate.stain_style import StainStyle
from hpacells.simulate.texture import FloatImage
from hpacells.simulate.tubules import draw_microtubules, draw_spindle_stain

__all__ = ["StainedCell", "stain_cell"]

_WIDEST = 1.8  # standard deviations of a cell's log brightness
_THICK = 1.35  # a rounded cell is brighter per area


@dataclass(frozen=True)
class StainedCell:
    """A cell and its reference stains, ``(h, w)`` float32 each, bright structures about 1."""

    anatomy: CellAnatomy
    microtubules: FloatImage
    er: FloatImage
    dna: FloatImage


def stain_cell(cell: CellAnatomy, style: StainStyle, rng: np.random.Generator) -> StainedCell:
    """Draw the reference stains of one cell, its own brightness within.

    Parameters
    ----------
    cell
        Where its structures are.
    style
        What the field's cells have in common.
    rng
        Of this cell.
    """
    bright = np.exp(np.clip(rng.normal(0.0, 1.0, 3), -_WIDEST, _WIDEST) * style.scatter)
    if cell.mitotic:
        bright[[0, 2]] *= _THICK
        tubules = draw_spindle_stain(cell, rng)
    else:
        tubules = draw_microtubules(cell, style, rng)
    er = draw_er(cell, style, tubules, rng)
    dna = draw_dna(cell, style, rng)
    for stain, level in ((tubules, bright[0]), (er, bright[2]), (dna, bright[1])):
        np.multiply(stain, np.float32(level), out=stain)
    return StainedCell(cell, tubules, er, dna)
