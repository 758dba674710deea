"""Hand-made features of one cell, the same for a real and for a simulated one.

The real sample (``HPACELLS_REAL_DATA``/cells) is mosaics of single cells at 0.16 µm per pixel,
turned, black outside the cell, stored as JPEG. A simulated cell goes the same way first
(``imitate_mosaic``): turned, blacked out, shrunk, through JPEG of the quality read from the real
files' quantisation tables. Cell and nucleus are then found in the pixels in one way for both
(``find_cell``), never taken from the truth.

A feature is named ``group:stain:what``; groups: shape, intensity, ratio, granularity, radial,
texture, correlation, spots. It knows nothing of classes. Lengths in µm, grey values 0-255.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from hpacells.core.channels import CHANNELS

__all__ = [
    "PIXEL_UM",
    "REFERENCE",
    "STAINS",
    "Cell",
    "find_cell",
    "imitate_mosaic",
    "jpeg_quality",
    "measure_cell",
    "outline_cell",
]

PIXEL_UM = 0.16
TILE_PX = 512
STAINS = tuple(channel.value for channel in CHANNELS)  # red green blue yellow
REFERENCE = ("red", "blue", "yellow")
QUANTILES = (5, 25, 50, 75, 95, 99.5)
SIGMAS_UM = (0.16, 0.32, 0.64, 1.28, 2.56)
_SPOT_SIGMAS_PX = (1.2, 4.0)
SUPPORT_GREY = 2
SMALLEST_NUCLEUS_UM2 = 20.0
_STANDARD_TABLE_SUM = 3688  # of the JPEG standard's luminance table, which quality scales

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """One cell cut out: stains ``(C, H, W)`` float32, 0-255; cell and nucleus ``(H, W)`` bool."""

    pixels: Floats
    cell: Bools
    nucleus: Bools


def jpeg_quality(image: Image.Image) -> int:
    """Estimate a JPEG's quality (scale of libjpeg) from its luminance table; 100 without any.

    libjpeg multiplies the standard's table by ``200 - 2q`` %, below quality 50 by ``5000 / q`` %.
    """
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    if not tables:
        return 100
    scale = 100.0 * sum(tables[0]) / _STANDARD_TABLE_SUM
    quality = (200.0 - scale) / 2.0 if scale <= 100 else 5000.0 / scale
    return int(np.clip(round(quality), 1, 100))


def imitate_mosaic(
    pixels: Bytes, mask: Bools, *, pixel_um: float, angle_deg: float, quality: int
) -> Bytes:
    """Put a cell through what a cell of the real mosaics went through.

    Parameters
    ----------
    pixels
        ``(C, H, W)`` uint8 around the cell.
    mask
        ``(H, W)`` bool, the cell.
    pixel_um
        µm per pixel of ``pixels``.
    angle_deg
        It is turned by this (linear interpolation).
    quality
        Of the JPEG.

    Returns
    -------
    ndarray
        ``(C, 512, 512)`` uint8 at 0.16 µm per pixel.
    """
    factor = pixel_um / PIXEL_UM
    rows, columns = np.nonzero(mask)
    centre = (float(columns.min() + columns.max()) / 2, float(rows.min() + rows.max()) / 2)
    side = round(TILE_PX / factor)
    turn = cv2.getRotationMatrix2D(centre, angle_deg, 1.0)
    turn[0, 2] += side / 2 - centre[0]
    turn[1, 2] += side / 2 - centre[1]
    tile = np.empty((len(pixels), TILE_PX, TILE_PX), np.uint8)
    black = pixels * mask
    for i, stain in enumerate(black):
        turned = cv2.warpAffine(stain, turn, (side, side), flags=cv2.INTER_LINEAR)
        small = cv2.resize(turned, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        tile[i] = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
    return tile


def outline_cell(tile: Bytes) -> tuple[Bools, Bools]:
    """Find the one cell of a tile ``(C, H, W)`` at 0.16 µm, and its nucleus; ``(H, W)`` each.

    The cell is the largest part of the support of all stains, closed and opened; either mask may be
    empty.
    """
    support = (tile.max(0) > SUPPORT_GREY).astype(np.uint8)
    closed = cv2.morphologyEx(support, cv2.MORPH_CLOSE, _disk(0.8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disk(0.5))
    cell = np.asarray(ndimage.binary_fill_holes(_largest(opened > 0)), np.bool_)
    if not cell.any():
        return cell, cell
    return cell, _find_nucleus(tile[STAINS.index("blue")].astype(np.float32), cell)


def find_cell(tile: Bytes) -> Cell | None:
    """Cut out the one cell of a tile; None without a cell, a nucleus or a cytoplasm."""
    cell, nucleus = outline_cell(tile)
    smaller = min(nucleus.sum(), (cell & ~nucleus).sum())
    if smaller * PIXEL_UM**2 < SMALLEST_NUCLEUS_UM2:
        return None
    rows, columns = np.nonzero(cell)
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    pixels = tile[(slice(None), *box)].astype(np.float32)
    return Cell(pixels * cell[box], cell[box], nucleus[box])


def _find_nucleus(blue: Floats, cell: Bools) -> Bools:
    """Otsu's threshold of the smoothed stain inside the cell; large parts, holes filled."""
    smooth = cv2.GaussianBlur(blue, (0, 0), 0.4 / PIXEL_UM)
    inside = smooth[cell]
    if np.ptp(inside) < 4:
        return np.zeros_like(cell)
    rough = ((smooth > threshold_otsu(inside)) & cell).astype(np.uint8)
    opened = cv2.morphologyEx(rough, cv2.MORPH_OPEN, _disk(0.8))
    filled = ndimage.binary_fill_holes(opened > 0)
    parts = label(filled)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = (sizes * PIXEL_UM**2 >= SMALLEST_NUCLEUS_UM2) & (sizes >= 0.25 * sizes.max())
    return np.asarray(large[parts], np.bool_)


