"""Structures inside one cell that every pattern agrees on: centrosome, poles, nucleoli.

Places are searched on a grid of about 0.17 µm, whatever the pixel size.
"""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.anatomy import BoolImage, distance_um
from hpacells.simulate.plans import CellPlan
from hpacells.simulate.texture import FloatImage, from_coarse, smooth_noise, smoothstep

__all__ = ["draw_nucleoli", "find_centrosome"]

_COARSE_UM = 0.17
_SMALLEST_NUCLEUS_UM2 = 15.0

Places = npt.NDArray[np.float64]


def find_centrosome(
    body: BoolImage,
    nucleus: BoolImage,
    plan: CellPlan,
    *,
    pixel_um: float,
    rng: np.random.Generator,
) -> tuple[Places, Places]:
    """Put the centrosome beside the nucleus, on the side with more cytoplasm.

    Parameters
    ----------
    body, nucleus
        ``(h, w)`` bool.
    plan
        Phase, direction of the spindle and distance of its poles.
    pixel_um
        µm per pixel.
    rng
        Source of the place.

    Returns
    -------
    centrosome, poles
        ``(2,)`` and ``(0 or 2, 2)`` row and column in pixels; two poles in mitosis, the first of
        which is the centrosome.
    """
    step = max(1, int(_COARSE_UM / pixel_um))
    body, nucleus = body[::step, ::step], nucleus[::step, ::step]
    grid_um = pixel_um * step
    centre = _middle(nucleus if nucleus.any() else body)
    if plan.phase == "M":
        along = np.array([np.sin(plan.direction), np.cos(plan.direction)])
        half = plan.pole_um / grid_um
        poles = np.stack([centre - half * along, centre + half * along]) * step
        return poles[0], poles
    mass = _middle(body)
    away = distance_um(~nucleus, grid_um)
    ring = body & (away > 0.5) & (away < 2.6)
    rows, columns = np.nonzero(ring if ring.any() else body)
    toward = (rows - centre[0]) * (mass - centre)[0] + (columns - centre[1]) * (mass - centre)[1]
    toward /= np.hypot(rows - centre[0], columns - centre[1]) * np.hypot(*(mass - centre)) + 1e-6
    depth = distance_um(body, grid_um)[rows, columns]
    chance = np.exp(1.6 * toward) * np.clip(depth, 0.05, 4.0)
    chosen = int(rng.choice(len(rows), p=chance / chance.sum()))
    return step * np.array([rows[chosen], columns[chosen]], float), np.zeros((0, 2))


def _middle(mask: BoolImage) -> Places:
    moments = cv2.moments(np.ascontiguousarray(mask).view(np.uint8), binaryImage=True)
    return np.array([moments["m01"], moments["m10"]]) / moments["m00"]


def draw_nucleoli(
    nucleus: BoolImage, plan: CellPlan, *, pixel_um: float, rng: np.random.Generator
) -> tuple[Places, Places, FloatImage]:
    """Draw irregular nucleoli; none in mitosis.

    Parameters
    ----------
    nucleus
        ``(h, w)`` bool; micronuclei stay empty.
    plan
        For its phase.
    pixel_um
        µm per pixel.
    rng
        Source of their number, sizes and places.

    Returns
    -------
    centres, radii_um, image
        ``(n, 2)`` in pixels, ``(n,)``, and ``(h, w)`` float32 0-1. Their number is 1 plus a
        Poisson number of mean 1.9, less those that find no room.
    """
    image = np.zeros(nucleus.shape, np.float32)
    area_um2 = cv2.countNonZero(nucleus.view(np.uint8)) * pixel_um**2
    if plan.phase == "M" or area_um2 < _SMALLEST_NUCLEUS_UM2:
        return np.zeros((0, 2)), np.zeros(0), image
    column, row, width, height = cv2.boundingRect(nucleus.view(np.uint8))
    view = np.s_[row : row + height, column : column + width]
    step = max(1, int(_COARSE_UM / pixel_um))
    coarse = np.ascontiguousarray(nucleus[view][::step, ::step])
    centres, radii, level = _grow_nucleoli(coarse, area_um2, grid_um=pixel_um * step, rng=rng)
    level = from_coarse(level, step, (height, width))
    image[view] = smoothstep(level, -0.1, 0.12) * nucleus[view]
    return np.array([row, column]) + step * centres, radii, image


def _grow_nucleoli(
    within: BoolImage, area_um2: float, *, grid_um: float, rng: np.random.Generator
) -> tuple[Places, Places, FloatImage]:
    """Place nucleoli where they fit; the level is above 0 inside them, in µm."""
    depth = distance_um(np.pad(within, 1), grid_um)[1:-1, 1:-1]
    count = 1 + int(rng.poisson(1.9))
    sizes = rng.dirichlet(np.full(count, 3.0)) * rng.uniform(0.04, 0.12) * area_um2
    down_um, right_um = (
        axis * np.float32(grid_um) for axis in np.ogrid[: within.shape[0], : within.shape[1]]
    )
    level = np.full(within.shape, -9.0, np.float32)
    centres, radii = [], []
    for size in np.sort(sizes)[::-1]:
        radius = float(np.clip(np.sqrt(size / np.pi), 0.5, 2.6))
        places = np.flatnonzero((depth > radius + 0.3) & (level < -0.6 * radius))
        if places.size == 0:
            continue
        inner = np.square(depth.ravel()[places].astype(np.float64))  # seldom at the rim
        place = np.unravel_index(rng.choice(places, p=inner / inner.sum()), within.shape)
        stretch, turn = float(rng.uniform(1.0, 1.5)), float(rng.uniform(0, np.pi))
        down, right = down_um - place[0] * grid_um, right_um - place[1] * grid_um
        main = down * np.sin(turn) + right * np.cos(turn)
        side = right * np.sin(turn) - down * np.cos(turn)
        reach = np.hypot(main / np.sqrt(stretch), side * np.sqrt(stretch))
        level = np.maximum(level, np.float32(radius) - reach.astype(np.float32))
        centres.append(place)
        radii.append(radius)
    level += np.float32(0.22) * smooth_noise(within.shape, grid_um, 1.1, rng=rng)
    return np.array(centres, float).reshape(-1, 2), np.array(radii), level
