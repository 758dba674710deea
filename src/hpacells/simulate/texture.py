"""Random textures and smooth curves with their lengths in µm, the same at any pixel size."""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "FloatImage",
    "blur_um",
    "compress",
    "from_coarse",
    "mean_within",
    "noise_spread",
    "place_bound_noise",
    "polygon_walls",
    "smooth_noise",
    "smoothstep",
    "to_unit",
]

FloatImage = npt.NDArray[np.float32]
_AVERAGED, _AVERAGED_POWER = 0.88, 2.6  # fitted to noise at 0.04 µm, averaged over larger pixels
_FINE_STEP = 4.0  # noise is curved on this many pixels a grain, straight in between
_PERIOD = 32  # grains after which noise bound to places comes again
_PERCENTILE_OF, _FEW = 60_000, 500  # pixels of an image that tell its percentile, for speed
_COARSE_SIGMA = 1.8  # pixels of a coarser grid that a blur is left with


def smooth_noise(
    shape: tuple[int, int], pixel_um: float, length_um: float, *, rng: np.random.Generator
) -> FloatImage:
    """Draw Gaussian noise whose grains are ``length_um`` wide, as pixels of that size see it.

    A pixel averages over what is finer than itself: where grains are not much wider than pixels the
    noise is fainter, so that a field at large pixels is as grainy as one at small pixels, averaged.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_um
        µm per pixel.
    length_um
        Distance of independent values; below one pixel all pixels are independent.
    rng
        Source of the noise.

    Returns
    -------
    ndarray
        float32, mean about 0, standard deviation about ``noise_spread(length_um, pixel_um)``.
    """
    spread = np.float32(noise_spread(length_um, pixel_um))
    step = max(length_um / pixel_um, 1.0)
    rows, columns = (int(np.ceil(n / step)) + 4 for n in shape)
    grains = rng.standard_normal((rows, columns), dtype=np.float32)
    shift = rng.uniform(0.0, 1.0, 2)
    if step <= 1.0:
        grains *= spread
        return _cut(grains, shape, 1 + shift)
    grains *= spread * np.float32(1.17)  # interpolation between independent values lowers it
    fine = step if step < 1.5 * _FINE_STEP else _FINE_STEP
    smooth = _enlarge(grains, fine, cv2.INTER_CUBIC)
    if step < 1.5 * _FINE_STEP:
        return _cut(smooth, shape, fine * (1 + shift))
    ratio = step / fine  # the rest of the way straight lines do, over what is needed only
    part = (int(np.ceil(shape[0] / ratio)) + 2, int(np.ceil(shape[1] / ratio)) + 2)
    wide = _enlarge(_cut(smooth, part, fine * (1 + shift)), ratio, cv2.INTER_LINEAR)
    return _cut(wide, shape, np.zeros(2))


def noise_spread(length_um: float, pixel_um: float) -> float:
    """Give the standard deviation that pixels leave of noise of unit spread.

    Parameters
    ----------
    length_um
        Width of the grains.
    pixel_um
        µm per pixel.

    Returns
    -------
    float
        About 1 from three pixels a grain on, 0.81 at one, and in proportion to the length far
        below it, as the mean of ``(pixel / length)²`` independent values.
    """
    ratio = _AVERAGED * pixel_um / length_um
    return float((1.0 + ratio**_AVERAGED_POWER) ** (-1.0 / _AVERAGED_POWER))


def _enlarge(image: FloatImage, factor: float, interpolation: int) -> FloatImage:
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=interpolation).astype(np.float32, copy=False)


def _cut(image: FloatImage, shape: tuple[int, int], corner: npt.NDArray[np.float64]) -> FloatImage:
    r0, c0 = (int(value) for value in corner)
    cut: FloatImage = image[r0 : r0 + shape[0], c0 : c0 + shape[1]]
    return cut


def place_bound_noise(
    shape: tuple[int, int],
    pixel_um: float,
    length_um: float,
    *,
    corner_px: tuple[float, float],
    rng: np.random.Generator,
) -> FloatImage:
    """Draw wide Gaussian noise that is bound to places in µm: the same at any pixel size.

    Parameters
    ----------
    shape
        Rows and columns of the part that is drawn.
    pixel_um
        µm per pixel.
    length_um
        Distance of independent values, several pixels. The noise comes again after 32 of them.
    corner_px
        Row and column of the part's first pixel; any part of the plane can be drawn.
    rng
        Source of the noise; the part does not change what is taken from it.

    Returns
    -------
    ndarray
        ``shape`` float32, mean about 0, standard deviation about 1.
    """
    grains = 1.17 * rng.standard_normal((_PERIOD, _PERIOD), dtype=np.float32)
    wide = _enlarge(np.pad(grains, 2, mode="wrap"), _FINE_STEP, cv2.INTER_CUBIC)
    edge = int(2 * _FINE_STEP)
    tile = wide[edge:-edge, edge:-edge]
    scale = _FINE_STEP * pixel_um / length_um
    down, right = ((corner + 0.5) * scale - 0.5 for corner in corner_px)
    return cv2.warpAffine(
        tile,
        np.array([[scale, 0, right], [0, scale, down]]),
        shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    ).astype(np.float32, copy=False)


