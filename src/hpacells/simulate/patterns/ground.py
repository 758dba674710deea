"""What every antibody shows beside its structure: its grain, and haze that fills the cell.

Seen close up, a stain is not smooth: it is made of dots as small as the microscope resolves, few
and bright where the antibody binds badly, many and even where it binds well. The grain belongs to
the antibody, lies over structure and background alike, and each cell has its own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, blur_um, noise_spread, smooth_noise, smoothstep

__all__ = [
    "Grain",
    "along_tubules",
    "distance_from_um",
    "draw_grain",
    "draw_grain_look",
    "draw_tubule_share",
    "even_substance",
    "thickness",
]


@dataclass(frozen=True)
class Grain:
    """The grain of an antibody.

    Parameters
    ----------
    length_um
        Distance of the dots.
    strength
        Standard deviation of the logarithm of the stain between dots; above 0.7 it is dotty.
    """

    length_um: float
    strength: float


def draw_grain_look(antibody: np.random.Generator) -> Grain:
    """Draw the grain that the cells of a sample share: from smooth to dotty."""
    return Grain(
        length_um=float(antibody.uniform(0.15, 0.34)),
        strength=float(0.18 + 0.85 * antibody.beta(1.5, 1.8)),
    )


def draw_grain(
    cell: CellAnatomy, look: Grain, rng: np.random.Generator, *, share: float = 1.0
) -> FloatImage:
    """Draw a cell's grain ``(h, w)`` float32, mean about 1, never negative.

    ``share`` scales its strength: few antibodies on a faint area make it dottier.
    """
    strength = np.float32(min(1.25, share * look.strength * np.exp(rng.normal(0.0, 0.12))))
    noise = smooth_noise(cell.shape, cell.pixel_um, look.length_um, rng=rng)
    noise *= strength
    noise -= 0.5 * (strength * noise_spread(look.length_um, cell.pixel_um)) ** 2
    np.clip(noise, -4.0, 2.2, out=noise)
    return np.exp(noise, out=noise)


def even_substance(
    cell: CellAnatomy, *, flat: float, rise_um: float = 1.5, steep: float = 0.5
) -> FloatImage:
    """Give the light of what fills a cell evenly, ``(h, w)`` float32, 0-1.2.

    Parameters
    ----------
    cell
        The cell, nucleus included.
    flat
        1: as if the cell were equally thick, 0: in proportion to its height.
    rise_um
        Width of the thin margin; a cell is not thin where it touches another.
    steep
        How much faster than the cell's height the rest falls off: 0 as fast, 1 as its cube.
    """
    fall = np.minimum(cell.height, np.float32(1))
    fall *= fall
    fall *= np.float32(steep * (1 - flat))
    fall += np.float32((1 - steep) * (1 - flat))
    fall *= cell.height
    result: FloatImage = smoothstep(cell.free_edge_um, -0.3, rise_um)
    result *= np.float32(flat)
    result += fall
    result *= cell.body
    return result


def thickness(stained: StainedCell, *, length_um: float, power: float) -> FloatImage:
    """Tell thick from thin parts of the cytoplasm by how densely microtubules run there.

    Parameters
    ----------
    stained
        The cell; where it is thick, every stain of the cytoplasm is bright.
    length_um
        Standard deviation of the blur.
    power
        0: equal everywhere, 1: in proportion to the microtubules.

    Returns
    -------
    ndarray
        ``(h, w)`` float32, about 1 on average (limits 0.2 and 2.5, to the power); 1 in the
        nucleus and outside.
    """
    cell = stained.anatomy
    crowd = _beside_its_mean(stained, blur_um(stained.microtubules, length_um, cell.pixel_um))
    excess = np.clip(crowd, 0.2, 2.5) ** np.float32(power) - 1
    result: FloatImage = 1 + excess * (1 - cell.in_nucleus) * cell.body
    return result


def along_tubules(stained: StainedCell, share: float) -> FloatImage:
    """Say how much brighter a stain of the cytoplasm is on microtubules than between them.

    Proteins of the fluid and of the membranes above and below lie along them, so that in real
    cells the finest detail of such stains goes with the microtubules, weakly and in some
    antibodies more than in others.

    Parameters
    ----------
    stained
        The cell.
    share
        0: not at all; 1: in proportion to the microtubules.

    Returns
    -------
    ndarray
        ``(h, w)`` float32, about 1 on average; 1 in the nucleus and outside.
    """
    cell = stained.anatomy
    excess = np.minimum(_beside_its_mean(stained, stained.microtubules), 4.0) - 1
    result: FloatImage = 1 + np.float32(share) * excess * (1 - cell.in_nucleus) * cell.body
    return result


def _beside_its_mean(stained: StainedCell, image: FloatImage) -> FloatImage:
    """Divide an image by its mean over the cytoplasm; 1 everywhere where that is 0."""
    outer = stained.anatomy.body & ~stained.anatomy.nucleus
    mean = float(image[outer].mean()) if outer.any() else 0.0
    if mean <= 0:
        return np.ones(image.shape, np.float32)
    result: FloatImage = image / np.float32(mean)
    return result


def draw_tubule_share(antibody: np.random.Generator) -> float:
    """Draw an antibody's share for ``along_tubules``: mostly small, at most 0.4."""
    return min(0.4, float(antibody.exponential(0.1)))


def distance_from_um(cell: CellAnatomy, place: npt.NDArray[np.float64]) -> FloatImage:
    """Give each pixel's distance in µm from a place (row, column), ``(h, w)`` float32."""
    rows = np.arange(cell.shape[0], dtype=np.float32)[:, None] - np.float32(place[0])
    columns = np.arange(cell.shape[1], dtype=np.float32)[None, :] - np.float32(place[1])
    return np.sqrt(rows * rows + columns * columns) * np.float32(cell.pixel_um)
