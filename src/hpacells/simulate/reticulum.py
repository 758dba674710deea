"""The ER stain of one cell: granular sheets at the nucleus, a network of tubules at the rim."""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.chromatin import nucleus_window
from hpacells.simulate.marks import draw_spots, pick_places
from hpacells.simulate.stain_style import StainStyle
from hpacells.simulate.texture import (
    FloatImage,
    blur_um,
    compress,
    mean_within,
    polygon_walls,
    smooth_noise,
    smoothstep,
    to_unit,
)

__all__ = ["draw_er"]

_CEILING = np.float32(1.0)  # above what the brightest places of a cell have
_WALL_UM = 0.16  # walls of meshes are drawn on a grid this coarse, for speed


def draw_er(
    cell: CellAnatomy, style: StainStyle, tubules: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """Draw the ER, ``(h, w)`` float32, bright about 1; it follows ``tubules`` a little."""
    fall = style.er_fall * np.exp(rng.normal(0, 0.25)) * np.sqrt(cell.cytoplasm_um2 + 1)
    near = cell.fall_from_nucleus(float(fall))
    if cell.mitotic:
        near = np.full(cell.shape, 0.8, np.float32)
    texture = _grain(cell, style.er_contrast, near, rng)
    texture *= 1 + _network_over_sheets(cell, style, near, rng)
    texture *= (
        _holes(cell, rng)
        * (0.5 + 0.8 * np.minimum(blur_um(tubules, 0.3, cell.pixel_um), 1.5))
        * (0.65 + 0.45 * cell.height)
    )
    floor = min(0.5, 0.17 * float(np.exp(rng.normal(0, 0.6))))
    texture *= (floor + (1 - floor) * near) * smoothstep(cell.free_edge_um, 0.0, 1.6)
    image: FloatImage = texture.astype(np.float32, copy=False)
    _add_nucleus(image, cell, style, rng)
    if style.er_dots:
        image = 0.25 * image + _dots(cell, style, near, rng)
    return _deepen(to_unit(image * cell.body, 97))


def _deepen(image: FloatImage) -> FloatImage:
    """Set the dark parts lower and bend the brightest down, as in the published images."""
    deep = image * (0.3 + 0.7 * np.sqrt(image))
    bent = compress(deep.astype(np.float32, copy=False), 0.7)
    return _CEILING * np.tanh(bent / _CEILING)


def _add_nucleus(
    image: FloatImage, cell: CellAnatomy, style: StainStyle, rng: np.random.Generator
) -> None:
    """Replace what lies over the nucleus by its own faint signal; add the envelope; in place."""
    window = nucleus_window(cell, 1.5)
    depth_um = cell.nucleus_depth_um[window]
    field = np.zeros(depth_um.shape, np.float32)
    for length_um, share in ((0.2, 0.44), (1.3, 0.21), (4.0, 0.18)):
        field += share * smooth_noise(depth_um.shape, cell.pixel_um, length_um, rng=rng)
    fine = np.exp(float(np.exp(rng.normal(0, 0.2))) * np.minimum(field, np.float32(1.0)))
    inside = smoothstep(depth_um, -0.3, 1.7)
    nuclear = float(style.er_nuclear * np.exp(rng.normal(0, 0.2)))
    part = image[window] * (1 - inside)
    part += nuclear * inside * fine * (1 - 0.25 * cell.nucleoli[window])
    if not cell.mitotic:
        rim = np.exp(-np.abs(depth_um + np.float32(0.15)) / np.float32(0.35)) * cell.body[window]
        part += float(rng.uniform(0.0, 0.5)) * rim * (0.5 + 0.5 * fine)
    image[window] = part


def _grain(
    cell: CellAnatomy, contrast: float, near: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """Draw skewed graininess of mean about 1; sheets at the nucleus are the smoother part."""
    field = np.zeros(cell.shape, np.float32)
    for length_um, share in ((0.2, 0.9), (0.5, 0.34), (1.1, 0.3), (2.4, 0.22)):
        noise = smooth_noise(cell.shape, cell.pixel_um, length_um, rng=rng)
        cv2.scaleAdd(noise, share, field, dst=field)
    field *= np.float32(contrast) * (1.2 - 0.35 * near)
    field += 0.33 * smooth_noise(cell.shape, cell.pixel_um, 3.5, rng=rng)
    np.minimum(field, np.float32(2.2), out=field)
    field -= np.float32(0.5 * contrast**2)
    return np.exp(field, out=field)


def _network_over_sheets(
    cell: CellAnatomy, style: StainStyle, near: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """Say by how much walls of meshes rise above, and their insides fall below, the sheets."""
    mesh = style.er_mesh_um * np.exp(rng.normal(0, 0.15))
    weights = (cell.body * (0.25 + near)).astype(np.float32)
    count = int(cell.body.sum() * cell.pixel_um**2 / mesh**2)
    seeds = _pick(cell, weights, count, rng)
    step = max(1, int(_WALL_UM / cell.pixel_um + 1e-6))
    rows, columns = (-(-side // step) for side in cell.shape)
    walls = blur_um(polygon_walls((rows, columns), seeds / step), 0.10, cell.pixel_um * step)
    if step > 1:
        wide = cv2.resize(walls, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        walls = wide[: cell.shape[0], : cell.shape[1]].astype(np.float32, copy=False)
    level = max(mean_within(walls, cell.body), 1e-3)
    share = np.clip(style.er_network * (1.6 - 0.9 * near), 0.0, 0.95)
    result: FloatImage = share * (np.minimum(walls / np.float32(level), 4.0) - 1)
    return result


def _holes(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    """Leave out vesicles and vacuoles."""
    count = int(cell.cytoplasm_um2 * rng.uniform(0.01, 0.08))
    places = _pick(cell, cell.in_cytoplasm, count, rng)
    sizes = 0.32 * np.exp(rng.normal(0, 0.35, len(places)))
    dark = draw_spots(
        cell.shape,
        places,
        sigmas_um=sizes,
        levels=rng.uniform(0.4, 1.1, len(places)),
        pixel_um=cell.pixel_um,
    )
    result: FloatImage = np.clip(1 - dark, 0.1, 1.0)
    return result


def _dots(
    cell: CellAnatomy, style: StainStyle, near: FloatImage, rng: np.random.Generator
) -> FloatImage:
    places = _pick(
        cell, cell.in_cytoplasm * (0.2 + near), int(style.er_dots * cell.cytoplasm_um2), rng
    )
    return draw_spots(
        cell.shape,
        places,
        sigmas_um=0.14 * np.exp(rng.normal(0, 0.25, len(places))),
        levels=np.exp(rng.normal(-0.3, 0.5, len(places))),
        pixel_um=cell.pixel_um,
    )


def _pick(
    cell: CellAnatomy, weights: FloatImage, count: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw places on a grid of 0.4 µm, for speed."""
    return pick_places(weights, count, rng, step=max(1, int(0.4 / cell.pixel_um)))
