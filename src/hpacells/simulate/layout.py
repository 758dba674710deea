"""Where cells stand and which ground each one covers, on a fixed grid in µm.

The ground is wider than the frame, so that the cells which the frame cuts are as natural as the
others. The grid has its own pixel, so that a field looks alike at any pixel size.
"""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.cell_lines import CellLine, draw_body_area, draw_excess
from hpacells.simulate.outline import (
    Outline,
    draw_body_outline,
    draw_nucleus_outline,
    outline_points,
)
from hpacells.simulate.texture import smooth_noise

__all__ = ["GRID_UM", "MARGIN_UM", "CellPlan", "Layout", "Phase", "draw_layout"]

GRID_UM = 0.24
MARGIN_UM = 28.0
_CANDIDATES = 8
_TRIES = 60

Phase = str  # "G1", "S", "G2" or "M"
FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CellPlan:
    """One cell before its ground is known; places in µm from the corner of the wide ground."""

    nucleus_um: tuple[float, float]
    body_um: tuple[float, float]
    body: Outline
    nuclei: tuple[tuple[tuple[float, float], Outline], ...]
    direction: float
    phase: Phase

    @cached_property
    def reach_um(self) -> float:
        """Largest distance of the outline from its centre."""
        return self.body.reach_um


@dataclass(frozen=True)
class Layout:
    """Cells on the grid.

    Parameters
    ----------
    cells, nuclei
        ``(H, W)`` int32 on the grid of the wide ground; the value is 1 + the plan's position.
    plans
        One per cell.
    """

    cells: npt.NDArray[np.int32]
    nuclei: npt.NDArray[np.int32]
    plans: tuple[CellPlan, ...] = field(default_factory=tuple)


def draw_layout(
    line: CellLine, side_um: float, *, mitotic_share: float, rng: np.random.Generator
) -> Layout:
    """Place the cells of one field and its surroundings.

    Parameters
    ----------
    line
        Shapes and density.
    side_um
        Side of the frame; the ground is wider by ``MARGIN_UM`` on each side.
    mitotic_share
        Probability of a cell to be in mitosis.
    rng
        Source of all of it.

    Returns
    -------
    Layout
        Nuclei never overlap; a body owns the points that lie deepest in it.
    """
    ground_um = side_um + 2 * MARGIN_UM
    crowd = float(np.exp(rng.normal(-0.03, 0.28)))
    expected = line.density_per_1e4um2 * crowd * ground_um**2 / 1e4
    count = max(1, int(rng.poisson(expected)))
    ground = _Ground(ground_um)
    common = rng.uniform(0, np.pi) if line.axis_ratio[0] > 1.7 and rng.random() < 0.35 else None
    plans = []
    for _ in range(count):
        plan = _draw_plan(line, common, mitotic_share, rng)
        placed = ground.place(plan, wanted_overlap=0.35 * line.border_shared, rng=rng)
        if placed is not None:
            plans.append(placed)
    cells = _divide_ground(ground, plans, rng)
    nuclei = _draw_nuclei(ground, plans)
    return Layout(cells, nuclei, tuple(plans))


