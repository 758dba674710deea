"""Statistics of real fields and how far simulated ones are from them, without pixels.

Real values: tables of published and measured figures (counts, label noise, areas and forms per
cell line) written here with their source. A *standardised difference* is (simulated - real) over a
standard deviation of the real quantity; each statistic says over what.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "NUCLEUS_AREA",
    "PRESENCE",
    "Statistic",
    "cell_counts",
    "fit_presence",
    "forms",
    "log_sd",
    "presence",
    "summarise",
    "summarise_spread",
]

Floats = npt.NDArray[np.float64]

MEAN_CELLS, MEDIAN_CELLS = 21.7, 18.0
"""Cells a field in the 2021 competition's training images (published)."""

PRESENCE: dict[int, tuple[float, float]] = {
    0: (0.78, 0.52),
    1: (0.74, 0.41),
    2: (0.64, 0.30),
    3: (0.45, 0.35),
    4: (0.87, 0.30),
    5: (0.39, 0.35),
    6: (0.70, 0.63),
    7: (0.49, 0.29),
    8: (0.79, 0.29),
    9: (0.75, 0.17),
    10: (0.59, 0.48),
    11: (0.07, 0.00),
    12: (0.24, 0.21),
    13: (0.70, 0.75),
    14: (0.85, 0.33),
    15: (0.68, 0.35),
    16: (0.82, 0.55),
    17: (0.55, 0.49),
}
"""p and rho per class: 5,090 manually labelled cells of 328 public images, beta-binomial."""
CELLS_PER_LABELLED_IMAGE = 15.5

LINES: dict[str, tuple[float, ...]] = {
    "U-2 OS": (570, 1090, 1780, 1.81, 3.02, 0.86, 0.71),
    "A-431": (460, 1020, 2180, 1.48, 2.14, 0.92, 0.82),
    "U-251 MG": (380, 710, 1350, 1.75, 2.84, 0.87, 0.73),
    "HEK 293": (220, 430, 990, 1.72, 2.66, 0.87, 0.76),
    "SH-SY5Y": (180, 310, 520, 1.76, 2.95, 0.89, 0.76),
    "SK-MEL-30": (220, 650, 1150, 1.90, 3.23, 0.84, 0.68),
    "RH-30": (300, 510, 790, 1.90, 3.21, 0.91, 0.78),
    "PC-3": (250, 530, 810, 1.83, 3.50, 0.91, 0.81),
    "A549": (450, 900, 1550, 1.61, 2.43, 0.90, 0.80),
    "HAP1": (160, 250, 450, 1.55, 2.72, 0.93, 0.82),
    "HaCaT": (830, 1370, 1990, 1.60, 2.15, 0.91, 0.82),
    "HeLa": (680, 1100, 2100, 2.09, 3.15, 0.89, 0.80),
    "RPTEC TERT1": (430, 810, 1360, 1.82, 3.27, 0.95, 0.86),
    "SiHa": (500, 880, 1550, 2.30, 3.51, 0.90, 0.75),
    "hTCEpi": (740, 1340, 1750, 1.91, 2.82, 0.94, 0.91),
}
"""Expert-corrected masks of 328 public fields, whole cells: area µm² (10, 50, 90 %), axis ratio
(50, 90 %), solidity (50, 10 %)."""

NUCLEUS_AREA = (75.0, 230.0, 390.0)
"""µm², 10, 50, 90 %, full-resolution fields; the median is the middle of its range 190-270."""

DESIGNED = {
    11: "by design: default fields raise p to 0.35, or the class would have next to no cells; "
    "--class-frequencies atlas keeps the measured 0.07"
}
"""Classes whose presence is not meant to be the real one."""

_TAIL = 1.2816  # standard normal deviate of 90 %
_LEAST_CELLS = 12  # of a line or a class, below which nothing is compared
_LEAST_IMAGES = 5


@dataclass(frozen=True)
class Statistic:
    """One entry of the list.

    Parameters
    ----------
    group, name
        What it is.
    real, simulated
        Values.
    sd
        What the difference is divided by, > 0.
    source
        Where the real value is from and what the sd is taken over.
    spread
        Sd over simulated cells / sd over real cells; None where it was not measured.
    note
        What a reader must know of this value.
    """

    group: str
    name: str
    real: float
    simulated: float
    sd: float
    source: str
    spread: float | None = None
    note: str = ""

    @property
    def d(self) -> float:
        """Standardised difference."""
        return (self.simulated - self.real) / self.sd

    def row(self) -> dict[str, float | str]:
        """Give it as a row of a table."""
        return {**asdict(self), "d": self.d}


def log_sd(low: float, high: float) -> float:
    """Give the log-sd of a log-normal from its 10 and 90 % quantiles."""
    return float(np.log(high / low) / (2 * _TAIL))


def cell_counts(counts: npt.ArrayLike) -> list[Statistic]:
    """Compare cells a field; sd of the log-normal with the real mean and median."""
    spread = float(np.sqrt(2 * np.log(MEAN_CELLS / MEDIAN_CELLS)))
    found = np.asarray(counts, np.float64)
    source = "competition's training images; sd over fields, log-normal by mean and median"
    sd = MEAN_CELLS * float(np.sqrt(np.exp(spread**2) - 1))
    return [
        Statistic("cells a field", "mean", MEAN_CELLS, float(found.mean()), sd, source),
        Statistic(
            "cells a field",
            "log median",
            float(np.log(MEDIAN_CELLS)),
            float(np.log(max(float(np.median(found)), 1.0))),
            spread,
            source,
        ),
    ]


