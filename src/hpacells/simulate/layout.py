"""Where cells stand and which ground each one covers, on a fixed grid in µm.

The ground is wider than the frame, so that the cells which the frame cuts are as natural as the
others. The grid has its own pixel, so that a field looks alike at any pixel size.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ConfigError
from hpacells.simulate.cell_lines import CellLine
from hpacells.simulate.ground import Ground
from hpacells.simulate.mitosis import draw_mitotic_plan
from hpacells.simulate.outline import Outline
from hpacells.simulate.plans import CellPlan, draw_interphase_plan, draw_sister_plans
from hpacells.simulate.texture import smooth_noise

__all__ = ["GRID_UM", "MARGIN_UM", "Layout", "crowd_at", "draw_layout"]

GRID_UM = 0.24
MARGIN_UM = 32.0
_SIDE_LIMITS_UM = (5.0, 800.0)
_LARGEST_NUCLEAR_COVER = 0.45  # discs dropped at random on free ground jam at 0.547
_LARGEST_COVER = 1.0
_CROWD_SPREAD = 0.42
_SISTERS = 0.015
_REFUSALS = 25  # cells in a row that find no place: then the ground is full
_FILLED_GAP_UM = 1.6
_FAR = 9.0

IdImage = npt.NDArray[np.int32]


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

    cells: IdImage
    nuclei: IdImage
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
        As many cells as the line's density asks for, fewer only on ground that is full. Nuclei
        never overlap; a body owns the points that lie deepest in it.

    Raises
    ------
    ConfigError
        When the side or the share is out of its limits, or the line's density leaves its nuclei
        no room.
    """
    _check(line, side_um, mitotic_share)
    ground_um = side_um + 2 * MARGIN_UM
    crowd = crowd_at(line, float(rng.standard_normal()))
    count = max(1, int(rng.poisson(line.density_per_1e4um2 * crowd * ground_um**2 / 1e4)))
    ground = Ground(ground_um)
    common = rng.uniform(0, np.pi) if line.axis_ratio[0] > 1.7 and rng.random() < 0.4 else None
    left, refused = count, 0
    while left > 0 and refused < _REFUSALS:
        direction = float(rng.uniform(0, np.pi) if common is None else rng.normal(common, 0.4))
        family = _draw_family(line, direction, mitotic_share, rng)[:left]
        wanted = 0.0
        if rng.random() < line.tuning.cling:
            wanted = line.tuning.overlap * float(rng.uniform(0.4, 1.6))
        if ground.place(family, wanted_overlap=wanted, rng=rng):
            left, refused = left - len(family), 0
        else:
            refused += 1
    size = round(ground_um / GRID_UM)
    cells = _divide_ground(line, size, ground.plans, rng)
    return Layout(cells, _draw_nuclei(size, ground.plans), tuple(ground.plans))


def _check(line: CellLine, side_um: float, mitotic_share: float) -> None:
    low, high = _SIDE_LIMITS_UM
    if not low <= side_um <= high:
        raise ConfigError(f"Side of a field: expected {low:g}-{high:g} µm, got {side_um:g} µm.")
    if not 0.0 <= mitotic_share <= 1.0:
        raise ConfigError(f"Share of mitotic cells: expected 0-1, got {mitotic_share:g}.")
    densest = _LARGEST_NUCLEAR_COVER * 1e4 / line.nucleus_um2
    if not 0.0 < line.density_per_1e4um2 <= densest:
        raise ConfigError(
            f"{line.name}: expected more than 0 and at most {densest:.1f} cells per 10⁴ µm², as "
            f"nuclei of {line.nucleus_um2:g} µm² find no room beyond; "
            f"got {line.density_per_1e4um2:g}."
        )


def crowd_at(line: CellLine, z: float) -> float:
    """Give a field's density relative to its line's: from scattered cells to a full sheet.

    Parameters
    ----------
    line
        Its cover limits how full a field can be.
    z
        Place on the standard normal.
    """
    crowd = float(np.exp(_CROWD_SPREAD * z - 0.5 * _CROWD_SPREAD**2))
    fullest = _LARGEST_COVER / line.covered
    return float(np.clip(line.tuning.crowd * crowd, 0.15, max(1.1, fullest)))


def _draw_family(
    line: CellLine, direction: float, mitotic_share: float, rng: np.random.Generator
) -> tuple[CellPlan, ...]:
    """Draw a cell around the origin, or the two that a division has just left."""
    if rng.random() < mitotic_share:
        return (draw_mitotic_plan(line, direction, rng),)
    if mitotic_share > 0.0 and rng.random() < _SISTERS:
        return draw_sister_plans(line, direction, rng)
    return (draw_interphase_plan(line, direction, rng),)


