"""The microtubule stain of one cell: a network grown from the centrosome, or a spindle."""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.marks import pick_places
from hpacells.simulate.stain_style import StainStyle
from hpacells.simulate.texture import (
    FloatImage,
    blur_um,
    compress,
    mean_within,
    smooth_noise,
    smoothstep,
    to_unit,
)

__all__ = ["draw_microtubules", "draw_spindle_stain", "spindle_fibres"]

_BUNDLE_CANDIDATES = 8
_PLACE_STEP_UM = 0.4  # places of filaments are drawn on a grid this coarse
_FADE_UM = 1.0  # depth in the nucleus over which filaments beside it are still seen
_WAVE_UM = 7.0  # width of the waves in which filaments run side by side
_BEAD_UM = 0.4  # between dots of the label along a filament


def draw_microtubules(cell: CellAnatomy, style: StainStyle, rng: np.random.Generator) -> FloatImage:
    """Draw the microtubules of a cell between divisions, ``(h, w)`` float32, bright about 1."""
    passing = float(np.clip(style.tubules_over_nucleus * np.exp(rng.normal(0, 0.3)), 0.25, 0.9))
    paths = _network(
        cell,
        style,
        nucleus_turn=0.05 if rng.random() < 0.25 + 0.7 * passing else float(rng.uniform(0.8, 1.4)),
        rng=rng,
    )
    lines = _at_two_depths(cell, paths, rng)
    bundles = _edge_bundles(cell, rng)
    if bundles:
        lines += rng.uniform(0.7, 1.6) * draw_filaments(cell, bundles, width_um=0.2, rng=rng)
    crowd = blur_um(lines, 1.0, cell.pixel_um)
    beads = smooth_noise(cell.shape, cell.pixel_um, _BEAD_UM, rng=rng)
    beads *= np.float32(style.tubule_beading)
    lines *= np.exp(beads, out=beads)
    haze = float(style.tubule_haze * np.exp(rng.normal(0, 0.4)))
    uneven = np.exp(0.25 * smooth_noise(cell.shape, cell.pixel_um, 5.0, rng=rng))
    image = cv2.scaleAdd(crowd, rng.uniform(0.0, 0.15), lines).astype(np.float32, copy=False)
    image *= uneven
    mean = mean_within(crowd, cell.body)
    veil = np.exp(0.2 * smooth_noise(cell.shape, cell.pixel_um, 0.6, rng=rng))
    inside = smoothstep(cell.nucleus_depth_um, -0.3, _FADE_UM)
    veil *= 1 - 0.55 * inside
    veil *= 0.05 + 1.95 * cell.height
    cv2.scaleAdd(veil, haze * mean, image, dst=image)
    dim = _brightness(cell, rng)
    over_nucleus = 1 - (1 - passing) * inside
    above = blur_um(lines, 2.5, cell.pixel_um)
    above *= np.float32(0.1 + 0.16 * passing)
    above += np.float32(0.12 * mean)
    above *= inside
    image += above
    for share in (dim, over_nucleus, cell.body):
        image *= share
    image = to_unit(np.maximum(image, np.float32(0)).astype(np.float32, copy=False), 95)
    deep = image * (0.65 + 0.35 * np.sqrt(image))
    return compress(deep.astype(np.float32, copy=False), 0.45)


def _at_two_depths(
    cell: CellAnatomy, paths: list[npt.NDArray[np.float64]], rng: np.random.Generator
) -> FloatImage:
    """Draw filaments: part of them in focus, the others above and below it, wider and softer."""
    focused = rng.random(len(paths)) < rng.uniform(0.4, 0.8)
    sharp = [path for path, near in zip(paths, focused, strict=True) if near]
    others = [path for path, near in zip(paths, focused, strict=True) if not near]
    lines = draw_filaments(cell, sharp, width_um=0.16, rng=rng, contrast=0.75)
    soft = draw_filaments(cell, others, width_um=0.24, rng=rng, contrast=0.7)
    return lines + blur_um(soft, float(rng.uniform(0.12, 0.25)), cell.pixel_um)