def fit_presence(carriers: npt.ArrayLike, cells: npt.ArrayLike) -> tuple[float, float]:
    """Estimate p and the intraclass correlation rho by moments (analysis of variance).

    Parameters
    ----------
    carriers, cells
        ``(I,)`` per image whose label has the class: cells that carry it, cells.

    Returns
    -------
    p, rho
        Pooled share; ``(MSB - MSW) / (MSB + (n0 - 1) MSW)`` within [0, 1] (Ridout et al. 1999),
        NaN where it is not defined (one image, or all cells alike).
    """
    x, n = np.asarray(carriers, np.float64), np.asarray(cells, np.float64)
    p = float(x.sum() / n.sum())
    images, total = len(n), n.sum()
    if images < 2 or total <= images or not 0 < p < 1:
        return p, float("nan")
    between = float((x**2 / n).sum() - x.sum() ** 2 / total) / (images - 1)
    within = float(x.sum() - (x**2 / n).sum()) / (total - images)
    n0 = (total - float((n**2).sum()) / total) / (images - 1)
    rho = (between - within) / (between + (n0 - 1) * within)
    return p, float(np.clip(rho, 0, 1))


def presence(
    image_labels: Mapping[str, Iterable[int]], cell_labels: Mapping[str, list[tuple[int, ...]]]
) -> tuple[list[Statistic], list[str]]:
    """Compare p and rho of each class.

    Parameters
    ----------
    image_labels
        Per field its classes.
    cell_labels
        Per field its cells' classes (cells of the truth).

    Returns
    -------
    statistics
        p: sd of an image's share, beta-binomial of 15.5 cells. rho: sd of rho over the classes.
    left_out
        Classes in fewer than 5 fields.
    """
    found: list[Statistic] = []
    left_out: list[str] = []
    rho_sd = float(np.std([rho for _, rho in PRESENCE.values()]))
    for k, (p, rho) in PRESENCE.items():
        fields = [f for f, classes in image_labels.items() if k in classes and cell_labels.get(f)]
        if len(fields) < _LEAST_IMAGES:
            left_out.append(f"presence of class {k}: {len(fields)} fields")
            continue
        carriers = [sum(k in cell for cell in cell_labels[f]) for f in fields]
        p_found, rho_found = fit_presence(carriers, [len(cell_labels[f]) for f in fields])
        sd = float(np.sqrt(p * (1 - p) * (rho + (1 - rho) / CELLS_PER_LABELLED_IMAGE)))
        source = "328 public images; sd over images"
        note = DESIGNED.get(k, "")
        found.append(Statistic("presence p", f"class {k}", p, p_found, sd, source, note=note))
        if np.isfinite(rho_found):
            source = "328 public images; sd of rho over the classes"
            found.append(Statistic("presence rho", f"class {k}", rho, rho_found, rho_sd, source))
    return found, left_out


def forms(
    lines: npt.NDArray[np.str_],
    area_um2: Floats,
    axis_ratio: Floats,
    solidity: Floats,
    nucleus_um2: Floats,
) -> tuple[list[Statistic], list[str]]:
    """Compare medians of whole cells' area, axis ratio and solidity per line; nuclei of all lines.

    Standard deviations over cells, from the real percentiles (logarithms of areas and ratios).
    """
    found: list[Statistic] = []
    left_out: list[str] = []
    source = "expert-corrected masks; sd over cells, from percentiles"
    for line, (low, middle, high, ratio, ratio_90, solid, solid_10) in LINES.items():
        own = lines == line
        if own.sum() < _LEAST_CELLS:
            left_out.append(f"form of {line}: {int(own.sum())} whole cells")
            continue
        for name, real, simulated, sd in (
            ("log area", np.log(middle), np.log(area_um2[own]), log_sd(low, high)),
            (
                "log axis ratio",
                np.log(ratio),
                np.log(axis_ratio[own]),
                np.log(ratio_90 / ratio) / _TAIL,
            ),
            ("solidity", solid, solidity[own], (solid - solid_10) / _TAIL),
        ):
            median, spread = float(np.median(simulated)), float(np.std(simulated) / sd)
            title = f"{line}: {name}"
            found.append(
                Statistic("cell form", title, float(real), median, float(sd), source, spread)
            )
    low, middle, high = NUCLEUS_AREA
    with_nucleus = nucleus_um2 > 0
    found.append(
        Statistic(
            "nucleus area",
            "log area, all lines",
            float(np.log(middle)),
            float(np.median(np.log(nucleus_um2[with_nucleus]))),
            log_sd(low, high),
            "full-resolution fields; sd over nuclei, from percentiles",
        )
    )
    return found, left_out


def summarise(statistics: list[Statistic]) -> dict[str, float]:
    """Give the median |d| of all, of each group, and the median over the groups."""
    groups = sorted({s.group for s in statistics})
    found = {g: [abs(s.d) for s in statistics if s.group == g] for g in groups}
    medians = {g: float(np.median(values)) for g, values in found.items()}
    of_groups = {"over groups": float(np.median(list(medians.values())))}
    return {"all": float(np.median([abs(s.d) for s in statistics])), **of_groups, **medians}


def summarise_spread(statistics: list[Statistic]) -> tuple[float, int]:
    """Give the median |log(sd simulated / sd real)| and of how many; NaN of none.

    A simulated sd of 0 counts as infinitely far.
    """
    ratios = np.array([s.spread for s in statistics if s.spread is not None], np.float64)
    if not len(ratios):
        return float("nan"), 0
    with np.errstate(divide="ignore"):
        return float(np.median(np.abs(np.log(ratios)))), len(ratios)
