"""Filaments that find their way inside a cell: steered random walks, all of them at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.texture import FloatImage, draw_strokes

__all__ = ["Gait", "draw_filaments", "grow_paths"]

_LONGEST_STEPS = 90


@dataclass(frozen=True)
class Gait:
    """How a filament walks.

    Parameters
    ----------
    step_um
        Length of a straight piece.
    wobble
        Standard deviation of the turn at each step, in radians.
    edge_turn
        How strongly it turns away from the cell's edge (0: it ends there).
    nucleus_turn
        How strongly it turns away from the nucleus (0: it passes over it).
    curl
        Standard deviation between filaments of a constant turn per step, in radians.
    align
        How strongly it turns, at each step, into the course that its place asks for.
    """

    step_um: float = 0.8
    wobble: float = 0.18
    edge_turn: float = 1.0
    nucleus_turn: float = 1.5
    curl: float = 0.03
    align: float = 0.0


def grow_paths(
    cell: CellAnatomy,
    starts: npt.NDArray[np.float64],
    headings: npt.NDArray[np.float64],
    *,
    lengths_um: npt.NDArray[np.float64],
    gait: Gait,
    rng: np.random.Generator,
    course: npt.NDArray[np.float32] | None = None,
) -> list[npt.NDArray[np.float64]]:
    """Grow one path from each start.

    Parameters
    ----------
    cell
        Its body bounds the paths.
    starts
        ``(n, 2)`` row and column in pixels of the box.
    headings
        ``(n,)`` first direction in radians (rows grow with the sine).
    lengths_um
        ``(n,)`` length unless the path leaves the body before.
    gait
        Manner of walking.
    rng
        Source of the turns.
    course
        On the grid of ``cell.steering``, radians: the direction, or its opposite, that paths of a
        place share; used where ``gait.align`` is set.

    Returns
    -------
    list of ndarray
        ``(k, 2)`` float64 each, k ≥ 1.
    """
    count = len(starts)
    if count == 0:
        return []
    steps = int(min(_LONGEST_STEPS, np.ceil(lengths_um.max() / gait.step_um)))
    factor, edge, depth = cell.steering
    place, heading = starts.astype(float).copy(), headings.astype(float).copy()
    alive = np.ones(count, bool)
    ends = np.ones(count, int)
    track = np.empty((steps + 1, count, 2))
    track[0] = place
    bend = rng.normal(0.0, gait.curl, count)
    turns = rng.normal(0.0, gait.wobble, (steps, count))
    stride = gait.step_um / cell.pixel_um
    limits = np.array(cell.shape) - 1
    for step in range(steps):
        coarse = np.clip((place / factor).astype(int), 0, np.array(edge.shape[1:]) - 1)
        near = edge[:, coarse[:, 0], coarse[:, 1]]
        inner = depth[:, coarse[:, 0], coarse[:, 1]]
        push = gait.edge_turn * np.clip((1.6 - near[0]) / 1.6, 0, 1)
        shove = gait.nucleus_turn * np.clip((inner[0] + 0.6) / 0.8, 0, 1)
        down = np.sin(heading) + push * near[1] * 2 - shove * inner[1] * 2
        right = np.cos(heading) + push * near[2] * 2 - shove * inner[2] * 2
        heading = np.arctan2(down, right) + turns[step] + bend
        if course is not None:
            heading += gait.align * np.sin(2 * (course[coarse[:, 0], coarse[:, 1]] - heading))
        place = place + stride * np.stack([np.sin(heading), np.cos(heading)], axis=1)
        nearest = np.clip(np.rint(place).astype(int), 0, limits)
        alive &= cell.body[nearest[:, 0], nearest[:, 1]]
        alive &= (step + 1) * gait.step_um <= lengths_um
        track[step + 1] = place
        ends[alive] = step + 2
        if not alive.any():
            break
    return [track[: ends[i], i] for i in range(count)]


def draw_filaments(
    cell: CellAnatomy,
    paths: list[npt.NDArray[np.float64]],
    *,
    width_um: float,
    rng: np.random.Generator,
    contrast: float = 0.35,
) -> FloatImage:
    """Draw paths with brightness scattered by ``contrast``, cut at the body."""
    levels = np.clip(np.exp(rng.normal(-0.7, contrast, len(paths))), 0.05, 1.0)
    image = draw_strokes(
        cell.shape, paths, levels=levels, width_um=width_um, pixel_um=cell.pixel_um
    )
    return image * cell.body
