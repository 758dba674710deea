"""A small U-Net from three stains to four maps, for the ``unet`` segmenter.

The first convolution halves the resolution and the last layer makes four pixels of one, so the
network works at twice the pixel size of its input and its outlines still have the input's: a
quarter of the work of a U-Net that keeps full resolution throughout. Whether a stain is there is an
input of its own; a missing stain is zeroed here, whatever stands in its place.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from hpacells.core.errors import ConfigError
from hpacells.runtime.segmenter_folder import MAP_STAINS, MAPS, SIDE_MULTIPLE

__all__ = ["DEFAULT_WIDTHS", "CellUnet", "MapProbabilities"]

DEFAULT_WIDTHS = (24, 40, 64, 88)
"""Channels at 2, 4, 8 and 16 times the pixel size of the input."""


class CellUnet(nn.Module):
    """Normalised stains to logits of the maps.

    Parameters
    ----------
    widths
        Channels of the four levels, finest first.

    Raises
    ------
    ConfigError
        When there are not four widths.
    """

    def __init__(self, widths: Sequence[int] = DEFAULT_WIDTHS) -> None:
        super().__init__()
        if 2 ** len(widths) != SIDE_MULTIPLE:
            raise ConfigError(f"widths: expected four numbers of channels, got {tuple(widths)}")
        first, *_, deepest = widths
        self.widths = tuple(widths)
        self.stem = nn.Conv2d(2 * len(MAP_STAINS), first, 4, stride=2, padding=1)
        self.down = nn.ModuleList(
            [_double(first, first)] + [_double(a, b) for a, b in pairwise(widths)]
        )
        self.deep = _conv(deepest, deepest)
        self.up = nn.ModuleList(
            _double(below + here, here)
            for here, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = nn.Conv2d(first, 4 * len(MAPS), 1)
        self.shrink = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.unfold = nn.PixelShuffle(2)

    def forward(self, stains: Tensor, present: Tensor) -> Tensor:
        """Compute logits.

        Parameters
        ----------
        stains
            ``(N, 3, H, W)`` float32, normalised; H and W are multiples of ``SIDE_MULTIPLE``.
        present
            ``(N, 3)`` float32, 1 where the stain is there, 0 where it is missing.

        Returns
        -------
        Tensor
            ``(N, 4, H, W)`` float32 logits in the order of ``MAPS``.
        """
        flags = present[:, :, None, None]
        features = self.stem(torch.cat([stains * flags, flags.expand_as(stains)], dim=1))
        kept: list[Tensor] = []
        for depth, block in enumerate(self.down):
            features = block(self.shrink(features) if depth else features)
            kept.append(features)
        features = self.deep(kept.pop())
        for block in self.up:
            features = block(torch.cat([self.grow(features), kept.pop()], dim=1))
        return self.unfold(self.head(features))


class MapProbabilities(nn.Module):
    """The network as it is exported: probabilities instead of logits."""

    def __init__(self, network: CellUnet) -> None:
        super().__init__()
        self.network = network

    def forward(self, stains: Tensor, present: Tensor) -> Tensor:
        """Compute ``(N, 4, H, W)`` maps in [0, 1]."""
        return torch.sigmoid(self.network(stains, present))


def _conv(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


def _double(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(_conv(n_in, n_out), _conv(n_out, n_out))
