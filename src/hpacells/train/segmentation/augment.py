"""Random changes of a patch's stains: borders, brightness, focus, noise, light, specks.

Outlines stay.

Stains come and go as the network gets them, the root of a share of the bright end
(``segment.stain_input``); light adds up and noise arises in what is below the root, so the changes
are made there.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.runtime.segmenter_folder import MAP_STAINS
from hpacells.train.segmentation.config import MapAugmentConfig

__all__ = ["change_stains", "hide_borders"]

_Stains = npt.NDArray[np.float32]
_Mask = npt.NDArray[np.bool_]

_HIDDEN_STAINS = [MAP_STAINS.index(s) for s in (Channel.MICROTUBULES, Channel.ER)]
_FREE_RIM_PX = 9  # no rim of a cell that lies free is wider than half of this
_HIDING_BAND_PX = 5
_SHIFT_PX = (5, 14)
_STRETCH_PX = 24.0  # grain of the places where borders are hidden


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
    if rng.random() < config.glow_share:
        _add_glow(light, config, rng)
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


def hide_borders(stains: _Stains, cell: _Mask, border: _Mask, rng: np.random.Generator) -> _Stains:
    """Let microtubules and ER run on over stretches of the borders between touching cells.

    Parameters
    ----------
    stains
        ``(3, S, S)`` float32 in [0, 1], in the order of ``MAP_STAINS``; not changed.
    cell, border
        ``(S, S)`` bool, as in ``MAPS``.
    rng
        Decides where, and what lies there instead: the same stains from some µm aside, or the
        brighter of the two.

    Returns
    -------
    ndarray
        ``(3, S, S)`` float32 in [0, 1].
    """
    between = border.astype(np.uint8) & _morph(cv2.erode, cell, _FREE_RIM_PX)
    if not between.any():
        return stains
    band = _blur(_morph(cv2.dilate, between > 0, _HIDING_BAND_PX).astype(np.float32), 1.5)
    hidden = np.clip(1.5 * _unit_field(cell.shape, _STRETCH_PX, rng) + rng.uniform(-1, 1.5), 0, 1)
    weight = np.minimum(1.3 * band, 1) * hidden.astype(np.float32) * cell
    turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(*_SHIFT_PX)
    shift = (round(far * np.sin(turn)), round(far * np.cos(turn)))
    brighter = rng.random() < 0.5
    changed = stains.copy()
    for k in _HIDDEN_STAINS:
        aside = np.roll(stains[k], shift, axis=(0, 1))
        aside = np.where(np.roll(cell, shift, axis=(0, 1)), aside, stains[k])
        instead = np.maximum(stains[k], aside) if brighter else aside
        changed[k] += weight * (instead - stains[k])
    return changed


def _morph(
    change: Callable[..., cv2.typing.MatLike], mask: _Mask, side_px: int
) -> npt.NDArray[np.uint8]:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side_px, side_px))
    return np.asarray(change(mask.astype(np.uint8), disk), np.uint8).reshape(mask.shape)


def _add_glow(light: _Stains, config: MapAugmentConfig, rng: np.random.Generator) -> None:
    """Spread a share of each stain's light over its surroundings, in place."""
    low, high = np.log(np.array(config.glow_px))
    sigma_px = float(np.exp(rng.uniform(low, high)))
    for stain in light:
        stain[:] += np.float32(rng.uniform(0, config.glow_max)) * _blur(stain, sigma_px)


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
