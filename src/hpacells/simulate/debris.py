"""What lies between the cells: apoptotic bodies, specks and fibres; part of no mask.

Real fields hold a few of them, mostly on empty ground. A segmenter has to leave them out, and a
classifier must not take them for spots of a protein.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.simulate.anatomy import BoolImage
from hpacells.simulate.marks import draw_spots, draw_strokes
from hpacells.simulate.texture import FloatImage, blur_um, smooth_noise

__all__ = ["add_debris"]

_PER_1E4_UM2 = {"corpse": 0.12, "speck": 1.5, "fibre": 0.10}  # mean numbers; fields vary
_ON_CELLS = 0.15  # share of small debris that lies on a cell
_CORPSE_BOX_UM = 15.0
_CLEARANCE_UM = 3.0


def add_debris(
    stains: FloatImage, occupied: BoolImage, pixel_um: float, rng: np.random.Generator
) -> None:
    """Add debris to a field.

    Parameters
    ----------
    stains
        ``(C, H, W)`` float32, level 1 is bright; changed in place.
    occupied
        ``(H, W)``, where cells are: apoptotic bodies keep away from them, fibres and specks
        mostly do.
    pixel_um
        µm per pixel.
    rng
        Source of what lies where.
    """
    area = occupied.size * pixel_um**2 / 1e4
    dirt = float(np.exp(rng.normal(-0.3, 0.8)))
    counts = {kind: int(rng.poisson(mean * area * dirt)) for kind, mean in _PER_1E4_UM2.items()}
    for _ in range(counts["corpse"]):
        place = _free_place(occupied, _CLEARANCE_UM / pixel_um, rng)
        if place is not None:
            _add_corpse(stains, place, occupied, pixel_um=pixel_um, rng=rng)
    for _ in range(counts["speck"]):
        _add_speck(stains, _small_place(occupied, rng), pixel_um=pixel_um, rng=rng)
    for _ in range(counts["fibre"]):
        _add_fibre(stains, _small_place(occupied, rng), pixel_um=pixel_um, rng=rng)


def _free_place(
    occupied: BoolImage, clearance_px: float, rng: np.random.Generator, tries: int = 20
) -> npt.NDArray[np.float64] | None:
    """Find a place whose surroundings are empty; none in a dense field."""
    reach = int(clearance_px)
    for _ in range(tries):
        place = rng.uniform(0.0, 1.0, 2) * occupied.shape
        row, column = (int(value) for value in place)
        near = occupied[
            max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
        ]
        if not near.any():
            return place
    return None


def _small_place(occupied: BoolImage, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    if rng.random() > _ON_CELLS:
        free = _free_place(occupied, 0, rng)
        if free is not None:
            return free
    place: npt.NDArray[np.float64] = rng.uniform(0.0, 1.0, 2) * occupied.shape
    return place


def _add_corpse(
    stains: FloatImage,
    place: npt.NDArray[np.float64],
    occupied: BoolImage,
    *,
    pixel_um: float,
    rng: np.random.Generator,
) -> None:
    """Add a cell that died: beads of condensed DNA in a shrunken body with blebs."""
    side = max(4, round(_CORPSE_BOX_UM / pixel_um))
    shape = (side, side)
    middle = np.full(2, side / 2.0)
    size_um = rng.uniform(1.6, 3.4)
    blebs = int(rng.integers(3, 9))
    centres = middle + rng.normal(0, 0.6 * size_um / pixel_um, (blebs, 2))
    radii = size_um * rng.uniform(0.35, 0.8, blebs)
    body = _balls(shape, centres, radii, pixel_um)
    grain = 0.75 + 0.25 * smooth_noise(shape, pixel_um, 0.5, rng=rng)
    beads = int(rng.integers(1, 7))
    inside = middle + rng.normal(0, 0.45 * size_um / pixel_um, (beads, 2))
    dna = _balls(shape, inside, rng.uniform(0.35, 1.3, beads), pixel_um)
    levels = {
        Channel.NUCLEUS: rng.uniform(0.9, 2.2) * dna,
        Channel.MICROTUBULES: rng.uniform(0.1, 0.7) * body * grain,
        Channel.ER: rng.uniform(0.1, 0.8) * body * grain,
        Channel.PROTEIN: rng.uniform(0.05, 0.5) * body * grain,
    }
    for channel, image in levels.items():
        _paste(stains[channel.position], image.astype(np.float32), place, free_of=occupied)


def _balls(
    shape: tuple[int, int],
    centres: npt.NDArray[np.float64],
    radii_um: npt.NDArray[np.float64],
    pixel_um: float,
) -> FloatImage:
    """Draw balls in projection, brightest in their middles; the brightest one wins."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32) * np.float32(pixel_um)
    image = np.zeros(shape, np.float32)
    for (row, column), radius in zip(centres * pixel_um, radii_um, strict=True):
        apart = np.square(rows - np.float32(row)) + np.square(columns - np.float32(column))
        thick = np.sqrt(np.clip(1 - apart / np.float32(radius**2), 0, None))
        image = np.maximum(image, thick)
    return blur_um(image, 0.12, pixel_um)


