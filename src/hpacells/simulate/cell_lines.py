"""Cell lines: how large, how long, how ragged and how dense their cells are.

Figures come from expert-corrected masks of 328 public atlas fields: area
percentiles 10/50/90, axis ratio 50/90, solidity 50/10, cells per 10⁴ µm², share of the field
covered, share of a cell's outline within 1 µm of another. EFO-21 and HUVEC TERT2 have no published
masks: their figures are *estimates* from what is known of these cells (an ovarian carcinoma that
grows in clusters; large, long endothelial cells that stand apart). Nucleus areas are chosen so
that all lines together give the 190-270 µm² median of full-resolution fields.

Cells that compete for ground come out smaller, rounder and smoother than they were drawn. The
``Tuning`` of a line undoes that; it was found by simulating fields and comparing them with the
figures.
"""

from dataclasses import dataclass

import numpy as np

from hpacells.core.errors import ConfigError
from hpacells.simulate.forms import Habit

__all__ = ["CELL_LINES", "CellLine", "Tuning", "body_area", "draw_excess", "find_cell_line"]

_Z90 = 1.2816  # 90 % quantile of the normal distribution


@dataclass(frozen=True)
class Tuning:
    """What has to be drawn so that the figures come out.

    Parameters
    ----------
    growth
        Factor of the areas.
    ratio, ragged
        Factors of axis ratio - 1 and of 1 - solidity.
    cling
        Probability of a cell to settle beside another.
    overlap
        Share of such a cell that lies on its neighbours, before the ground is divided.
    tight
        Probability of two cells that meet to touch; the others keep a gap.
    crowd
        Factor of the density.
    """

    growth: float
    ratio: float
    ragged: float
    cling: float
    overlap: float
    tight: float
    crowd: float


@dataclass(frozen=True)
class CellLine:
    """Shape statistics of one cell line; areas in µm².

    Parameters
    ----------
    name
        As the atlas spells it.
    weight
        How often the line is drawn: near the square root of its public images.
    area_um2
        Percentiles 10, 50, 90.
    axis_ratio
        Percentiles 50, 90.
    solidity
        Percentiles 50, 10.
    density_per_1e4um2
        Cells on 10⁴ µm².
    covered
        Share of the field under cells.
    border_shared
        Mean share of a cell's outline within 1 µm of another cell. Nothing is drawn from it: it is
        what ``cling`` and ``tight`` of the tuning are fitted to.
    nucleus_um2
        Median of the nucleus area in the middle of the cell cycle.
    habit
        What distinguishes bodies from ovals.
    tuning
        See ``Tuning``.
    """

    name: str
    weight: float
    area_um2: tuple[float, float, float]
    axis_ratio: tuple[float, float]
    solidity: tuple[float, float]
    density_per_1e4um2: float
    covered: float
    border_shared: float
    nucleus_um2: float
    habit: Habit
    tuning: Tuning


_FAN = Habit(corners=0.7, sag=0.16, processes=0.35, polar=0.5, lamella=0.3, bend=0.38)
_COBBLE = Habit(corners=0.35, sag=-0.04, processes=0.12, polar=0.3, lamella=0.12, bend=0.12)
_GLIA = Habit(corners=0.45, sag=0.15, processes=1.2, polar=0.6, lamella=0.15, bend=0.32)
_NEURITES = Habit(corners=0.35, sag=0.1, processes=1.5, polar=0.75, lamella=0.05, bend=0.2)
_CLUMP = Habit(corners=0.5, sag=0.05, processes=0.4, polar=0.6, lamella=0.05, bend=0.2)
_SPINDLE = Habit(corners=0.3, sag=0.08, processes=0.5, polar=0.9, lamella=0.1, bend=0.4)

