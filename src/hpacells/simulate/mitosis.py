"""Cells in mitosis: rounded bodies, condensed chromatin, and where the spindle's poles are."""

import numpy as np

from hpacells.simulate.cell_lines import CellLine
from hpacells.simulate.forms import draw_chromatin_outline, draw_rounded_outline
from hpacells.simulate.outline import Outline
from hpacells.simulate.plans import CellPlan

__all__ = ["STAGES", "draw_mitotic_plan"]

STAGES = {"prometaphase": 0.30, "metaphase": 0.40, "anaphase": 0.15, "telophase": 0.15}
"""Share of the dividing cells in each stage."""

_LIMITS_UM2 = (130.0, 520.0)
_Pieces = tuple[tuple[tuple[float, float], Outline], ...]


def draw_mitotic_plan(line: CellLine, direction: float, rng: np.random.Generator) -> CellPlan:
    """Draw a dividing cell whose "nuclei" are its chromatin; the spindle lies along direction."""
    stage = str(rng.choice(list(STAGES), p=list(STAGES.values())))
    area = 0.42 * line.area_um2[1] * float(np.exp(rng.normal(0.0, 0.15)))
    area = float(np.clip(area, *_LIMITS_UM2))
    axis_ratio, furrow = 1.0 + abs(float(rng.normal(0.06, 0.06))), 0.0
    if stage == "anaphase":
        axis_ratio = float(rng.uniform(1.15, 1.4))
    elif stage == "telophase":
        axis_ratio, furrow = float(rng.uniform(1.7, 2.1)), float(rng.uniform(0.3, 0.7))
    body = draw_rounded_outline(area, axis_ratio, direction=direction, furrow=furrow, rng=rng)
    length = float(np.sqrt(area / np.pi * axis_ratio))  # half of the cell along the spindle
    width = float(np.sqrt(area / np.pi / axis_ratio))
    if stage in {"prometaphase", "metaphase"}:
        pieces, pole = _draw_one_mass(stage, width, direction=direction, rng=rng)
    else:
        pieces, pole = _draw_two_plates(stage, (length, width), direction=direction, rng=rng)
    return CellPlan(
        nucleus_um=(0.0, 0.0),
        body_um=(0.0, 0.0),
        body=body,
        nuclei=pieces,
        direction=direction,
        phase="M",
        stage=stage,
        dna_content=2.0,
        pole_um=min(pole, 0.9 * length),
    )


def _draw_one_mass(
    stage: str, width_um: float, *, direction: float, rng: np.random.Generator
) -> tuple[_Pieces, float]:
    """Draw the plate of a metaphase, or the ragged lump of a prometaphase."""
    across = direction + np.pi / 2 + float(rng.normal(0.0, 0.06))
    long = width_um * float(rng.uniform(1.05, 1.35))
    if stage == "metaphase":
        thick, bow = float(rng.uniform(2.2, 3.4)), float(rng.normal(0.0, 0.05))
    else:
        thick, bow = long * float(rng.uniform(0.45, 0.85)), float(rng.normal(0.0, 0.15))
    outline = draw_chromatin_outline(
        long * thick * np.pi / 4, max(1.1, long / thick), direction=across, bow=bow, rng=rng
    )
    pole = 0.5 * thick + width_um * float(rng.uniform(0.32, 0.45))
    return (((0.0, 0.0), outline),), pole


def _draw_two_plates(
    stage: str, half_um: tuple[float, float], *, direction: float, rng: np.random.Generator
) -> tuple[_Pieces, float]:
    """Draw the two plates of an anaphase or a telophase."""
    length, width = half_um
    late = stage == "telophase"
    long = width * float(rng.uniform(0.85, 1.1))
    thick = float(rng.uniform(1.9, 2.8)) * (1.15 if late else 1.0)
    away = length * float(rng.uniform(0.5, 0.62) if late else rng.uniform(0.22, 0.45))
    away = max(away, 0.5 * thick + 0.6)
    pieces = []
    for sign in (-1.0, 1.0):
        place = (float(sign * away * np.sin(direction)), float(sign * away * np.cos(direction)))
        across = direction + np.pi / 2
        # ends reach toward the pole; an outline that lies across has its side axis the other way
        outline = draw_chromatin_outline(
            long * thick * np.pi / 4,
            max(1.2, long / thick),
            direction=across,
            bow=-sign * float(rng.uniform(0.1, 0.35)),
            rng=rng,
        )
        pieces.append((place, outline))
    return tuple(pieces), away + 0.5 * thick + 0.12 * length