def _draw_plan(
    line: CellLine, common: float | None, mitotic_share: float, rng: np.random.Generator
) -> CellPlan:
    """Draw a cell around the origin."""
    direction = float(rng.uniform(0, np.pi) if common is None else rng.normal(common, 0.35))
    if rng.random() < mitotic_share:
        return _draw_mitotic_plan(line, direction, rng)
    phase = str(rng.choice(["G1", "S", "G2"], p=[0.5, 0.28, 0.22]))
    area = draw_body_area(line, rng) * _GROWTH
    middle, tail = line.axis_ratio
    ratio = 1.0 + draw_excess(middle - 1.0, tail - 1.0, rng)
    ragged = min(0.4, draw_excess(1.0 - line.solidity[0], 1.0 - line.solidity[1], rng))
    size = {"G1": 0.88, "S": 1.03, "G2": 1.22}[phase]
    nucleus = line.nucleus_um2 * size * np.exp(rng.normal(0.0, 0.26))
    nucleus *= (area / (line.area_um2[1] * _GROWTH)) ** 0.3
    nucleus = float(np.clip(nucleus, 45.0, 0.52 * area))
    body = draw_body_outline(
        area, 1.0 + 0.93 * (ratio - 1.0), 0.95 * ragged, direction=direction, rng=rng
    )
    tilt = direction + rng.normal(0.0, 0.3)
    axis = min(2.2, 1.0 + 0.38 * np.exp(rng.normal(0, 0.45)) * (0.7 + 0.2 * ratio))
    offset = rng.normal(0.0, 0.16, 2) * np.sqrt(area / np.pi)
    if rng.random() < 0.03 and area > 2.8 * nucleus:
        radius = np.sqrt(nucleus * 0.6 / np.pi)
        step = (1.08 * radius * np.sin(direction), 1.08 * radius * np.cos(direction))
        nuclei = tuple(
            (
                (sign * step[0], sign * step[1]),
                draw_nucleus_outline(nucleus * 0.6, 1.15, direction=tilt + np.pi / 2, rng=rng),
            )
            for sign in (-1, 1)
        )
    else:
        nuclei = (((0.0, 0.0), draw_nucleus_outline(nucleus, axis, direction=tilt, rng=rng)),)
    return CellPlan(
        (0.0, 0.0), (float(offset[0]), float(offset[1])), body, nuclei, direction, phase
    )


_GROWTH = 1.12  # bodies lose ground to their neighbours; measured areas then match the table


def _draw_mitotic_plan(line: CellLine, direction: float, rng: np.random.Generator) -> CellPlan:
    """Draw a rounded cell whose "nucleus" is its condensed chromatin; spindle along direction."""
    area = float(np.clip(0.4 * line.area_um2[1] * np.exp(rng.normal(0, 0.15)), 130.0, 480.0))
    body = draw_body_outline(
        area, 1.0 + abs(rng.normal(0.08, 0.08)), 0.01, direction=direction, rng=rng
    )
    length = 0.62 * np.sqrt(area / np.pi) * 2
    thick = rng.uniform(2.2, 3.4)
    across = direction + np.pi / 2
    plate = length * thick * 0.785
    stage = rng.random()
    if stage < 0.25:  # anaphase: two plates
        half = rng.uniform(0.22, 0.42) * np.sqrt(area / np.pi)
        half = max(half, 0.75 * thick)
        step = (half * np.sin(direction), half * np.cos(direction))
        nuclei = tuple(
            (
                (sign * step[0], sign * step[1]),
                draw_nucleus_outline(plate * 0.7, 0.85 * length / thick, direction=across, rng=rng),
            )
            for sign in (-1, 1)
        )
    else:  # metaphase, or prometaphase with a thicker, ragged plate
        swell = 1.0 if stage < 0.75 else rng.uniform(1.5, 2.2)
        outline = draw_nucleus_outline(
            plate * swell, max(1.2, length / thick / swell), direction=across, rng=rng
        )
        nuclei = (((0.0, 0.0), outline),)
    return CellPlan((0.0, 0.0), (0.0, 0.0), body, nuclei, direction, "M")