# fmt: off
CELL_LINES: tuple[CellLine, ...] = (
    CellLine("U-2 OS", 10, (570, 1090, 1780), (1.81, 3.02), (0.86, 0.71), 4.8, 0.54, 0.18, 272,
             _FAN, Tuning(1.36, 1.08, 1.10, 0.45, 0.072, 0.34, 1.40)),
    CellLine("A-431", 6.6, (460, 1020, 2180), (1.48, 2.14), (0.92, 0.82), 4.7, 0.64, 0.33, 260,
             _COBBLE, Tuning(1.36, 0.97, 0.75, 0.79, 0.123, 0.70, 1.22)),
    CellLine("U-251 MG", 6.4, (380, 710, 1350), (1.75, 2.84), (0.87, 0.73), 5.2, 0.37, 0.12, 245,
             _GLIA, Tuning(1.22, 1.12, 0.95, 0.35, 0.071, 0.33, 1.28)),
    CellLine("HEK 293", 2.8, (220, 430, 990), (1.72, 2.66), (0.87, 0.76), 11.4, 0.62, 0.46, 195,
             _CLUMP, Tuning(1.25, 1.12, 0.83, 0.94, 0.156, 0.84, 1.15)),
    CellLine("SH-SY5Y", 2.4, (180, 310, 520), (1.76, 2.95), (0.89, 0.76), 12.7, 0.42, 0.27, 150,
             _NEURITES, Tuning(1.15, 1.07, 0.74, 0.75, 0.089, 0.65, 1.09)),
    CellLine("PC-3", 2.3, (250, 530, 810), (1.83, 3.50), (0.91, 0.81), 6.0, 0.31, 0.17, 215,
             _SPINDLE, Tuning(1.16, 1.22, 0.75, 0.60, 0.071, 0.59, 1.08)),
    CellLine("RH-30", 2.3, (300, 510, 790), (1.90, 3.21), (0.91, 0.78), 9.3, 0.46, 0.24, 212,
             _SPINDLE, Tuning(1.22, 1.40, 0.78, 0.64, 0.088, 0.46, 1.18)),
    CellLine("HeLa", 2.3, (680, 1100, 2100), (2.09, 3.15), (0.89, 0.80), 4.8, 0.57, 0.13, 285,
             _SPINDLE, Tuning(1.55, 1.30, 0.79, 0.29, 0.062, 0.16, 1.30)),
    CellLine("A549", 2.2, (450, 900, 1550), (1.61, 2.43), (0.90, 0.80), 6.0, 0.55, 0.23, 255,
             _COBBLE, Tuning(1.33, 1.01, 0.80, 0.53, 0.075, 0.48, 1.24)),
    CellLine("SK-MEL-30", 1.8, (220, 650, 1150), (1.90, 3.23), (0.84, 0.68), 6.9, 0.50, 0.33, 225,
             _GLIA, Tuning(1.33, 1.12, 1.01, 0.83, 0.113, 0.70, 1.14)),
    CellLine("SiHa", 1.7, (500, 880, 1550), (2.30, 3.51), (0.90, 0.75), 6.3, 0.63, 0.18, 255,
             _SPINDLE, Tuning(1.42, 1.30, 0.72, 0.42, 0.067, 0.24, 1.50)),
    CellLine("HaCaT", 1.7, (830, 1370, 1990), (1.60, 2.15), (0.91, 0.82), 3.9, 0.54, 0.40, 290,
             _COBBLE, Tuning(1.20, 0.97, 0.78, 0.93, 0.138, 0.90, 1.12)),
    CellLine("EFO-21", 0.9, (420, 900, 1700), (1.60, 2.45), (0.91, 0.80), 5.6, 0.56, 0.34, 255,
             _COBBLE, Tuning(1.25, 1.08, 0.77, 0.79, 0.108, 0.65, 1.20)),  # estimate
    CellLine("HUVEC TERT2", 0.7, (650, 1350, 2500), (2.0, 3.2), (0.90, 0.78), 2.6, 0.38, 0.06, 260,
             _SPINDLE, Tuning(1.34, 1.10, 0.90, 0.15, 0.059, 0.20, 1.35)),  # estimate
    CellLine("hTCEpi", 0.6, (740, 1340, 1750), (1.91, 2.82), (0.94, 0.91), 2.8, 0.48, 0.08, 270,
             _SPINDLE, Tuning(1.30, 1.19, 0.53, 0.24, 0.065, 0.38, 1.36)),
    CellLine("HAP1", 0.5, (160, 250, 450), (1.55, 2.72), (0.93, 0.82), 23.8, 0.65, 0.47, 136,
             _COBBLE, Tuning(1.15, 1.16, 0.34, 0.84, 0.161, 0.84, 1.10)),
    CellLine("RPTEC TERT1", 0.5, (430, 810, 1360), (1.82, 3.27), (0.95, 0.86), 3.1, 0.28, 0.05, 235,
             _SPINDLE, Tuning(1.12, 1.14, 0.59, 0.18, 0.064, 0.37, 1.25)),
)
# fmt: on
"""All 17 lines."""


def find_cell_line(name: str) -> CellLine:
    """Return the line of that name.

    Raises
    ------
    ConfigError
        When there is no such line; the message names those there are.
    """
    lines = {line.name: line for line in CELL_LINES}
    if name not in lines:
        known = ", ".join(sorted(lines))
        raise ConfigError(f"Cell line: expected one of {known}; got {name!r}.")
    return lines[name]


def body_area(line: CellLine, z: float) -> float:
    """Give the area in µm² at a place of the two-piece log-normal through the three percentiles.

    Parameters
    ----------
    line
        Its percentiles 10, 50 and 90.
    z
        Place on the standard normal, cut at 2.2.
    """
    low, middle, high = line.area_um2
    z = float(np.clip(z, -2.2, 2.2))
    spread = np.log(middle / low) if z < 0 else np.log(high / middle)
    return float(middle * np.exp(spread * z / _Z90))


def draw_excess(middle: float, tail: float, rng: np.random.Generator) -> float:
    """Draw a positive number with this median and this 90 % quantile, log-normal, cut at 2 sd."""
    z = float(np.clip(rng.standard_normal(), -2.0, 2.0))
    return float(middle * np.exp(np.log(tail / middle) * z / _Z90))