def _largest(mask: Bools) -> Bools:
    parts = label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax(), np.bool_) if sizes.max() else np.zeros_like(mask)


def _disk(radius_um: float) -> Bytes:
    side = 2 * round(radius_um / PIXEL_UM) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def measure_cell(cell: Cell) -> dict[str, float]:
    """Measure everything; finite values, 0 where a thing is not defined."""
    found = {f"shape::{k}": v for k, v in _shape(cell).items()}
    zones = _zones(cell)
    areas = {"nucleus": cell.nucleus, "cytoplasm": cell.cell & ~cell.nucleus, "cell": cell.cell}
    bands: dict[str, tuple[float, ...]] = {"cell": _SPOT_SIGMAS_PX}
    bands |= dict.fromkeys(("nucleus", "cytoplasm"), tuple(s / PIXEL_UM for s in SIGMAS_UM))
    smooth = {name: _Smoother(areas[name], sigmas) for name, sigmas in bands.items()}
    for stain, image in zip(STAINS, cell.pixels, strict=True):
        groups: dict[str, dict[str, float]] = {
            "intensity": _intensity(image, cell),
            "ratio": _ratios(image, cell, zones),
            "granularity": _granularity(image, smooth),
            "radial": _radial(image, zones),
            "texture": _texture(image, cell.cell),
            "spots": _spots(image, cell, smooth["cell"]),
        }
        for group, values in groups.items():
            found.update({f"{group}:{stain}:{k}": v for k, v in values.items()})
    found.update(_correlations(cell))
    return {k: float(v) if np.isfinite(v) else 0.0 for k, v in found.items()}


def _shape(cell: Cell) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, mask in (("cell", cell.cell), ("nucleus", _largest(cell.nucleus))):
        props: Any = regionprops(mask.astype(np.uint8))[0]
        values[f"{name}_log_area"] = float(np.log(props.area * PIXEL_UM**2))
        values[f"{name}_log_axis_ratio"] = float(
            np.log(props.axis_major_length / max(props.axis_minor_length, 1.0))
        )
        values[f"{name}_solidity"] = float(props.solidity)
        outline = max(props.perimeter_crofton, 1.0)
        values[f"{name}_roundness"] = float(4 * np.pi * props.area / outline**2)
    values["nucleus_share"] = float(cell.nucleus.sum() / cell.cell.sum())
    centres = np.array([np.argwhere(m).mean(0) for m in (cell.cell, cell.nucleus)])
    distance = float(np.linalg.norm(centres[0] - centres[1]))
    values["nucleus_offset"] = distance / float(np.sqrt(cell.cell.sum()))
    return values


def _intensity(image: Floats, cell: Cell) -> dict[str, float]:
    inside = image[cell.cell]
    values = {f"q{q:g}": float(v) for q, v in zip(QUANTILES, np.percentile(inside, QUANTILES))}  # noqa: B905  same length by construction
    values["mean"] = float(inside.mean())
    values["zeros"] = float((inside < 1).mean())
    values["saturated"] = float((inside > 250).mean())
    values["nucleus_mean"] = float(image[cell.nucleus].mean())
    return values


def _zones(cell: Cell) -> npt.NDArray[np.int8]:
    """Give each pixel's zone: nucleus centre to rim 0-2, cytoplasm to the edge 3-7, outside -1."""
    zones = np.full(cell.cell.shape, -1, np.int8)
    padded = np.pad(cell.cell, 1).astype(np.uint8)
    to_edge = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    in_nucleus = cv2.distanceTransform(np.pad(cell.nucleus, 1).astype(np.uint8), cv2.DIST_L2, 5)
    depth = in_nucleus[1:-1, 1:-1] / max(float(in_nucleus.max()), 1.0)
    to_nucleus = cv2.distanceTransform((~cell.nucleus).astype(np.uint8), cv2.DIST_L2, 5)
    outward = to_nucleus / np.maximum(to_nucleus + to_edge, 1.0)
    cytoplasm = cell.cell & ~cell.nucleus
    zones[cell.nucleus] = 2 - np.minimum(depth[cell.nucleus] * 3, 2).astype(np.int8)
    zones[cytoplasm] = 3 + np.minimum(outward[cytoplasm] * 5, 4).astype(np.int8)
    return zones


