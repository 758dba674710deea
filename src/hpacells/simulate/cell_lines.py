"""Cell lines: how large, how long, how ragged and how dense their cells are.

Figures come from expert-corrected masks of 328 public atlas fields: area
percentiles 10/50/90, axis ratio 50/90, solidity 50/10, cells per 10⁴ µm², share of the field
covered, share of a cell's outline within 1 µm of another. The nucleus areas are chosen so that all
lines together give the 190-270 µm² median of full-resolution fields.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["CELL_LINES", "CellLine", "draw_body_area", "draw_excess", "find_cell_line"]

_Z90 = 1.2816  # 90 % quantile of the normal distribution


@dataclass(frozen=True)
class CellLine:
    """Shape statistics of one cell line; areas in µm²."""

    name: str
    weight: float
    area_um2: tuple[float, float, float]
    axis_ratio: tuple[float, float]
    solidity: tuple[float, float]
    density_per_1e4um2: float
    covered: float
    border_shared: float
    nucleus_um2: float


CELL_LINES: tuple[CellLine, ...] = (
    CellLine("U-2 OS", 10, (570, 1090, 1780), (1.81, 3.02), (0.86, 0.71), 4.8, 0.54, 0.18, 285),
    CellLine("A-431", 9, (460, 1020, 2180), (1.48, 2.14), (0.92, 0.82), 4.7, 0.64, 0.33, 280),
    CellLine("U-251 MG", 7, (380, 710, 1350), (1.75, 2.84), (0.87, 0.73), 5.2, 0.37, 0.12, 265),
    CellLine("HEK 293", 4, (220, 430, 990), (1.72, 2.66), (0.87, 0.76), 11.4, 0.62, 0.46, 195),
    CellLine("SH-SY5Y", 4, (180, 310, 520), (1.76, 2.95), (0.89, 0.76), 12.7, 0.42, 0.27, 150),
    CellLine("SK-MEL-30", 3, (220, 650, 1150), (1.90, 3.23), (0.84, 0.68), 6.9, 0.50, 0.33, 235),
    CellLine("RH-30", 3, (300, 510, 790), (1.90, 3.21), (0.91, 0.78), 9.3, 0.46, 0.24, 215),
    CellLine("PC-3", 4, (250, 530, 810), (1.83, 3.50), (0.91, 0.81), 6.0, 0.31, 0.17, 220),
    CellLine("A549", 3, (450, 900, 1550), (1.61, 2.43), (0.90, 0.80), 6.0, 0.55, 0.23, 275),
    CellLine("HAP1", 2, (160, 250, 450), (1.55, 2.72), (0.93, 0.82), 23.8, 0.65, 0.47, 130),
    CellLine("HaCaT", 3, (830, 1370, 1990), (1.60, 2.15), (0.91, 0.82), 3.9, 0.54, 0.40, 315),
    CellLine("HeLa", 4, (680, 1100, 2100), (2.09, 3.15), (0.89, 0.80), 4.8, 0.57, 0.13, 310),
    CellLine("RPTEC TERT1", 2, (430, 810, 1360), (1.82, 3.27), (0.95, 0.86), 3.1, 0.28, 0.05, 245),
    CellLine("SiHa", 2, (500, 880, 1550), (2.30, 3.51), (0.90, 0.75), 6.3, 0.63, 0.18, 275),
    CellLine("hTCEpi", 2, (740, 1340, 1750), (1.91, 2.82), (0.94, 0.91), 2.8, 0.48, 0.08, 290),
)
"""Lines with published masks; EFO-21 and HUVEC TERT2 have none."""


def find_cell_line(name: str) -> CellLine:
    """Return the line of that name (KeyError: no such line)."""
    return {line.name: line for line in CELL_LINES}[name]


def draw_body_area(line: CellLine, rng: np.random.Generator) -> float:
    """Draw a cell's area in µm² from a two-piece log-normal through the three percentiles."""
    low, middle, high = line.area_um2
    z = float(np.clip(rng.standard_normal(), -2.2, 2.2))
    spread = np.log(middle / low) if z < 0 else np.log(high / middle)
    return float(middle * np.exp(spread * z / _Z90))


def draw_excess(middle: float, tail: float, rng: np.random.Generator) -> float:
    """Draw a positive number with this median and this 90 % quantile, log-normal, cut at 2 sd."""
    z = float(np.clip(rng.standard_normal(), -2.0, 2.0))
    return float(middle * np.exp(np.log(tail / middle) * z / _Z90))
