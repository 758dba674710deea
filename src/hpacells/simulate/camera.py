"""From stains to grey values: blur, bleed-through, uneven light, noise, stretch, clipping.

The published images are stretched and clipped: their background is mostly exact zero and bright
structures saturate. Grey values are calibrated to the percentiles inside cells of the atlas.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.simulate.texture import FloatImage, blur_um, smooth_noise

__all__ = ["Exposure", "draw_exposure", "take_picture"]

_GLOW_UM = 2.5
_NOISE_PIXEL_UM = 0.08  # noise is stated at this pixel; larger pixels average over it
_RANGES = {  # grey value of a bright structure (level 1), 8-bit scale
    Channel.MICROTUBULES: (130.0, 270.0),
    Channel.PROTEIN: (85.0, 260.0),
    Channel.NUCLEUS: (130.0, 240.0),
    Channel.ER: (135.0, 280.0),
}
_SHOT = {  # variance per grey value at 0.08 µm
    Channel.MICROTUBULES: (0.25, 2.2),
    Channel.PROTEIN: (0.3, 2.2),
    Channel.NUCLEUS: (0.15, 1.2),
    Channel.ER: (1.2, 7.0),
}
_OFFSETS = {  # grey values that the black level of the published images takes off
    Channel.MICROTUBULES: (4.5, 10.0),
    Channel.PROTEIN: (2.0, 9.0),
    Channel.NUCLEUS: (3.0, 9.0),
    Channel.ER: (4.0, 9.5),
}
_NEGATIVE_GREY = (12.0, 26.0)
_BLEED = {  # (from, into): largest share of the light that leaks
    (Channel.PROTEIN, Channel.ER): 0.012,
    (Channel.ER, Channel.PROTEIN): 0.012,
    (Channel.MICROTUBULES, Channel.ER): 0.08,
    (Channel.ER, Channel.MICROTUBULES): 0.06,
    (Channel.MICROTUBULES, Channel.PROTEIN): 0.008,
    (Channel.NUCLEUS, Channel.ER): 0.03,
    (Channel.ER, Channel.NUCLEUS): 0.006,
}
_DEFOCUSED_SHARE = 0.05
_TOP = {  # grey value that the stretch aims at for the bright end of an image
    Channel.MICROTUBULES: 255.0,
    Channel.PROTEIN: 225.0,
    Channel.NUCLEUS: 255.0,
    Channel.ER: 228.0,
}
_TOP_SHARE = 99.5  # percentile that is the bright end
_STRETCH = 0.75
_STRETCH_LIMITS = (0.5, 2.2)  # faint images stay faint
_POOL = 1 << 20  # values of unit noise of which a picture's is made
_HOT_PIXELS = 1.5  # mean number of them in a stain's image


@dataclass(frozen=True)
class Exposure:
    """How one field is recorded, per stain in the order of ``CHANNELS``.

    Parameters
    ----------
    gain
        Grey value (8-bit scale) of level 1.
    blur_um
        Standard deviation of the point spread, out-of-focus blur included.
    glow
        Share of light from out of focus, spread over a few µm.
    shot, read
        Noise: variance per grey value, standard deviation in grey values, at 0.08 µm.
    offset
        Grey values taken off by the stretch.
    stretch
        How far the bright end of an image is brought to that of the published images, which are
        stretched one by one: 0 not at all, 1 to the same grey value.
    leak
        ``leak[i][j]``: share of stain j's grey values that appear in stain i.
    vignette
        Loss of light from the brightest place to one field's side away.
    hot_pixels
        Mean number of pixels of each stain that give light by themselves.
    """

    gain: tuple[float, ...]
    blur_um: tuple[float, ...]
    glow: tuple[float, ...]
    shot: tuple[float, ...]
    read: tuple[float, ...]
    offset: tuple[float, ...]
    leak: tuple[tuple[float, ...], ...] = ((0.0,) * 4,) * 4
    vignette: float = 0.0
    hot_pixels: float = 0.0
    stretch: tuple[float, ...] = (0.0,) * 4


def draw_exposure(rng: np.random.Generator, *, negative: bool) -> Exposure:
    """Draw a field's exposure; ``negative``: the protein stain of an image without protein."""
    gains = []
    for channel in CHANNELS:
        gain = _between(rng, *_RANGES[channel])
        if negative and channel == Channel.PROTEIN:
            gain = float(rng.uniform(*_NEGATIVE_GREY))
        gains.append(gain)
    sharp = _between(rng, 0.085, 0.15)
    defocus = float(rng.uniform(0.2, 0.4)) if rng.random() < _DEFOCUSED_SHARE else 0.0
    count = len(CHANNELS)
    return Exposure(
        gain=tuple(gains),
        blur_um=tuple(
            float(np.hypot(sharp * rng.uniform(0.95, 1.15), defocus)) for _ in range(count)
        ),
        glow=tuple(
            float(rng.uniform(0.0, 0.02 if channel is Channel.NUCLEUS else 0.12)) + 0.3 * defocus
            for channel in CHANNELS
        ),
        shot=tuple(_between(rng, *_SHOT[channel]) for channel in CHANNELS),
        read=tuple(_between(rng, 0.3, 1.6) for _ in range(count)),
        offset=tuple(_between(rng, *_OFFSETS[channel]) for channel in CHANNELS),
        leak=tuple(
            tuple(float(rng.random() * _BLEED.get((source, into), 0.0)) for source in CHANNELS)
            for into in CHANNELS
        ),
        vignette=float(rng.uniform(0.0, 0.18)),
        hot_pixels=_HOT_PIXELS,
        stretch=tuple(
            0.0 if negative and channel is Channel.PROTEIN else _STRETCH for channel in CHANNELS
        ),
    )


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly on the logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def take_picture(
    stains: FloatImage,
    exposure: Exposure,
    *,
    pixel_um: float,
    max_value: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Record the stains as a microscope does.

    Parameters
    ----------
    stains
        ``(C, H, W)`` float32, level 1 is bright; changed in place.
    exposure
        Of this field.
    pixel_um
        µm per pixel.
    max_value
        255 or 65535.
    rng
        Source of light and noise.

    Returns
    -------
    ndarray
        ``(C, H, W)`` uint8 or uint16.
    """
    light = _illumination((stains.shape[1], stains.shape[2]), exposure, pixel_um, rng)
    kind = np.uint8 if max_value == 255 else np.uint16
    picture = np.empty(stains.shape, kind)
    for k in range(len(CHANNELS)):
        blurred = blur_um(stains[k], exposure.blur_um[k], pixel_um)
        if exposure.glow[k] > 0:
            glow = blur_um(stains[k], _GLOW_UM, pixel_um)
            blurred = cv2.scaleAdd(glow, exposure.glow[k], blurred).astype(np.float32, copy=False)
        gain = exposure.gain[k] * _stretch_of(blurred, exposure, k)
        np.multiply(blurred, np.float32(gain), out=stains[k])
    pool = _noise_pool(picture.shape[1:], rng)
    for k in range(len(CHANNELS)):
        grey = stains[k].copy()
        for other, share in enumerate(exposure.leak[k]):
            if share > 0:
                cv2.scaleAdd(stains[other], share, grey, dst=grey)
        grey *= light
        rows = pool[rng.integers(0, len(pool), len(grey))]
        _add_noise(grey, rows, exposure, k, finer=min(1.0, _NOISE_PIXEL_UM / pixel_um))
        grey -= np.float32(exposure.offset[k])
        _add_hot_pixels(grey, exposure.hot_pixels, rng)
        np.clip(grey, 0, 255, out=grey)
        if max_value != 255:
            grey *= np.float32(max_value / 255.0)
        picture[k] = np.rint(grey, out=grey).astype(kind)
    return picture


def _stretch_of(stain: FloatImage, exposure: Exposure, k: int) -> float:
    """Give the factor that brings an image's bright end towards the published images'."""
    top = exposure.gain[k] * float(np.percentile(stain[::4, ::4], _TOP_SHARE))
    if exposure.stretch[k] <= 0 or top <= 0:
        return 1.0
    factor = (_TOP[CHANNELS[k]] / top) ** exposure.stretch[k]
    return float(np.clip(factor, *_STRETCH_LIMITS))


def _illumination(
    shape: tuple[int, int], exposure: Exposure, pixel_um: float, rng: np.random.Generator
) -> FloatImage:
    """Draw uneven light: brightest somewhere near the middle, waves of a few per cent."""
    light = 1 + 0.04 * smooth_noise(shape, pixel_um, 90.0, rng=rng)
    centre = rng.uniform(0.35, 0.65, 2)
    down = np.square(np.linspace(0, 1, shape[0], dtype=np.float32) - np.float32(centre[0]))
    right = np.square(np.linspace(0, 1, shape[1], dtype=np.float32) - np.float32(centre[1]))
    loss = np.float32(exposure.vignette)
    result: FloatImage = light * (1 - loss * down)[:, None] * (1 - loss * right)[None, :]
    return result.astype(np.float32, copy=False)


def _noise_pool(shape: tuple[int, ...], rng: np.random.Generator) -> FloatImage:
    """Give rows ``(n, W)`` of unit noise to choose from: pieces of one line of a million values.

    A million values a stain, row by row, would be drawn for 4 % of a field's time; pieces that
    start anywhere on the line look no different.
    """
    line = rng.standard_normal(min(_POOL, shape[0] * shape[1]) + shape[1], dtype=np.float32)
    return np.lib.stride_tricks.sliding_window_view(line, shape[1])


def _add_noise(
    grey: FloatImage, noise: FloatImage, exposure: Exposure, k: int, *, finer: float
) -> None:
    """Add shot and read noise in place, from unit noise; larger pixels average over it."""
    spread = np.maximum(grey, 0)
    spread *= np.float32(exposure.shot[k] * finer**2)
    spread += np.float32((exposure.read[k] * finer) ** 2)
    np.sqrt(spread, out=spread)
    spread *= noise
    grey += spread


def _add_hot_pixels(grey: FloatImage, mean_count: float, rng: np.random.Generator) -> None:
    count = int(rng.poisson(mean_count))
    rows, columns = (rng.integers(0, size, count) for size in grey.shape)
    grey[rows, columns] += rng.uniform(30, 255, count).astype(np.float32)
