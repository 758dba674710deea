"""Random changes of a patch's stains: brightness, focus, noise, light, specks. Outlines stay.

Stains come and go as the network gets them, the root of a share of the bright end
(``segment.stain_input``); light adds up and noise arises in what is below the root, so the changes
are made there.
"""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.train.segmentation.config import MapAugmentConfig

__all__ = ["change_stains"]

_Stains = npt.NDArray[np.float32]


def change_stains(stains: _Stains, config: MapAugmentConfig, rng: np.random.Generator) -> _Stains:
    """Change the stains of one patch.

    Parameters
    ----------
    stains
        ``(C, S, S)`` float32 in [0, 1]; not changed.
    config
        Which changes, and how large.
    rng
        Decides.

    Returns
    -------
    ndarray
        ``(C, S, S)`` float32 in [0, 1].
    """
    light = np.square(stains)
    if rng.random() < config.debris_share:
        _add_debris(light, config, rng)
    for stain in light:
        if rng.random() < config.texture_share:
            stain[:] *= _mottle(stain.shape, rng)
        if rng.random() < config.blur_share:
            stain[:] = _blur(stain, rng.uniform(0.3, max(0.3, config.blur_max_px)))
    if rng.random() < config.gradient_share:
        light *= _uneven_light(light.shape[1:], config.gradient_max, rng)
    each = (len(light), 1, 1)
    np.power(light, np.exp(rng.normal(0, config.gamma_log_sd, each)).astype(np.float32), out=light)
    light *= np.exp(rng.normal(0, config.gain_log_sd, each)).astype(np.float32)
    light += rng.uniform(-config.offset_max, config.offset_max, each).astype(np.float32)
    if rng.random() < config.noise_share:
        light += _noise(light, config.noise_max, rng)
    return np.sqrt(np.clip(light, 0.0, 1.0))


def _blur(image: _Stains, sigma_px: float) -> _Stains:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return blurred.reshape(image.shape).astype(np.float32, copy=False)


def _unit_field(shape: tuple[int, ...], grain_px: float, rng: np.random.Generator) -> _Stains:
    """Draw a random field of this grain, mean 0 and standard deviation 1."""
    coarse = [max(2, round(side / grain_px) + 1) for side in shape]
    field = rng.standard_normal(coarse, np.float32)
    smooth = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    smooth -= smooth.mean()
    return (smooth / max(float(smooth.std()), 1e-6)).astype(np.float32, copy=False)


def _mottle(shape: tuple[int, ...], rng: np.random.Generator) -> _Stains:
    depth = np.float32(rng.uniform(0.1, 0.5))
    return np.exp(depth * _unit_field(shape, float(np.exp(rng.uniform(0.7, 2.5))), rng))


def _uneven_light(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> _Stains:
    """Draw a plane of factors, 1 at its brightest, falling to ``1 - most`` at the least."""
    rows, columns = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in shape)
    angle, loss = rng.uniform(0, 2 * np.pi), rng.uniform(0, most)
    slope = np.float32(np.cos(angle)) * rows[:, None] + np.float32(np.sin(angle)) * columns
    slope = (slope - slope.min()) / max(float(np.ptp(slope)), 1e-6)
    return (1 - np.float32(loss) * slope).astype(np.float32)


def _noise(light: _Stains, most: float, rng: np.random.Generator) -> _Stains:
    """Draw the camera's noise, the light's own, and grains wider than a pixel."""
    camera, own, grain = rng.uniform(0, most, 3).astype(np.float32) * (1.0, 1.0, 0.7)
    sd = np.sqrt(camera**2 * 0.25 + own**2 * np.clip(light, 0, 1)).astype(np.float32)
    noise = rng.standard_normal(light.shape, np.float32) * sd
    sigma_px = float(rng.uniform(0.6, 1.6))
    for plane in noise:
        grains = _blur(rng.standard_normal(plane.shape, np.float32), sigma_px)
        plane[:] += grains * np.float32(grain / max(float(grains.std()), 1e-6))
    return noise


def _add_debris(light: _Stains, config: MapAugmentConfig, rng: np.random.Generator) -> None:
    """Add bright specks and short fibres to one or more stains, in place."""
    side = light.shape[1:]
    specks = np.zeros(side, np.float32)
    for _ in range(int(rng.integers(0, config.debris_most + 1))):
        centre = (int(rng.integers(side[1])), int(rng.integers(side[0])))
        axes = (int(rng.integers(1, 7)), int(rng.integers(1, 5)))
        angle, level = float(rng.uniform(0, 180)), float(rng.uniform(0.2, 1.2))
        cv2.ellipse(specks, centre, axes, angle, 0, 360, level, cv2.FILLED)
    specks = _blur(specks, float(rng.uniform(0.5, 1.8)))
    for stain in light:
        if rng.random() < 0.6:
            stain[:] += specks * np.float32(rng.uniform(0.2, 1.0))
