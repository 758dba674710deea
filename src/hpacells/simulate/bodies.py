"""From the layout's grid to single cells at the pixel size of the field."""

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from hpacells.core.masks import largest_part
from hpacells.simulate.anatomy import BoolImage, CellAnatomy, distance_um
from hpacells.simulate.layout import GRID_UM, MARGIN_UM, CellPlan, Layout
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep

__all__ = ["build_anatomies"]

_PAD_UM = 2.4
_SMOOTHING_UM = 0.3
_SMALLEST_UM2 = 12.0

Box = tuple[int, int, int, int]


def build_anatomies(
    layout: Layout, *, side_px: int, pixel_um: float, seed: tuple[int, ...]
) -> list[CellAnatomy]:
    """Bring the cells that the frame shows to the field's pixel size.

    Parameters
    ----------
    layout
        Cells of the wide ground.
    side_px, pixel_um
        Of the frame.
    seed
        Start of every cell's own seed; the cell's number is added.

    Returns
    -------
    list of CellAnatomy
        In the order of the layout; bodies and nuclei don't overlap.
    """
    wide = round(MARGIN_UM / pixel_um)
    extent = side_px + 2 * wide
    best = np.full((extent, extent), 0.5, np.float32)
    owner = np.zeros((extent, extent), np.int32)
    boxes: dict[int, Box] = {}
    for number, slices in enumerate(find_objects(layout.cells), start=1):
        box = None if slices is None else _pixel_box(slices, pixel_um, extent)
        if box is None or min(box[2:]) <= wide or max(box[:2]) >= wide + side_px:
            continue
        boxes[number] = box
        soft = _resample(layout.cells, number, box=box, pixel_um=pixel_um)
        view = np.s_[box[0] : box[2], box[1] : box[3]]
        wins = soft > best[view]
        best[view][wins] = soft[wins]
        owner[view][wins] = number
    anatomies = []
    for number, box in boxes.items():
        nucleus = _resample(layout.nuclei, number, box=box, pixel_um=pixel_um) > 0.5
        cut = owner[box[0] : box[2], box[1] : box[3]]
        anatomy = _dissect(
            number,
            (box[0] - wide, box[1] - wide, box[2] - wide, box[3] - wide),
            cut,
            nucleus=nucleus,
            plan=layout.plans[number - 1],
            pixel_um=pixel_um,
            rng=np.random.default_rng([*seed, number]),
        )
        if anatomy is not None:
            anatomies.append(anatomy)
    return anatomies


def _pixel_box(slices: tuple[slice, slice], pixel_um: float, extent: int) -> Box:
    rows, columns = slices
    low = [int((s.start * GRID_UM - _PAD_UM) / pixel_um) for s in (rows, columns)]
    high = [int((s.stop * GRID_UM + _PAD_UM) / pixel_um) + 1 for s in (rows, columns)]
    r0, c0 = (max(0, v) for v in low)
    r1, c1 = (min(extent, v) for v in high)
    return r0, c0, r1, c1


def _resample(ids: npt.NDArray[np.int32], number: int, *, box: Box, pixel_um: float) -> FloatImage:
    """Bring one id of a grid image to pixels, smoothed, 0-1 on the box."""
    edge = round(2 * _PAD_UM / GRID_UM)
    r0, c0 = (max(0, int(v * pixel_um / GRID_UM) - edge) for v in box[:2])
    r1, c1 = (int(v * pixel_um / GRID_UM) + edge for v in box[2:])
    part = (ids[r0:r1, c0:c1] == number).astype(np.float32)
    part = cv2.GaussianBlur(part, (0, 0), _SMOOTHING_UM / GRID_UM)
    scale = GRID_UM / pixel_um
    matrix = np.array(
        [
            [scale, 0, (c0 + 0.5) * scale - 0.5 - box[1]],
            [0, scale, (r0 + 0.5) * scale - 0.5 - box[0]],
        ]
    )
    size = (box[3] - box[1], box[2] - box[0])
    return cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32, copy=False)