def _add_speck(
    stains: FloatImage,
    place: npt.NDArray[np.float64],
    *,
    pixel_um: float,
    rng: np.random.Generator,
) -> None:
    """Add dust or a clump of antibody: a spot, in one stain or in several."""
    side = max(4, round(4.0 / pixel_um))
    count = int(rng.integers(1, 4))
    image = draw_spots(
        (side, side),
        side / 2 + rng.normal(0, 0.3 / pixel_um, (count, 2)),
        sigmas_um=0.16 * np.exp(rng.normal(0, 0.5, count)),
        levels=np.exp(rng.normal(-0.7, 0.6, count)),
        pixel_um=pixel_um,
    )
    shown = rng.random(len(CHANNELS)) < 0.35
    shown[int(rng.integers(0, len(CHANNELS)))] = True
    for k in np.flatnonzero(shown):
        _paste(stains[k], image * np.float32(rng.uniform(0.3, 1.2)), place)


def _add_fibre(
    stains: FloatImage,
    place: npt.NDArray[np.float64],
    *,
    pixel_um: float,
    rng: np.random.Generator,
) -> None:
    """Add a thin bent fibre of lint, out of focus, mostly in the nucleus stain."""
    length_um = rng.uniform(8.0, 30.0)
    side = max(4, round((length_um + 6.0) / pixel_um))
    steps = np.linspace(-0.5, 0.5, 24)
    turns = rng.uniform(0, np.pi) + np.cumsum(rng.normal(0, 0.12, len(steps)))
    moves = np.stack([np.sin(turns), np.cos(turns)], axis=1) * length_um / len(steps) / pixel_um
    path = np.cumsum(moves, axis=0)
    path += side / 2 - path.mean(axis=0)
    image = draw_strokes(
        (side, side),
        [path],
        levels=np.ones(1),
        width_um=rng.uniform(0.3, 0.9),
        pixel_um=pixel_um,
    )
    image = blur_um(image, float(rng.uniform(0.2, 0.8)), pixel_um)
    for channel in CHANNELS:
        share = 1.0 if channel is Channel.NUCLEUS else float(rng.uniform(0.0, 0.5))
        level = np.float32(share * rng.uniform(0.1, 0.5))
        _paste(stains[channel.position], image * level, place)


def _paste(
    stain: FloatImage,
    image: FloatImage,
    place: npt.NDArray[np.float64],
    *,
    free_of: BoolImage | None = None,
) -> None:
    """Add a small image around a place, cut at the frame and where the ground is taken."""
    r0, c0 = (round(float(at) - side / 2) for at, side in zip(place, image.shape, strict=True))
    top, left = max(0, r0), max(0, c0)
    bottom, right = (
        min(stain.shape[0], r0 + image.shape[0]),
        min(stain.shape[1], c0 + image.shape[1]),
    )
    if bottom <= top or right <= left:
        return
    part = image[top - r0 : bottom - r0, left - c0 : right - c0]
    if free_of is not None:
        part = part * ~free_of[top:bottom, left:right]
    stain[top:bottom, left:right] += part
