"""Filaments that find their way inside a cell: steered random walks, all of them at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.marks import draw_strokes
from hpacells.simulate.texture import FloatImage

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
    factor, maps = _what_turns(cell, gait, course)
    rows, columns = maps.shape[:2]
    place, heading = starts.astype(float).copy(), headings.astype(float).copy()
    sine, cosine = np.sin(heading), np.cos(heading)
    alive = np.ones(count, bool)
    ends = np.ones(count, int)
    track = np.empty((steps + 1, count, 2))
    track[0] = place
    bend = rng.normal(0.0, gait.curl, count)
    turns = rng.normal(0.0, gait.wobble, (steps, count))
    stride = gait.step_um / cell.pixel_um
    limits = np.array(cell.shape) - 1
    body = cell.body
    for step in range(steps):
        coarse = (place / factor).astype(int)
        down = np.minimum(np.maximum(coarse[:, 0], 0), rows - 1)
        right = np.minimum(np.maximum(coarse[:, 1], 0), columns - 1)
        push = maps[down, right]
        heading = np.arctan2(sine + push[:, 0], cosine + push[:, 1])
        heading += turns[step]
        heading += bend
        if course is not None:
            heading += gait.align * np.sin(2 * (push[:, 2] - heading))
        sine, cosine = np.sin(heading), np.cos(heading)
        track[step + 1, :, 0] = place[:, 0] + stride * sine
        track[step + 1, :, 1] = place[:, 1] + stride * cosine
        place = track[step + 1]
        nearest = np.minimum(np.maximum(np.rint(place).astype(int), 0), limits)
        alive &= body[nearest[:, 0], nearest[:, 1]]
        alive &= (step + 1) * gait.step_um <= lengths_um
        ends[alive] = step + 2
        if not alive.any():
            break
    return [track[: ends[i], i] for i in range(count)]


def _what_turns(
    cell: CellAnatomy, gait: Gait, course: npt.NDArray[np.float32] | None
) -> tuple[float, npt.NDArray[np.float32]]:
    """Give, on the grid of ``cell.steering``, what is added to headings, and the course: (h, w, 3).

    The first two are along rows and columns: away from the edge, away from the nucleus.
    """
    factor, edge, depth = cell.steering
    maps = np.zeros((*edge.shape[1:], 3), np.float32)
    push = 2 * gait.edge_turn * np.clip((1.6 - edge[0]) / 1.6, 0, 1)
    shove = 2 * gait.nucleus_turn * np.clip((depth[0] + 0.6) / 0.8, 0, 1)
    maps[..., 0] = push * edge[1] - shove * depth[1]
    maps[..., 1] = push * edge[2] - shove * depth[2]
    if course is not None:
        maps[..., 2] = course
    return factor, maps


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
    image *= cell.body
    return image
