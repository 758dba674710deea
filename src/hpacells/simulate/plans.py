"""Single cells before they have a place: size, form, nuclei and phase of the cell cycle."""

from dataclasses import dataclass, replace

import numpy as np

from hpacells.simulate.cell_lines import CellLine, body_area, draw_excess
from hpacells.simulate.forms import draw_body_outline, draw_nucleus_outline
from hpacells.simulate.outline import Outline, with_area

__all__ = ["CellPlan", "Phase", "Stage", "draw_interphase_plan", "draw_sister_plans", "moved"]

Phase = str  # "G1", "S", "G2" or "M"
Stage = str  # "interphase", "prometaphase", "metaphase", "anaphase" or "telophase"
Place = tuple[float, float]
_Nuclei = tuple[tuple[Place, Outline], ...]

_S_BEGINS, _S_ENDS = 0.5, 0.8
_MICRONUCLEI, _TWO_NUCLEI, _MORE_NUCLEI = 0.03, 0.035, 0.006
_SMALLEST_NUCLEUS_UM2 = 38.0
_LARGEST_NUCLEUS_SHARE = 0.46
_LOWER_TAIL = 0.82  # dividing cells and neighbours make small cells of their own
_DEEPEST_NUCLEUS = 0.9
_LARGEST_SHRINKAGE = 0.7


@dataclass(frozen=True)
class CellPlan:
    """One cell before its ground is known; places in µm, of the wide ground once it is placed.

    Parameters
    ----------
    nucleus_um, body_um
        Where the nucleus and the body's outline have their origins.
    body
        Outline of the body.
    nuclei
        Place and outline of each nucleus, micronuclei included, or piece of chromatin.
    direction
        Angle of the long axis in radians; of the spindle in mitosis.
    phase, stage
        Of the cell cycle, and of mitosis.
    dna_content
        Of all nuclei together: 1 for one nucleus in G1, 2 in G2 and M.
    pole_um
        Distance of the spindle's poles from its middle; 0 outside mitosis.
    """

    nucleus_um: Place
    body_um: Place
    body: Outline
    nuclei: _Nuclei
    direction: float
    phase: Phase
    stage: Stage = "interphase"
    dna_content: float = 1.0
    pole_um: float = 0.0


def moved(plan: CellPlan, down_um: float, right_um: float) -> CellPlan:
    """Shift a plan."""

    def shift(place: Place) -> Place:
        return place[0] + down_um, place[1] + right_um

    return replace(
        plan,
        nucleus_um=shift(plan.nucleus_um),
        body_um=shift(plan.body_um),
        nuclei=tuple((shift(place), outline) for place, outline in plan.nuclei),
    )


def draw_interphase_plan(line: CellLine, direction: float, rng: np.random.Generator) -> CellPlan:
    """Draw a cell between divisions.

    The place in the cycle is drawn as in a population that grows: cells just divided are twice as
    many as cells about to. It moves the sizes of cell and nucleus, and it is the DNA content.
    """
    age = float(-np.log2(1.0 - 0.5 * rng.random()))
    phase, content = _cycle_at(age)
    z = 0.93 * float(rng.standard_normal()) + 0.37 * (age - 0.44) / 0.29
    area = body_area(line, z if z > 0 else _LOWER_TAIL * z) * line.tuning.growth
    ratio = 1.0 + min(4.5, draw_excess(line.axis_ratio[0] - 1.0, line.axis_ratio[1] - 1.0, rng))
    solid = 1.0 - min(0.42, draw_excess(1.0 - line.solidity[0], 1.0 - line.solidity[1], rng))
    shape = (1.0 + line.tuning.ratio * (ratio - 1.0), 1.0 - line.tuning.ragged * (1.0 - solid))
    body = draw_body_outline(area, shape, line.habit, direction=direction, rng=rng)
    nucleus = line.nucleus_um2 * (0.8 + 0.5 * age) * float(np.exp(rng.normal(0.0, 0.22)))
    nucleus *= (area / (line.area_um2[1] * line.tuning.growth)) ** 0.45
    nucleus = float(np.clip(nucleus, _SMALLEST_NUCLEUS_UM2, _LARGEST_NUCLEUS_SHARE * area))
    nuclei, sets = _draw_nuclei(nucleus, area, ratio, direction=direction, rng=rng)
    offset = rng.normal(0.0, 0.17, 2) * np.sqrt(area / np.pi)
    along = rng.normal(0.0, 0.12) * np.sqrt(area / np.pi) * (ratio - 1.0)
    centre = (offset[0] + along * np.sin(direction), offset[1] + along * np.cos(direction))
    nuclei, place = _fitted(nuclei, body, (float(centre[0]), float(centre[1])))
    return CellPlan(
        nucleus_um=(0.0, 0.0),
        body_um=place,
        body=body,
        nuclei=nuclei,
        direction=direction,
        phase=phase,
        dna_content=content * sets,
    )