def _dissect(
    number: int,
    box: Box,
    owner: npt.NDArray[np.int32],
    *,
    nucleus: BoolImage,
    plan: CellPlan,
    pixel_um: float,
    rng: np.random.Generator,
) -> CellAnatomy | None:
    """Decide where the structures of one cell are; None for a speck."""
    body = largest_part(owner == number)
    if body.sum() * pixel_um**2 < _SMALLEST_UM2:
        return None
    nucleus = nucleus & body
    others = (owner != 0) & (owner != number)
    gap = distance_um(~others, pixel_um)
    centrosome, poles = _find_centrosome(body, nucleus, plan, pixel_um=pixel_um, rng=rng)
    centres, radii, nucleoli = _draw_nucleoli(nucleus, plan, pixel_um=pixel_um, rng=rng)
    return CellAnatomy(
        number=number,
        box=box,
        pixel_um=pixel_um,
        body=body,
        nucleus=nucleus,
        contact=1 - smoothstep(gap, 0.2, 1.0),
        direction=plan.direction,
        phase=plan.phase,
        centrosome=centrosome,
        poles=poles,
        nucleoli=nucleoli,
        nucleolus_centres=centres,
        nucleolus_radii_um=radii,
    )


def _find_centrosome(
    body: BoolImage,
    nucleus: BoolImage,
    plan: CellPlan,
    *,
    pixel_um: float,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Put the centrosome beside the nucleus, on the side with more cytoplasm; poles in mitosis."""
    inside = nucleus if nucleus.any() else body
    centre = np.array([axis.mean() for axis in np.nonzero(inside)])
    along = np.array([np.sin(plan.direction), np.cos(plan.direction)])
    if plan.phase == "M":
        half = rng.uniform(0.50, 0.62) * np.sqrt(body.sum() / np.pi)
        poles = np.stack([centre - half * along, centre + half * along])
        return poles[0], poles
    mass = np.array([axis.mean() for axis in np.nonzero(body)])
    away = distance_um(~nucleus, pixel_um)
    ring = body & (away > 0.5) & (away < 2.6)
    rows, columns = np.nonzero(ring if ring.any() else body)
    toward = (rows - centre[0]) * (mass - centre)[0] + (columns - centre[1]) * (mass - centre)[1]
    toward /= np.hypot(rows - centre[0], columns - centre[1]) * np.hypot(*(mass - centre)) + 1e-6
    depth = distance_um(body, pixel_um)[rows, columns]
    chance = np.exp(1.6 * toward) * np.clip(depth, 0.05, 4.0)
    chosen = int(rng.choice(len(rows), p=chance / chance.sum()))
    return np.array([rows[chosen], columns[chosen]], float), np.zeros((0, 2))


def _draw_nucleoli(
    nucleus: BoolImage, plan: CellPlan, *, pixel_um: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], FloatImage]:
    """Draw one to six irregular nucleoli; none in mitosis."""
    image = np.zeros(nucleus.shape, np.float32)
    area_um2 = float(nucleus.sum()) * pixel_um**2
    if plan.phase == "M" or area_um2 < 15.0:
        return np.zeros((0, 2)), np.zeros(0), image
    rows, columns = np.nonzero(nucleus)
    corner = np.array([rows.min(), columns.min()])
    view = np.s_[corner[0] : rows.max() + 1, corner[1] : columns.max() + 1]
    within = np.ascontiguousarray(nucleus[view])
    depth = distance_um(np.pad(within, 1), pixel_um)[1:-1, 1:-1]
    count = 1 + int(rng.poisson(1.9))
    sizes = rng.dirichlet(np.full(count, 3.0)) * rng.uniform(0.05, 0.13) * area_um2
    grid = np.indices(within.shape, dtype=np.float32) * np.float32(pixel_um)
    level = np.full(within.shape, -9.0, np.float32)
    centres, radii = [], []
    for size in np.sort(sizes)[::-1]:
        radius = float(np.clip(np.sqrt(size / np.pi), 0.5, 2.6))
        places = np.flatnonzero((depth > radius + 0.3) & (level < -0.6 * radius))
        if places.size == 0:
            continue
        place = np.unravel_index(places[int(rng.integers(places.size))], within.shape)
        stretch, turn = rng.uniform(1.0, 1.5), rng.uniform(0, np.pi)
        down, right = grid[0] - grid[0][place], grid[1] - grid[1][place]
        main = down * np.sin(turn) + right * np.cos(turn)
        side = right * np.sin(turn) - down * np.cos(turn)
        reach = np.hypot(main / np.sqrt(stretch), side * np.sqrt(stretch))
        level = np.maximum(level, np.float32(radius) - reach.astype(np.float32))
        centres.append(corner + np.array(place, float))
        radii.append(radius)
    level += np.float32(0.22) * smooth_noise(within.shape, pixel_um, 1.1, rng=rng)
    image[view] = smoothstep(level, -0.1, 0.12) * within
    return np.array(centres).reshape(-1, 2), np.array(radii), image