def _zone_means(image: Floats, zones: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    used = zones >= 0
    counts = np.bincount(zones[used], minlength=8)
    return np.bincount(zones[used], image[used], minlength=8) / np.maximum(counts, 1)


def _ratios(image: Floats, cell: Cell, zones: npt.NDArray[np.int8]) -> dict[str, float]:
    cytoplasm = image[cell.cell & ~cell.nucleus].mean() + 1
    means = _zone_means(image, zones) + 1
    return {
        "log_nucleus_to_cytoplasm": float(np.log((image[cell.nucleus].mean() + 1) / cytoplasm)),
        "log_nucleus_rim_to_centre": float(np.log(means[2] / means[0])),
        "log_edge_to_inner": float(np.log(means[7] / means[4])),
    }


def _radial(image: Floats, zones: npt.NDArray[np.int8]) -> dict[str, float]:
    means = _zone_means(image, zones)
    relative = means / (image[zones >= 0].mean() + 1.0)
    names = [f"nucleus{i}" for i in range(3)] + [f"cytoplasm{i}" for i in range(5)]
    return dict(zip(names, map(float, relative), strict=True))


class _Smoother:
    """Smooths images inside a zone only (normalised convolution); keeps the norms."""

    def __init__(self, zone: Bools, sigmas_px: tuple[float, ...]) -> None:
        self.zone, self.weight = zone, zone.astype(np.float32)
        self.norms = {s: np.maximum(_blur(self.weight, s), 1e-3) for s in sigmas_px}

    def __call__(self, image: Floats, sigma_px: float) -> Floats:
        blurred = _blur(image * self.weight, sigma_px)
        return np.asarray(blurred / self.norms[sigma_px], np.float32)


def _blur(image: Floats, sigma_px: float) -> Floats:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float32)


def _granularity(image: Floats, smooth: dict[str, _Smoother]) -> dict[str, float]:
    """Root mean square of difference-of-Gaussian bands, relative to the zone's mean."""
    values: dict[str, float] = {}
    for name in ("nucleus", "cytoplasm"):
        within = smooth[name]
        mean = float(image[within.zone].mean()) + 2.0
        levels = [image, *(within(image, s / PIXEL_UM) for s in SIGMAS_UM)]
        for sigma, (fine, coarse) in zip(SIGMAS_UM, pairwise(levels), strict=True):
            values[f"{name}_{sigma:g}um"] = float(np.std((fine - coarse)[within.zone])) / mean
    return values


def _texture(image: Floats, mask: Bools) -> dict[str, float]:
    """Local binary patterns (2 px) and co-occurrence of 24 levels up to the 99.5 % quantile."""
    top = max(float(np.percentile(image[mask], 99.5)), 1.0)
    levels = 1 + np.minimum(image / top * 24, 23).astype(np.uint8)
    levels[~mask] = 0
    pairs = graycomatrix(levels, [1, 4], [0, np.pi / 2], levels=25)
    pairs = pairs[1:, 1:].astype(np.float64)
    pairs /= np.maximum(pairs.sum((0, 1), keepdims=True), 1)
    values = {
        f"{what}_{d}px": float(v)
        for what in ("contrast", "correlation", "homogeneity", "energy")
        for d, v in zip((1, 4), graycoprops(pairs, what).mean(1), strict=True)
    }
    patterns = local_binary_pattern(image.astype(np.uint8), 8, 2, "uniform")[mask].astype(int)
    shares = np.bincount(patterns, minlength=10)[:10] / len(patterns)
    return values | {f"lbp{i}": float(s) for i, s in enumerate(shares)}


def _spots(image: Floats, cell: Cell, smooth: _Smoother) -> dict[str, float]:
    """Count bright spots about 0.5 µm across and measure their contrast."""
    fine, coarse = (smooth(image, sigma) for sigma in _SPOT_SIGMAS_PX)
    band = fine - coarse
    inside = band[cell.cell]
    peaks = (band == cv2.dilate(band, np.ones((5, 5), np.uint8))) & cell.cell
    strong = peaks & (band > 0.5 * image[cell.cell].mean() + 4)
    return {
        "log_density": float(np.log(1 + 100 * strong.sum() / (len(inside) * PIXEL_UM**2))),
        "in_nucleus": float((strong & cell.nucleus).sum() / max(strong.sum(), 1)),
        "log_peak": float(np.log((inside.max() + 1) / (image[cell.cell].mean() + 1))),
        "kurtosis": float(np.mean((inside / max(inside.std(), 1e-3)) ** 4)) ** 0.5,
    }


def _correlations(cell: Cell) -> dict[str, float]:
    values = {}
    for name, zone in (("cell", cell.cell), ("cytoplasm", cell.cell & ~cell.nucleus)):
        inside = cell.pixels[:, zone]
        spread = inside.std(1)
        centred = inside - inside.mean(1, keepdims=True)
        for i, j in combinations(range(len(STAINS)), 2):
            covariance = float((centred[i] * centred[j]).mean())
            value = covariance / max(float(spread[i] * spread[j]), 1e-3)
            values[f"correlation:{STAINS[i]}+{STAINS[j]}:{name}"] = value
    return values
