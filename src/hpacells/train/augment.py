"""Random changes of a batch of crops that leave a cell's locations as they are."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from hpacells.train.config import AugmentConfig

__all__ = ["augment_crops"]


def augment_crops(
    crops: Tensor, cell_masks: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change each cell of a batch by itself.

    Parameters
    ----------
    crops
        ``(N, C, S, S)`` uint8.
    cell_masks
        ``(N, S, S)`` uint8, 0 or 1; turned and moved with its crop.
    config
        Which changes, and how large.
    generator
        Decides; on the CPU.

    Returns
    -------
    crops
        ``(N, C, S, S)`` float32, 0-255.
    cell_masks
        ``(N, S, S)`` float32, 0 or 1.
    """
    stacked = torch.cat([crops, cell_masks.unsqueeze(1)], dim=1)  # (N, C + 1, S, S)
    if config.dihedral:
        stacked = _turn(stacked, torch.randint(8, (len(crops),), generator=generator))
    changed = stacked.float()
    if config.warp_share > 0:
        chosen = torch.rand(len(crops), generator=generator) < config.warp_share
        if bool(chosen.any()):
            changed[chosen] = _warp(changed[chosen], config, generator)
    pixels, mask = changed[:, :-1], (changed[:, -1] >= 0.5).float()
    n, channels = pixels.shape[:2]
    if config.intensity > 0:
        spread = torch.randn((n, channels, 1, 1), generator=generator) * config.intensity
        pixels = pixels * spread.exp()
    if config.noise > 0:
        sd = torch.rand((n, 1, 1, 1), generator=generator) * config.noise
        pixels = pixels + torch.randn(pixels.shape, generator=generator) * sd
    return pixels.clamp(0.0, 255.0), mask


def _turn(images: Tensor, which: Tensor) -> Tensor:
    """Apply one of the eight symmetries of the square to each image: exact, no interpolation."""
    turned = torch.empty_like(images)
    for k in range(8):
        chosen = which == k
        part = torch.rot90(images[chosen], k % 4, dims=(2, 3))
        turned[chosen] = part.flip(3) if k >= 4 else part
    return turned


def _warp(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Turn by any angle, scale and shift, with linear interpolation."""
    n, side = len(images), images.shape[-1]
    angle = torch.rand(n, generator=generator) * (2 * math.pi)
    factor = 1 + (torch.rand(n, generator=generator) * 2 - 1) * config.scale
    shift = (torch.rand((n, 2), generator=generator) * 2 - 1) * (2 * config.shift_px / side)
    cos, sin = angle.cos() / factor, angle.sin() / factor
    rows = (torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
