"""From the layout's grid to single cells at the pixel size of the field."""

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from hpacells.core.masks import largest_part
from hpacells.simulate.anatomy import BoolImage, CellAnatomy, distance_um
from hpacells.simulate.layout import GRID_UM, MARGIN_UM, Layout
from hpacells.simulate.organs import draw_nucleoli, find_centrosome
from hpacells.simulate.plans import CellPlan
from hpacells.simulate.texture import FloatImage, from_coarse, smoothstep

__all__ = ["build_anatomies"]

_PAD_UM = 2.4
_SMOOTHING_UM = 0.3
_SMALLEST_UM2 = 12.0
_COARSE_UM = 0.17

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
        np.copyto(owner[view], number, where=soft > best[view])
        np.maximum(best[view], soft, out=best[view])
    for number, box in boxes.items():
        _drop_specks(owner[box[0] : box[2], box[1] : box[3]], number, pixel_um)
    anatomies = []
    cores = dict(enumerate(find_objects(layout.nuclei), start=1))
    for number, box in boxes.items():
        nucleus = _nucleus_within(box, cores.get(number), layout.nuclei, number, pixel_um=pixel_um)
        cut = owner[box[0] : box[2], box[1] : box[3]]
        anatomy = _dissect(
            number,
            (box[0] - wide, box[1] - wide, box[2] - wide, box[3] - wide),
            cut,
            nucleus=nucleus,
            plan=layout.plans[number - 1],
            pixel_um=pixel_um,
            seed=(*seed, number),
        )
        if anatomy is not None:
            anatomies.append(anatomy)
    return anatomies


def _drop_specks(owner: npt.NDArray[np.int32], number: int, pixel_um: float) -> None:
    """Take from a cell, in place, the parts that its neighbours cut off, or all of a tiny one."""
    whole = owner == number
    body = largest_part(whole)
    if cv2.countNonZero(body.view(np.uint8)) * pixel_um**2 < _SMALLEST_UM2:
        owner[whole] = 0
    elif body is not whole:
        owner[whole & ~body] = 0


def _nucleus_within(
    box: Box,
    slices: tuple[slice, slice] | None,
    ids: npt.NDArray[np.int32],
    number: int,
    *,
    pixel_um: float,
) -> BoolImage:
    """Bring a cell's nucleus to pixels on the cell's box; only the part around it is worked on."""
    nucleus = np.zeros((box[2] - box[0], box[3] - box[1]), bool)
    if slices is None:
        return nucleus
    near = _pixel_box(slices, pixel_um, max(box[2:]))
    r0, c0 = max(near[0], box[0]), max(near[1], box[1])
    r1, c1 = min(near[2], box[2]), min(near[3], box[3])
    if r1 > r0 and c1 > c0:
        soft = _resample(ids, number, box=(r0, c0, r1, c1), pixel_um=pixel_um)
        nucleus[r0 - box[0] : r1 - box[0], c0 - box[1] : c1 - box[1]] = soft > 0.5
    return nucleus


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
    seed: tuple[int, ...],
) -> CellAnatomy | None:
    """Decide where the structures of one cell are; None when its neighbours left nothing."""
    body = owner == number
    if not body.any():
        return None
    nucleus = nucleus & body
    rng = np.random.default_rng(seed)
    centrosome, poles = find_centrosome(body, nucleus, plan, pixel_um=pixel_um, rng=rng)
    centres, radii, nucleoli = draw_nucleoli(nucleus, plan, pixel_um=pixel_um, rng=rng)
    return CellAnatomy(
        number=number,
        box=box,
        pixel_um=pixel_um,
        body=body,
        nucleus=nucleus,
        contact=_find_contact(owner, number, pixel_um),
        direction=plan.direction,
        phase=plan.phase,
        dna_content=plan.dna_content,
        centrosome=centrosome,
        poles=poles,
        nucleoli=nucleoli,
        nucleolus_centres=centres,
        nucleolus_radii_um=radii,
        seed=seed,
    )


def _find_contact(owner: npt.NDArray[np.int32], number: int, pixel_um: float) -> FloatImage:
    """Give 1 beside another cell, falling to 0 at 1 µm; distances on a coarse grid."""
    step = max(1, int(_COARSE_UM / pixel_um))
    coarse = owner[::step, ::step]
    others = (coarse != 0) & (coarse != number)
    if not others.any():
        return np.zeros(owner.shape, np.float32)
    gap = distance_um(~others, pixel_um * step)
    return from_coarse(1 - smoothstep(gap, 0.2, 1.0), step, (owner.shape[0], owner.shape[1]))