class _Ground:
    """The wide ground while cells are being placed: what nuclei and bodies cover so far."""

    def __init__(self, side_um: float) -> None:
        self.side_um = side_um
        self.size = round(side_um / GRID_UM)
        self.nuclei = np.zeros((self.size, self.size), np.uint8)
        self.bodies = np.zeros((self.size, self.size), np.uint8)

    def place(
        self, plan: CellPlan, *, wanted_overlap: float, rng: np.random.Generator
    ) -> CellPlan | None:
        """Choose, of several free places, the one whose overlap is closest to the wanted one."""
        best: tuple[float, CellPlan] | None = None
        found = 0
        for _ in range(_TRIES):
            row, column = rng.uniform(0, self.side_um, 2)
            moved = _move(plan, float(row), float(column))
            if self._nuclei_collide(moved):
                continue
            found += 1
            overlap = self._overlap(moved)
            cost = abs(overlap - wanted_overlap)
            if best is None or cost < best[0]:
                best = (cost, moved)
            if found >= _CANDIDATES:
                break
        if best is None:
            return None
        self._mark(best[1])
        return best[1]

    def _nuclei_collide(self, plan: CellPlan) -> bool:
        for centre, outline in plan.nuclei:
            mask, (r0, c0) = self._fill(outline, centre, grow=1.12)
            if self.nuclei[r0 : r0 + mask.shape[0], c0 : c0 + mask.shape[1]][mask > 0].any():
                return True
        return False

    def _overlap(self, plan: CellPlan) -> float:
        mask, (r0, c0) = self._fill(plan.body, plan.body_um)
        under = self.bodies[r0 : r0 + mask.shape[0], c0 : c0 + mask.shape[1]]
        return float((under[mask > 0] > 0).mean()) if mask.any() else 1.0

    def _mark(self, plan: CellPlan) -> None:
        for target, parts in (
            (self.nuclei, plan.nuclei),
            (self.bodies, ((plan.body_um, plan.body),)),
        ):
            for centre, outline in parts:
                mask, (r0, c0) = self._fill(outline, centre, grow=1.12)
                target[r0 : r0 + mask.shape[0], c0 : c0 + mask.shape[1]] |= mask

    def _fill(
        self, outline: Outline, centre: tuple[float, float], *, grow: float = 1.0
    ) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
        points = np.rint(outline_points(outline, centre, scale=grow) / GRID_UM).astype(np.int32)
        points = np.clip(points, 0, self.size - 1)
        r0, c0 = points.min(axis=0)
        r1, c1 = points.max(axis=0) + 1
        mask = np.zeros((r1 - r0, c1 - c0), np.uint8)
        cv2.fillPoly(mask, [np.ascontiguousarray((points - (r0, c0))[:, ::-1])], (1,))
        return mask, (int(r0), int(c0))


def _move(plan: CellPlan, row: float, column: float) -> CellPlan:
    return CellPlan(
        (row, column),
        (plan.body_um[0] + row, plan.body_um[1] + column),
        plan.body,
        tuple(((r + row, c + column), outline) for (r, c), outline in plan.nuclei),
        plan.direction,
        plan.phase,
    )


def _draw_nuclei(ground: _Ground, plans: list[CellPlan]) -> npt.NDArray[np.int32]:
    nuclei = np.zeros((ground.size, ground.size), np.int32)
    for number, plan in enumerate(plans, start=1):
        for centre, outline in plan.nuclei:
            points = np.rint(outline_points(outline, centre) / GRID_UM).astype(np.int32)
            cv2.fillPoly(nuclei, [np.ascontiguousarray(points[:, ::-1])], (number,))
    return nuclei


def _divide_ground(
    ground: _Ground, plans: list[CellPlan], rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Give each point to the cell in whose outline it lies deepest, on slightly warped ground."""
    size = ground.size
    shape = (size, size)
    warp = [
        0.9 * smooth_noise(shape, GRID_UM, 5.0, rng=rng)
        + 0.3 * smooth_noise(shape, GRID_UM, 1.4, rng=rng)
        for _ in range(2)
    ]
    depth = np.ones(shape, np.float32)
    owner = np.zeros(shape, np.int32)
    for number, plan in enumerate(plans, start=1):
        box = _box(plan.body_um, plan.reach_um + 3.0, size)
        rows, columns = np.mgrid[box].astype(np.float32) * np.float32(GRID_UM)
        down = rows + warp[0][box] - np.float32(plan.body_um[0])
        right = columns + warp[1][box] - np.float32(plan.body_um[1])
        ratio = np.hypot(down, right) / plan.body.at(np.arctan2(down, right))
        for centre, outline in plan.nuclei:
            near_r, near_c = rows - np.float32(centre[0]), columns - np.float32(centre[1])
            radius = outline.at(np.arctan2(near_r, near_c)) + np.float32(0.7)
            within = np.hypot(near_r, near_c) / radius - 1.0
            ratio = np.where(within < 0, np.minimum(ratio, within), ratio)
        nearer = ratio < depth[box]
        depth[box][nearer] = ratio[nearer]
        owner[box][nearer] = number
    return owner


def _box(centre_um: tuple[float, float], reach_um: float, size: int) -> tuple[slice, slice]:
    spans = []
    for place in centre_um:
        low = int(np.clip((place - reach_um) / GRID_UM, 0, size - 1))
        high = int(np.clip((place + reach_um) / GRID_UM + 1, low + 1, size))
        spans.append(slice(low, high))
    return spans[0], spans[1]
