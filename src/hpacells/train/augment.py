"""Random changes of a batch of crops that leave a cell's locations as they are.

Turning and moving, outlines, then what stains, optics, cameras and files do, in that order:
blur, brightness, background, black level, gamma, grain, JPEG, noise. OpenCV on 8-bit planes of
single cells: for 64 cells of 112 px this is a few per cent of a training step.
"""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hpacells.core.channels import Channel
from hpacells.train.config_sections import AugmentConfig

__all__ = ["augment_crops", "derive_rng", "hide_stains"]

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

_COARSEST_GRAIN_PX = 0.9
_FINEST_BLUR_PX = 0.3  # a grain that is blurred by less is as fine as the pixels
_POOLED_NOISE = 1 << 18


def derive_rng(generator: torch.Generator) -> np.random.Generator:
    """Make a numpy generator from the next draw of a torch one."""
    return np.random.default_rng(int(torch.randint(1 << 62, (1,), generator=generator)))


def augment_crops(
    crops: Tensor, cell_masks: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change each cell of a batch by itself.

    Parameters
    ----------
    crops
        ``(N, C, S, S)`` uint8, on the CPU; not changed.
    cell_masks
        ``(N, S, S)`` uint8, 0 or 1; turned and moved with its crop.
    config
        Which changes, and how large. Missing stains are not its affair (``hide_stains``).
    generator
        Decides; on the CPU.

    Returns
    -------
    crops
        ``(N, C, S, S)`` float32, 0-255.
    cell_masks
        ``(N, S, S)`` float32, 0 or 1.
    """
    rng = derive_rng(generator)
    pixels, masks = crops.numpy().copy(), cell_masks.numpy().copy()
    if config.dihedral:
        _turn(pixels, masks, rng)
    _warp(pixels, masks, config, rng)
    _change_outlines(masks, config, rng)
    _blur(pixels, config, rng)
    light = _change_tones(pixels, config, rng)
    _add_grain(light, config, rng)
    _code_as_jpeg(light, config, rng)
    _add_noise(light, config, rng)
    np.clip(light, 0.0, 255.0, out=light)
    return torch.from_numpy(light), torch.from_numpy(masks.astype(np.float32))


def hide_stains(
    crops: Tensor,
    bag_of_cell: npt.NDArray[np.int64],
    config: AugmentConfig,
    generator: torch.Generator,
) -> None:
    """Set stains of whole bags to zero, in place, as prediction does with one declared missing.

    Whole bags, because a missing stain is missing in all cells of a field: were it hidden from
    single cells, the others would answer for the bag, and those without it would learn little.

    Parameters
    ----------
    crops
        ``(N, C, S, S)``; changed after everything else, for noise would say "here, but dark".
    bag_of_cell
        ``(N,)`` int64 number of each cell's bag.
    config
        ``missing_er`` and ``missing_microtubules``, each by its own chance.
    generator
        Decides; on the CPU.
    """
    rng = derive_rng(generator)
    n_bags = int(bag_of_cell.max(initial=-1)) + 1
    shares = {Channel.ER: config.missing_er, Channel.MICROTUBULES: config.missing_microtubules}
    for stain, share in shares.items():
        hidden = rng.random(n_bags) < share
        crops[torch.from_numpy(hidden[bag_of_cell]), stain.position] = 0


def _chosen(n: int, share: float, rng: np.random.Generator) -> list[int]:
    return [int(i) for i in np.flatnonzero(rng.random(n) < share)]


def _turn(pixels: _Bytes, masks: _Bytes, rng: np.random.Generator) -> None:
    """Apply one of the eight symmetries of the square to each cell: exact, no interpolation."""
    for i, k in enumerate(rng.integers(8, size=len(pixels)).tolist()):
        for planes in (pixels[i], masks[i]):
            turned = np.rot90(planes, k % 4, axes=(-2, -1))
            planes[:] = turned[..., ::-1] if k >= 4 else turned  # numpy sees that they overlap


def _warp(pixels: _Bytes, masks: _Bytes, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Turn by any angle, scale and shift, with linear interpolation."""
    side = pixels.shape[-1]
    middle = np.full(2, (side - 1) / 2)
    for i in _chosen(len(pixels), config.warp_share, rng):
        angle = rng.uniform(0, 2 * np.pi)
        factor = 1 + rng.uniform(-config.scale, config.scale)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / factor
        shift = rng.uniform(-config.shift_px, config.shift_px, 2)
        matrix = np.column_stack([turn, middle - turn @ middle + shift])
        for plane in (*pixels[i], masks[i]):
            plane[:] = cv2.warpAffine(
                plane, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )


def _change_outlines(masks: _Bytes, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Let masks shrink or grow; one that would vanish stays."""
    if config.mask_px == 0:
        return
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    for i in _chosen(len(masks), config.degraded_share, rng):
        change = cv2.erode if rng.random() < 0.5 else cv2.dilate
        steps = int(rng.integers(1, config.mask_px + 1))
        changed = change(masks[i], disk, iterations=steps)
        if np.any(changed):
            masks[i] = changed


def _blur(pixels: _Bytes, config: AugmentConfig, rng: np.random.Generator) -> None:
    if config.blur == 0:
        return
    for i in _chosen(len(pixels), config.degraded_share, rng):
        sigma_px = rng.uniform(0.0, config.blur)
        for stain in pixels[i]:
            stain[:] = cv2.GaussianBlur(stain, (0, 0), max(sigma_px, 1e-3))


def _change_tones(pixels: _Bytes, config: AugmentConfig, rng: np.random.Generator) -> _Floats:
    """Brightness, background, black level and gamma of each stain, by one table of grey values."""
    n, channels = pixels.shape[:2]
    each = (n, channels, 1)
    grey = np.arange(256.0) * np.exp(rng.normal(0, config.intensity, each))  # (n, C, 256)
    gained = rng.uniform(0, config.background, each)
    grey += np.where(_befallen(n, config, rng), gained, 0)
    lost = rng.uniform(0, config.black_level, each)
    grey -= np.where(_befallen(n, config, rng), lost, 0)
    np.maximum(grey, 0, out=grey)
    if config.gamma > 0:
        exponent = np.exp(rng.normal(0, config.gamma, each))
        exponent = np.where(_befallen(n, config, rng), exponent, 1.0)
        grey = 255 * (grey / 255) ** exponent
    tables = grey.astype(np.float32)
    light = np.empty(pixels.shape, np.float32)
    for i in range(n):
        for k in range(channels):
            light[i, k] = cv2.LUT(pixels[i, k], tables[i, k])
    return light


def _befallen(n: int, config: AugmentConfig, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    return (rng.random(n) < config.degraded_share)[:, None, None]


def _add_grain(light: _Floats, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Multiply the protein by log-normal noise, one to two pixels coarse, that keeps the mean."""
    if config.grain == 0:
        return
    for i in _chosen(len(light), config.degraded_share, rng):
        stain = light[i, Channel.PROTEIN.position]
        noise = rng.standard_normal(stain.shape, np.float32)
        coarse_px = rng.uniform(0.0, _COARSEST_GRAIN_PX)
        if coarse_px > _FINEST_BLUR_PX:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), coarse_px), np.float32)
            noise /= max(float(noise.std()), 1e-6)
        sd = np.float32(rng.uniform(0.0, config.grain))
        stain *= np.exp(sd * noise - sd * sd / 2)


def _code_as_jpeg(light: _Floats, config: AugmentConfig, rng: np.random.Generator) -> None:
    if config.jpeg == 0:
        return
    for i in _chosen(len(light), config.degraded_share, rng):
        quality = int(rng.integers(100 - config.jpeg, 101))
        for stain in light[i]:
            grey = np.clip(np.rint(stain), 0, 255).astype(np.uint8)
            _, coded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
            stain[:] = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def _add_noise(light: _Floats, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Add normal noise: stretches of one long draw, which costs less than a draw per pixel."""
    if config.noise == 0:
        return
    n, channels, *plane = light.shape
    length = plane[0] * plane[1]
    pool = rng.standard_normal(max(_POOLED_NOISE, 2 * length), np.float32)
    starts = rng.integers(len(pool) - length, size=(n, channels))
    for i, sd in enumerate(rng.uniform(0, config.noise, (n,)).tolist()):
        for k, start in enumerate(starts[i].tolist()):
            light[i, k] += sd * pool[start : start + length].reshape(plane)
