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
    Channel.MICROTUBULES: (140.0, 320.0),
    Channel.PROTEIN: (85.0, 260.0),
    Channel.NUCLEUS: (85.0, 190.0),
    Channel.ER: (65.0, 185.0),
}
_NEGATIVE_GREY = (12.0, 26.0)


@dataclass(frozen=True)
class Exposure:
    """How one field is recorded, per stain in the order of ``CHANNELS``.

    Parameters
    ----------
    gain
        Grey value (8-bit scale) of level 1.
    blur_um
        Standard deviation of the point spread.
    glow
        Share of light from out of focus, spread over a few µm.
    shot, read
        Noise: variance per grey value, standard deviation in grey values, at 0.08 µm.
    offset
        Grey values taken off by the stretch.
    """

    gain: tuple[float, ...]
    blur_um: tuple[float, ...]
    glow: tuple[float, ...]
    shot: tuple[float, ...]
    read: tuple[float, ...]
    offset: tuple[float, ...]


def draw_exposure(rng: np.random.Generator, *, negative: bool) -> Exposure:
    """Draw a field's exposure; ``negative``: the protein stain of an image without protein."""
    gains = []
    for channel in CHANNELS:
        low, high = _RANGES[channel]
        gain = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if negative and channel == Channel.PROTEIN:
            gain = float(rng.uniform(*_NEGATIVE_GREY))
        gains.append(gain)
    sharp = rng.uniform(0.09, 0.14)
    count = len(CHANNELS)
    return Exposure(
        gain=tuple(gains),
        blur_um=tuple(float(sharp * rng.uniform(0.95, 1.15)) for _ in range(count)),
        glow=tuple(
            float(rng.uniform(0.0, 0.02 if channel is Channel.NUCLEUS else 0.12))
            for channel in CHANNELS
        ),
        shot=tuple(float(rng.uniform(0.4, 2.0)) for _ in range(count)),
        read=tuple(float(rng.uniform(0.4, 1.6)) for _ in range(count)),
        offset=tuple(float(rng.uniform(1.0, 4.0)) for _ in range(count)),
    )


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
    shape = (stains.shape[1], stains.shape[2])
    finer = min(1.0, _NOISE_PIXEL_UM / pixel_um)
    light = 1 + 0.05 * smooth_noise(shape, pixel_um, 90.0, rng=rng)
    kind = np.uint8 if max_value == 255 else np.uint16
    picture = np.empty(stains.shape, kind)
    blurred = [
        blur_um(stains[k], exposure.blur_um[k], pixel_um)
        + np.float32(exposure.glow[k]) * _out_of_focus(stains[k], pixel_um)
        for k in range(len(CHANNELS))
    ]
    leaks = {Channel.ER: Channel.PROTEIN, Channel.PROTEIN: Channel.ER}
    for k, channel in enumerate(CHANNELS):
        grey = blurred[k] * np.float32(exposure.gain[k])
        if channel in leaks:
            other = leaks[channel].position
            leak = rng.uniform(0.0, 0.012) * exposure.gain[other]
            grey += blurred[other] * np.float32(leak)
        grey *= light
        spread = grey * np.float32(exposure.shot[k] * finer**2)
        spread += np.float32((exposure.read[k] * finer) ** 2)
        np.sqrt(spread, out=spread)
        spread *= rng.standard_normal(shape, dtype=np.float32)
        grey += spread
        grey -= np.float32(exposure.offset[k])
        np.clip(grey, 0, 255, out=grey)
        grey *= np.float32(max_value / 255.0)
        picture[k] = np.rint(grey, out=grey).astype(kind)
    return picture


def _out_of_focus(stain: FloatImage, pixel_um: float) -> FloatImage:
    """Spread a stain over micrometres, on a coarser grid for speed."""
    step = max(1, round(0.5 * _GLOW_UM / pixel_um))
    size = (max(1, stain.shape[1] // step), max(1, stain.shape[0] // step))
    coarse = cv2.resize(stain, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), _GLOW_UM / (step * pixel_um))
    wide = cv2.resize(coarse, stain.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return wide.astype(np.float32, copy=False)