def _fitted(nuclei: _Nuclei, body: Outline, place: Place) -> tuple[_Nuclei, Place]:
    """Move a body's origin nearer to the nuclei until they lie in it; shrink them if need be."""
    outer = _DEEPEST_NUCLEUS
    for _ in range(6):
        points = np.concatenate([o.points(at) for at, o in nuclei]).astype(np.float32)
        ratio, _ = body.depth(points[:, :1] - place[0], points[:, 1:] - place[1])
        if ratio.max() < _DEEPEST_NUCLEUS:
            return nuclei, place
        outer = float(np.percentile(ratio, 75))
        place = (0.6 * place[0], 0.6 * place[1])
    factor = float(np.clip(_DEEPEST_NUCLEUS / outer, _LARGEST_SHRINKAGE, 1.0))
    shrunken = tuple(
        ((factor * at[0], factor * at[1]), with_area(outline, outline.area_um2 * factor**2))
        for at, outline in nuclei
    )
    return shrunken, place


def _cycle_at(age: float) -> tuple[Phase, float]:
    """Give phase and DNA content of one nucleus at a place 0-1 in the cycle."""
    if age < _S_BEGINS:
        return "G1", 1.0
    if age < _S_ENDS:
        return "S", 1.0 + (age - _S_BEGINS) / (_S_ENDS - _S_BEGINS)
    return "G2", 2.0


def _draw_nuclei(
    nucleus_um2: float,
    body_um2: float,
    ratio: float,
    *,
    direction: float,
    rng: np.random.Generator,
) -> tuple[_Nuclei, int]:
    """Draw the nuclei of one cell, and say how many sets of DNA they hold."""
    tilt = direction + float(rng.normal(0.0, 0.45 / ratio))
    kind = rng.random()
    if kind < _TWO_NUCLEI + _MORE_NUCLEI and body_um2 > 2.6 * nucleus_um2:
        count = 2 if kind < _TWO_NUCLEI else int(rng.integers(3, 5))
        return _draw_several(nucleus_um2, count, direction=direction, rng=rng), count
    axis = 1.0 + 0.38 * float(np.exp(rng.normal(0, 0.45))) * (0.55 + 0.27 * ratio)
    main = draw_nucleus_outline(nucleus_um2, min(2.4, axis), direction=tilt, rng=rng)
    nuclei = [((0.0, 0.0), main)]
    if rng.random() < _MICRONUCLEI and body_um2 > 1.8 * nucleus_um2:
        turn, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.6)
        away = main.reach_um + radius + rng.uniform(-0.6, 1.2)
        small = draw_nucleus_outline(np.pi * radius**2, 1.1, direction=turn, rng=rng)
        nuclei.append(((away * np.sin(turn), away * np.cos(turn)), small))
    return tuple(nuclei), 1


def _draw_several(
    nucleus_um2: float, count: int, *, direction: float, rng: np.random.Generator
) -> _Nuclei:
    """Draw two to four nuclei around the middle, touching or nearly so."""
    each = nucleus_um2 * (0.75 if count == 2 else 0.55)
    radius = np.sqrt(each / np.pi)
    away = radius * float(rng.uniform(1.08, 1.3)) / np.sin(np.pi / count)
    first = direction + float(rng.normal(0.0, 0.4))
    nuclei = []
    for k in range(count):
        turn = first + 2 * np.pi * k / count
        size = each * float(np.exp(rng.normal(0.0, 0.1)))
        outline = draw_nucleus_outline(size, 1.12, direction=turn + np.pi / 2, rng=rng)
        nuclei.append(((away * float(np.sin(turn)), away * float(np.cos(turn))), outline))
    return tuple(nuclei)


def draw_sister_plans(
    line: CellLine, direction: float, rng: np.random.Generator
) -> tuple[CellPlan, CellPlan]:
    """Draw two daughters that have just parted: small, alike, side by side, nuclei facing."""
    area = float(np.clip(0.36 * line.area_um2[1], 90.0, 420.0) * np.exp(rng.normal(0, 0.15)))
    nucleus = float(np.clip(0.5 * line.nucleus_um2, 36.0, 0.45 * area))
    half = 0.95 * np.sqrt(area / np.pi)
    turn = direction + np.pi / 2
    sisters = []
    for sign in (-1.0, 1.0):
        body = draw_body_outline(
            area * float(np.exp(rng.normal(0, 0.08))),
            (1.0 + abs(float(rng.normal(0.3, 0.15))), 0.94),
            line.habit,
            direction=turn + float(rng.normal(0, 0.3)),
            rng=rng,
        )
        size = nucleus * float(np.exp(rng.normal(0, 0.06)))
        outline = draw_nucleus_outline(size, float(rng.uniform(1.3, 1.7)), direction=turn, rng=rng)
        place = (float(sign * half * np.sin(direction)), float(sign * half * np.cos(direction)))
        sisters.append(CellPlan(place, place, body, ((place, outline),), direction, "G1"))
    return sisters[0], sisters[1]