def smoothstep(values: FloatImage, low: float, high: float) -> FloatImage:
    """Rise from 0 at ``low`` to 1 at ``high`` without corners."""
    part = values * np.float32(1 / (high - low))
    part -= np.float32(low / (high - low))
    np.clip(part, 0, 1, out=part)
    result: FloatImage = part * np.float32(-2)
    result += np.float32(3)
    result *= part
    result *= part
    return result


def to_unit(image: FloatImage, percentile: float = 98.0) -> FloatImage:
    """Scale so that the bright part of what is drawn is 1; an empty image stays empty."""
    top = float(image.max(initial=0.0))
    if top <= 1e-6:
        return image
    step = max(1, int(np.sqrt(image.size / _PERCENTILE_OF)))
    some = image[::step, ::step]
    drawn = some[some > 0.08 * top]
    if drawn.size < _FEW:
        drawn = image[image > 0.08 * top]
    return image / np.float32(max(float(np.percentile(drawn, percentile)), 1e-6))


def mean_within(image: FloatImage, mask: npt.NDArray[np.bool_]) -> float:
    """Average an image over a mask of the same shape; 0 for an empty one."""
    area = cv2.countNonZero(mask.view(np.uint8))
    return float(np.vdot(image, mask.astype(np.float32))) / area if area else 0.0


def compress(image: FloatImage, strength: float) -> FloatImage:
    """Bend levels above 1 down and those below 1 up, as bright stains saturate; 1 stays 1."""
    result: FloatImage = image * np.float32(strength)
    result += np.float32(1)
    np.divide(image, result, out=result)
    result *= np.float32(1 + strength)
    return result


def polygon_walls(shape: tuple[int, int], seeds: npt.NDArray[np.float64]) -> FloatImage:
    """Draw the walls between the nearest neighbourhoods of seeds, one pixel wide.

    Parameters
    ----------
    shape
        Rows and columns.
    seeds
        ``(n, 2)`` row and column in pixels; fewer than two give no walls.

    Returns
    -------
    ndarray
        ``shape`` float32, 1 on a wall, 0 elsewhere.
    """
    walls = np.zeros(shape, np.float32)
    if len(seeds) < 2:
        return walls
    ground = np.ones(shape, np.uint8)
    places = np.clip(np.rint(seeds).astype(int), 0, np.array(shape) - 1)
    ground[places[:, 0], places[:, 1]] = 0
    _, nearest = cv2.distanceTransformWithLabels(
        ground, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    walls[:, 1:] = nearest[:, 1:] != nearest[:, :-1]
    walls[1:] += nearest[1:] != nearest[:-1]
    return np.minimum(walls, np.float32(1.0))


def from_coarse(image: FloatImage, step: int, shape: tuple[int, int]) -> FloatImage:
    """Bring a map of every ``step``-th pixel to all pixels, straight in between.

    Parameters
    ----------
    image
        ``(ceil(h / step), ceil(w / step))`` float32; its first pixel is the first of the result.
    step
        1 or more; 1 gives the map itself.
    shape
        Rows and columns of the result, ``(h, w)``.
    """
    if step == 1:
        return image
    matrix = np.array([[1 / step, 0, 0], [0, 1 / step, 0]])
    return cv2.warpAffine(
        image,
        matrix,
        shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32, copy=False)


def blur_um(image: FloatImage, sigma_um: float, pixel_um: float) -> FloatImage:
    """Blur with a Gaussian of that standard deviation; wide ones on a coarser grid, for speed."""
    sigma = sigma_um / pixel_um
    if sigma < 0.2:
        return image
    step = int(sigma / _COARSE_SIGMA)
    if step < 2 or min(image.shape) < 4 * step:
        return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32, copy=False)
    rows, columns = image.shape
    down, right = -rows % step, -columns % step
    whole = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT_101)
    size = ((columns + right) // step, (rows + down) // step)
    coarse = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    # averaging and straight lines blur too: variances add up, in squared pixels
    rest = np.sqrt(sigma**2 - (step**2 - 1) / 12 - step**2 / 6)
    coarse = cv2.GaussianBlur(coarse, (0, 0), rest / step)
    wide = cv2.resize(coarse, whole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return wide[:rows, :columns].astype(np.float32, copy=False)