def _brightness(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    """Say how bright filaments are: soon full at the rim, falling slowly away from the nucleus."""
    fall_um = np.float32(rng.uniform(0.35, 0.9) * np.sqrt(cell.cytoplasm_um2 + 1))
    near = cell.fall_from_nucleus(float(fall_um))
    floor = np.float32(rng.uniform(0.15, 0.65))
    share = np.float32(rng.uniform(0.2, 0.8))
    near *= 1 - floor
    near += floor
    thick = share * cell.height
    thick += 1 - share
    near *= thick
    beside = cell.nucleus_depth_um + np.float32(0.6)
    np.abs(beside, out=beside)
    beside *= np.float32(-1 / 1.2)
    cv2.exp(beside, dst=beside)
    beside *= np.float32(rng.uniform(0.0, 0.5))
    beside += np.float32(1)
    near *= beside
    near *= smoothstep(cell.free_edge_um, -0.2, 1.1)
    return near


def _common_course(cell: CellAnatomy, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Give the direction that filaments of a place share, radians, on the grid of ``steering``.

    Directions without a sense add up as doubled angles: along the cell, away from the centrosome,
    along the edge and around the nucleus where these are near, and a waviness of the cell's own.
    """
    factor, edge, depth = cell.steering
    shape = (edge.shape[1], edge.shape[2])
    rows, columns = np.indices(shape, dtype=np.float32)
    rows = rows - np.float32(cell.centrosome[0] / factor)
    columns = columns - np.float32(cell.centrosome[1] / factor)
    along = rng.uniform(0.2, 0.8) * np.array(
        [np.cos(2 * cell.direction), np.sin(2 * cell.direction)], np.float32
    )
    total = np.float32(rng.uniform(0.2, 1.0)) * _doubled(columns, rows)
    total += along[:, None, None]
    for (level, down, right), reach_um in ((edge, 2.5), (depth, 1.5)):
        near = np.float32(1.6) * np.exp(np.abs(level) * np.float32(-1 / reach_um))
        total += near * _doubled(-down, right)
    waves = [smooth_noise(shape, cell.pixel_um * factor, _WAVE_UM, rng=rng) for _ in range(2)]
    total += np.float32(rng.uniform(0.3, 0.8)) * np.stack(waves)
    course: FloatImage = np.float32(0.5) * np.arctan2(total[1], total[0])
    return course


def _doubled(cosine: FloatImage, sine: FloatImage) -> FloatImage:
    """Give cosine and sine, stacked, of twice the angle of vectors of any length but 0."""
    squared = np.square(cosine), np.square(sine)
    length = squared[0] + squared[1] + np.float32(1e-12)
    double = np.stack([squared[0] - squared[1], 2 * cosine * sine]) / length
    return double.astype(np.float32, copy=False)


def _network(
    cell: CellAnatomy, style: StainStyle, *, nucleus_turn: float, rng: np.random.Generator
) -> list[npt.NDArray[np.float64]]:
    """Grow filaments, part of them from the centrosome, the others along the cell or outwards."""
    density = style.tubule_density * np.exp(rng.normal(0, 0.15))
    length = min(rng.uniform(18.0, 36.0), 4 + 0.8 * np.sqrt(cell.cytoplasm_um2))
    count = int(np.clip(density * cell.cytoplasm_um2 / length, 20, 900))
    rooted = int(count * rng.uniform(0.03, 0.2))
    starts = cell.centrosome + rng.normal(0, rng.uniform(0.8, 2.4) / cell.pixel_um, (rooted, 2))
    weights = cell.body * (0.3 + cell.height) if nucleus_turn < 0.7 else cell.in_cytoplasm
    step = max(1, int(_PLACE_STEP_UM / cell.pixel_um))
    free = pick_places(weights.astype(np.float32), count - rooted, rng, step=step)
    headings = rng.uniform(-np.pi, np.pi, rooted)
    along = cell.direction + np.pi * rng.integers(0, 2, len(free)) + rng.normal(0, 0.8, len(free))
    outward = np.arctan2(*(free - cell.centre).T) + rng.normal(0, 0.5, len(free))
    mixed = np.where(rng.random(len(free)) < 0.55, along, outward)
    return grow_paths(
        cell,
        np.concatenate([starts, free]),
        np.concatenate([headings, mixed]),
        lengths_um=rng.gamma(6.0, length / 6.0, rooted + len(free)),
        gait=Gait(
            wobble=rng.uniform(0.08, 0.2),
            curl=0.03,
            edge_turn=0.5,
            nucleus_turn=nucleus_turn,
            align=rng.uniform(0.02, 0.16),
        ),
        rng=rng,
        course=_common_course(cell, rng),
    )


def _edge_bundles(cell: CellAnatomy, rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Follow straight or hollow pieces of the edge with a few parallel filaments."""
    inner = (cell.edge_um > 0.7).astype(np.uint8)
    outlines, _ = cv2.findContours(inner, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return []
    outline = max(outlines, key=len)[:, 0, ::-1].astype(float)
    step = max(1, round(0.8 / cell.pixel_um))
    paths = []
    for _ in range(int(rng.integers(0, 4))):
        span = int(rng.uniform(8.0, 24.0) / cell.pixel_um)
        if span >= len(outline) // 2:
            continue
        first = rng.integers(0, len(outline), _BUNDLE_CANDIDATES)
        chords = np.hypot(*(outline[(first + span) % len(outline)] - outline[first]).T)
        start = int(first[int(np.argmax(chords))])
        arc = outline[np.arange(start, start + span, step) % len(outline)]
        for _ in range(int(rng.integers(3, 9))):
            aside = rng.normal(0, 0.22 / cell.pixel_um, 2)
            low, high = np.sort(rng.integers(0, len(arc) + 1, 2))
            if high - low >= 3:
                paths.append(arc[low:high] + aside)
    return paths


def draw_spindle_stain(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    """Draw a dividing cell: its spindle in the bright haze of a thick, round body."""
    thick = smoothstep(cell.edge_um, -0.5, 4.0)
    haze = rng.uniform(0.10, 0.28) * (0.6 + 0.4 * thick)
    grain = np.exp(0.25 * smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng))
    fibres = spindle_fibres(cell, rng)
    glow = 0.25 * blur_um(fibres, 1.2, cell.pixel_um)
    image = fibres + glow + haze * grain * (1 - 0.4 * cell.in_nucleus)
    return (image * cell.body).astype(np.float32)


def spindle_fibres(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    """Draw a bipolar spindle: fibres from both poles to the plate, and astral ones."""
    axis = cell.poles[1] - cell.poles[0]
    across = np.array([axis[1], -axis[0]])
    middle = cell.poles.mean(axis=0)
    width = rng.uniform(0.24, 0.36)
    along = np.linspace(0.0, 1.0, 14)
    paths = []
    for pole in cell.poles:
        for _ in range(34):
            aside = np.clip(rng.normal(0, 0.55), -1, 1) * width
            reach = along * rng.uniform(0.75, 1.08)
            bow = np.sin(0.5 * np.pi * np.minimum(reach, 1.0)) ** 0.8 * aside
            paths.append(pole + reach[:, None] * (middle - pole) + bow[:, None] * across)
        turns = rng.uniform(0, 2 * np.pi, 18)
        lengths = rng.uniform(0.8, 3.4, 18) / cell.pixel_um
        rays = np.stack([np.sin(turns), np.cos(turns)], axis=1) * lengths[:, None]
        paths.extend(np.stack([pole, pole + ray]) for ray in rays)
    lines = draw_filaments(cell, paths, width_um=0.16, rng=rng)
    lines = lines + 0.9 * blur_um(lines, 0.45, cell.pixel_um)
    image = np.minimum(to_unit(lines.astype(np.float32), 90), 1.4)
    return (image + 0.05 * cell.in_cytoplasm).astype(np.float32)
