"""The wide ground while cells are being placed: what nuclei and bodies cover so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.outline import Outline
from hpacells.simulate.plans import CellPlan, moved

__all__ = ["Ground"]

_PLACE_UM = 0.64
_CANDIDATES = 9
_TRIES = 60
_GOOD_ENOUGH = 0.015
_NUCLEUS_GAP_UM = 0.7
_BODY_GAP_UM = 1.3

Mask = npt.NDArray[np.uint8]
_View = tuple[slice, slice]


@dataclass(frozen=True)
class _Shape:
    """What one cell covers, on a grid around its origin."""

    nuclei: tuple[tuple[Mask, int, int], ...]
    body: tuple[Mask, int, int]
    wide_body: tuple[Mask, int, int]

    @property
    def reach(self) -> int:
        """Rows or columns that the shape may stick out of the ground by."""
        mask, row, column = self.wide_body
        return max(-row, -column, row + mask.shape[0], column + mask.shape[1])


class Ground:
    """A square on which cells find their places, one after another.

    Parameters
    ----------
    side_um
        Side of the square.

    Attributes
    ----------
    plans
        The cells that have found a place, in order.
    """

    def __init__(self, side_um: float) -> None:
        self.side_um = side_um
        self.plans: list[CellPlan] = []
        self._pad = 64
        size = int(np.ceil(side_um / _PLACE_UM)) + 2 * self._pad
        self._nuclei = np.zeros((size, size), np.uint8)
        self._bodies = np.zeros((size, size), np.uint8)

    def place(
        self, family: Sequence[CellPlan], *, wanted_overlap: float, rng: np.random.Generator
    ) -> bool:
        """Put cells that belong together at the best of several free places.

        Parameters
        ----------
        family
            Cells around the origin, mostly one.
        wanted_overlap
            Share of them that other bodies should cover; 0 asks for a place apart.
        rng
            Source of the places tried.

        Returns
        -------
        bool
            False when no place was free; the cells are left out.
        """
        shapes = [_shape_of(plan) for plan in family]
        self._widen(max(shape.reach for shape in shapes) + 2)
        best: tuple[float, float, float] | None = None
        found = 0
        for _ in range(_TRIES):
            row, column = self._propose(family[0], wanted_overlap, rng)
            if not (0.0 <= row < self.side_um and 0.0 <= column < self.side_um):
                continue
            at = self._pad + round(row / _PLACE_UM), self._pad + round(column / _PLACE_UM)
            if any(_covered(self._nuclei, part, at) for s in shapes for part in s.nuclei):
                continue
            found += 1
            cost = max(self._cost(shape, at, wanted_overlap) for shape in shapes)
            if best is None or cost < best[0]:
                best = (cost, row, column)
            if found >= _CANDIDATES or cost < _GOOD_ENOUGH:
                break
        if best is None:
            return False
        _, row, column = best
        at = self._pad + round(row / _PLACE_UM), self._pad + round(column / _PLACE_UM)
        for plan, shape in zip(family, shapes, strict=True):
            self.plans.append(moved(plan, row, column))
            for part in shape.nuclei:
                self._nuclei[_view(part, at)] |= part[0]
            own = shape.wide_body if plan.phase != "M" else shape.body
            self._bodies[_view(own, at)] |= own[0]
        return True

    def _cost(self, shape: _Shape, at: tuple[int, int], wanted_overlap: float) -> float:
        """Say how far the overlap is from the wanted one; nuclei under bodies cost more."""
        area = cv2.countNonZero(shape.body[0])
        nuclei = sum(cv2.countNonZero(part[0]) for part in shape.nuclei)
        cost = abs(_covered(self._bodies, shape.body, at) / area - wanted_overlap)
        cost += 2.0 * _covered(self._nuclei, shape.body, at) / area
        hidden = sum(_covered(self._bodies, part, at) for part in shape.nuclei)
        return cost + hidden / max(1, nuclei)

    def _propose(
        self, plan: CellPlan, wanted_overlap: float, rng: np.random.Generator
    ) -> tuple[float, float]:
        """Propose a place: beside a cell that stands already, or anywhere."""
        if wanted_overlap <= 0.0 or not self.plans:
            row, column = rng.uniform(0.0, self.side_um, 2)
            return float(row), float(column)
        other = self.plans[int(rng.integers(len(self.plans)))]
        turn = float(rng.uniform(0, 2 * np.pi))
        reach = plan.body.radius_toward(turn + np.pi) + other.body.radius_toward(turn)
        away = reach * float(rng.uniform(0.72, 1.0))
        row = other.body_um[0] + away * np.sin(turn) - plan.body_um[0]
        column = other.body_um[1] + away * np.cos(turn) - plan.body_um[1]
        return float(row), float(column)

    def _widen(self, pad: int) -> None:
        """Make the rim around the ground wide enough for a long cell."""
        if pad <= self._pad:
            return
        more = pad - self._pad
        self._nuclei = np.pad(self._nuclei, more)
        self._bodies = np.pad(self._bodies, more)
        self._pad = pad


def _shape_of(plan: CellPlan) -> _Shape:
    return _Shape(
        tuple(_fill(outline, place, grow_um=_NUCLEUS_GAP_UM) for place, outline in plan.nuclei),
        _fill(plan.body, plan.body_um),
        _fill(plan.body, plan.body_um, grow_um=_BODY_GAP_UM),
    )


def _fill(
    outline: Outline, place_um: tuple[float, float], *, grow_um: float = 0.0
) -> tuple[Mask, int, int]:
    points = np.rint(outline.points(place_um, grow_um=grow_um) / _PLACE_UM).astype(np.int32)
    r0, c0 = points.min(axis=0)
    r1, c1 = points.max(axis=0) + 1
    mask = np.zeros((r1 - r0, c1 - c0), np.uint8)
    cv2.fillPoly(mask, [np.ascontiguousarray((points - (r0, c0))[:, ::-1])], (1,))
    return mask, int(r0), int(c0)


def _view(part: tuple[Mask, int, int], at: tuple[int, int]) -> _View:
    mask, row, column = part
    r0, c0 = at[0] + row, at[1] + column
    return slice(r0, r0 + mask.shape[0]), slice(c0, c0 + mask.shape[1])


def _covered(ground: Mask, part: tuple[Mask, int, int], at: tuple[int, int]) -> int:
    return cv2.countNonZero(cv2.bitwise_and(ground[_view(part, at)], part[0]))