def _draw_nuclei(size: int, plans: list[CellPlan]) -> IdImage:
    nuclei = np.zeros((size, size), np.int32)
    for number, plan in enumerate(plans, start=1):
        for centre, outline in plan.nuclei:
            points = np.rint(outline.points(centre, grow_um=-0.5 * GRID_UM) / GRID_UM).astype(
                np.int32
            )
            cv2.fillPoly(nuclei, [np.ascontiguousarray(points[:, ::-1])], (number,))
    return nuclei


def _divide_ground(
    line: CellLine, size: int, plans: list[CellPlan], rng: np.random.Generator
) -> IdImage:
    """Give each point to the cell in whose outline it lies deepest, on slightly warped ground.

    Two cells that meet either touch, and then share a crevice between them too, or keep apart.
    """
    shape = (size, size)
    warp = [
        0.6 * smooth_noise(shape, GRID_UM, 6.0, rng=rng)
        + 0.09 * smooth_noise(shape, GRID_UM, 1.6, rng=rng)
        for _ in range(2)
    ]
    depth = np.full(shape, _FAR, np.float32)
    next_depth = np.full(shape, _FAR, np.float32)
    owner, next_owner = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for number, plan in enumerate(plans, start=1):
        box = _box(plan.body_um, plan.body.reach_um + 3.0, size)
        ratio = _depth_in_cell(plan, box, (warp[0][box], warp[1][box]))
        first, second = depth[box], next_depth[box]
        nearer = ratio < first
        later = ~nearer & (ratio < second)
        np.copyto(second, first, where=nearer)
        np.copyto(next_owner[box], owner[box], where=nearer)
        np.copyto(second, ratio, where=later)
        np.copyto(next_owner[box], np.int32(number), where=later)
        np.copyto(first, ratio, where=nearer)
        np.copyto(owner[box], np.int32(number), where=nearer)
    radii = np.array([1.0, *(np.sqrt(plan.body.area_um2 / np.pi) for plan in plans)], np.float32)
    gap = _gaps_um(line, len(plans), rng)
    met = next_owner > 0
    apart = np.zeros(shape, np.float32)
    apart[met] = gap[owner[met], next_owner[met]]
    owner[(depth > 1.0) & ~(met & (apart == 0.0))] = 0
    from_contact_um = 0.5 * (np.minimum(next_depth, 2.0) - depth) * radii[owner]
    owner[(depth > 0.0) & (from_contact_um < 0.5 * apart)] = 0
    return owner


def _gaps_um(line: CellLine, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw how far each two cells stay apart where they meet: 0 or 1-3 µm."""
    own = rng.random(count + 1)
    pair = (own[:, None] + own[None]) % 1.0  # uniform for each pair, the same from both sides
    loose = 1.0 - line.tuning.tight
    gap = np.where(pair < loose, 1.2 + 1.8 * pair / max(loose, 1e-6), 0.0)
    return gap.astype(np.float32)


def _depth_in_cell(
    plan: CellPlan,
    box: tuple[slice, slice],
    warp_um: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> npt.NDArray[np.float32]:
    """Say how deep the points of a box lie in a cell.

    Below 0 in a nucleus, 0-1 in the body, a little more in reach of its edge, else ``_FAR``.
    """
    rows, columns = (axis.astype(np.float32) * np.float32(GRID_UM) for axis in np.mgrid[box])
    ratio, radius = plan.body.depth(
        rows + warp_um[0] - np.float32(plan.body_um[0]),
        columns + warp_um[1] - np.float32(plan.body_um[1]),
    )
    ratio[(ratio - 1.0) * np.maximum(radius, 3.0) > _FILLED_GAP_UM] = _FAR
    for centre, outline in plan.nuclei:
        within = _depth_in_nucleus(outline, rows - centre[0], columns - centre[1])
        ratio = np.where(within < 0, np.minimum(ratio, within), ratio)
    return ratio


def _depth_in_nucleus(
    outline: Outline, down_um: npt.NDArray[np.float32], right_um: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Give a depth below 0 within a nucleus and its rim of cytoplasm, above 0 elsewhere."""
    ratio, radius = outline.depth(
        down_um.astype(np.float32, copy=False), right_um.astype(np.float32, copy=False)
    )
    depth: npt.NDArray[np.float32] = ratio * radius / (radius + np.float32(0.7)) - 1
    return depth


def _box(centre_um: tuple[float, float], reach_um: float, size: int) -> tuple[slice, slice]:
    spans = []
    for place in centre_um:
        low = int(np.clip((place - reach_um) / GRID_UM, 0, size - 1))
        high = int(np.clip((place + reach_um) / GRID_UM + 1, low + 1, size))
        spans.append(slice(low, high))
    return spans[0], spans[1]
