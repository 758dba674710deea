"""Random textures and strokes with their lengths in µm, the same at any pixel size."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["FloatImage", "blur_um", "draw_spots", "draw_strokes", "smooth_noise", "smoothstep"]

FloatImage = npt.NDArray[np.float32]
_FRACTION_BITS = 4
_LAYERS = 4


def smooth_noise(
    shape: tuple[int, int], pixel_um: float, length_um: float, *, rng: np.random.Generator
) -> FloatImage:
    """Draw Gaussian noise whose grains are ``length_um`` wide.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_um
        µm per pixel.
    length_um
        Distance of independent values; below one pixel it is one pixel.
    rng
        Source of the noise.

    Returns
    -------
    ndarray
        float32, mean about 0, standard deviation about 1.
    """
    step = max(length_um / pixel_um, 1.0)
    rows, columns = (int(np.ceil(n / step)) + 4 for n in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    if step > 1.0:
        coarse *= np.float32(1.17)  # interpolation between independent values lowers the spread
    shift = rng.uniform(0.0, 1.0, 2)
    matrix = np.array([[step, 0, -step * (1 + shift[0])], [0, step, -step * (1 + shift[1])]])
    return cv2.warpAffine(
        coarse, matrix, (shape[1], shape[0]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    ).astype(np.float32, copy=False)


def smoothstep(values: FloatImage, low: float, high: float) -> FloatImage:
    """Rise from 0 at ``low`` to 1 at ``high`` without corners."""
    part = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    result: FloatImage = part * part * (3 - 2 * part)
    return result


def blur_um(image: FloatImage, sigma_um: float, pixel_um: float) -> FloatImage:
    """Blur with a Gaussian of that standard deviation."""
    sigma = sigma_um / pixel_um
    if sigma < 0.2:
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32, copy=False)


def draw_strokes(
    shape: tuple[int, int],
    paths: Sequence[npt.NDArray[np.float64]],
    *,
    levels: npt.NDArray[np.float64],
    width_um: float,
    pixel_um: float,
) -> FloatImage:
    """Draw bending lines that add up where they cross.

    Parameters
    ----------
    shape
        Rows and columns of the result.
    paths
        Each ``(n, 2)``, row and column in pixels.
    levels
        ``(len(paths),)`` brightness 0-1 of each.
    width_um
        Width of a line; at least one pixel is drawn, with its brightness lowered for it.
    pixel_um
        µm per pixel.

    Returns
    -------
    ndarray
        ``shape`` float32; a single line of level 1 and of at least a pixel's width has about 1.
    """
    total = np.zeros(shape, np.float32)
    thickness = max(1, round(width_um / pixel_um))
    gain = min(1.0, width_um / (thickness * pixel_um))
    for layer in range(_LAYERS):
        canvas = np.zeros(shape, np.uint8)
        for path, level in zip(paths[layer::_LAYERS], levels[layer::_LAYERS], strict=True):
            if len(path) < 2:
                continue
            points = np.rint(path[:, ::-1] * (1 << _FRACTION_BITS)).astype(np.int32)
            cv2.polylines(
                canvas,
                [np.ascontiguousarray(points)],
                isClosed=False,
                color=(int(255 * min(max(level, 0.0), 1.0)),),
                thickness=thickness,
                lineType=cv2.LINE_AA,
                shift=_FRACTION_BITS,
            )
        total += canvas
    return total * np.float32(gain / 255.0)


def draw_spots(
    shape: tuple[int, int],
    centres: npt.NDArray[np.float64],
    *,
    sigmas_um: npt.NDArray[np.float64],
    levels: npt.NDArray[np.float64],
    pixel_um: float,
) -> FloatImage:
    """Draw round Gaussian spots of a given peak brightness.

    Parameters
    ----------
    shape
        Rows and columns of the result.
    centres
        ``(n, 2)`` row and column in pixels; those outside are left out.
    sigmas_um
        ``(n,)`` radius at which a spot has 61 % of its peak; grouped into at most four sizes.
    levels
        ``(n,)`` peak brightness.
    pixel_um
        µm per pixel.
    """
    total = np.zeros(shape, np.float32)
    if len(centres) == 0:
        return total
    order = np.argsort(sigmas_um, kind="stable")
    for group in np.array_split(order, min(4, len(order))):
        sigma = max(float(sigmas_um[group].mean()) / pixel_um, 0.5)
        impulses = np.zeros(shape, np.float32)
        places = np.floor(centres[group]).astype(int)
        parts = centres[group] - places
        for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
            rows, columns = places[:, 0] + dr, places[:, 1] + dc
            inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
            share = np.abs(1 - dr - parts[:, 0]) * np.abs(1 - dc - parts[:, 1])
            np.add.at(impulses, (rows[inside], columns[inside]), (share * levels[group])[inside])
        peak = 2 * np.pi * sigma**2
        total += cv2.GaussianBlur(impulses, (0, 0), sigma) * np.float32(peak)
    return total
