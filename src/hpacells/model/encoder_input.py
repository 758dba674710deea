"""What an encoder is given: grey values of four stains in the scale and order it was made for.

One place decides it; the exported graph contains it, and ``model.json`` says it in words.
A cell's surroundings are blackened before anything is scaled, as in the crops that published
models were trained on.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.model.subcell import SUBCELL_STAINS

__all__ = [
    "NORMALISATION",
    "STEM_PLANES",
    "EncoderInput",
    "count_planes",
    "default_input",
    "make_input",
]

EncoderInput = Literal["cell_contrast", "stains", "photograph", "cell_min_max"]
"""``cell_contrast``: each stain by its mean and spread within the cell, beside the protein's own
grey values and the cell's mask: for networks trained from scratch, which have no normaliser of
their own; exposure and staining strength fall out, and they learn faster (bench/networks.py).
``stains``: 0 to 4. ``photograph``: as ImageNet's pictures, for weights made of
RGB ones. ``cell_min_max``: one minimum and maximum over the cell's stains."""

STEM_PLANES = (0, 1, 2, 0)
"""Plane of RGB whose stem weights each stain takes, in the order of ``CHANNELS``: red, green and
blue their own, yellow (ER) that of red. It is timm's rule (``adapt_input_conv``), which also
multiplies them by 3/4, so that the sum over four stains is as large as that over three planes."""

NORMALISATION = "4 * sqrt(grey / 255); outside the cell 0 where outside is 'zero'"
"""What ``stains`` does, in words, for ``model.json``."""

_GAIN = 4.0
_LEAST_SPREAD = 0.1  # of 0 to 4: a stain that shows nothing is not blown up to noise
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def default_input(backbone: str, *, pretrained: bool, own: bool) -> EncoderInput:
    """Give the input that a backbone needs.

    Parameters
    ----------
    backbone
        Its name.
    pretrained
        Whether it starts from a file's weights.
    own
        Whether it is one of this project's, whose files were trained on stains.
    """
    if backbone in SUBCELL_STAINS:
        return "cell_min_max"
    return "photograph" if pretrained and not own else "cell_contrast"


def count_planes(kind: EncoderInput, backbone: str) -> int:
    """Count the planes that an encoder is given."""
    if kind == "cell_min_max":
        return len(SUBCELL_STAINS.get(backbone, CHANNELS))
    return len(CHANNELS) + 2 if kind == "cell_contrast" else len(CHANNELS)


def make_input(kind: EncoderInput, name: str, backbone: nn.Module) -> "_Input":
    """Build the part between grey values and an encoder.

    Parameters
    ----------
    kind
        See ``EncoderInput``.
    name
        The backbone's.
    backbone
        Asked for the mean and standard deviation of its pictures (timm's ``pretrained_cfg``).

    Returns
    -------
    Module
        ``(crops (N, C, S, S) 0-255, cell_mask (N, S, S) or None)`` → the encoder's input; its
        attribute ``words`` says what it does.

    Raises
    ------
    ConfigError
        When the backbone cannot take that input.
    """
    stains = SUBCELL_STAINS.get(name)
    if (kind == "cell_min_max") != (stains is not None):
        expected = "cell_contrast, stains or photograph" if stains is None else "cell_min_max"
        raise ConfigError(f"encoder_input: expected {expected} for {name}, got {kind}.")
    if stains is not None:
        return _CellMinMax(stains)
    if kind == "cell_contrast":
        return _CellContrast()
    if kind == "stains":
        return _Stains()
    picture: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    return _Photograph(picture.get("mean", _MEAN), picture.get("std", _STD))


class _Input(nn.Module):
    words: str


class _CellContrast(_Input):
    words = (
        "s = 4 * sqrt(grey / 255); planes: (s - mean) / max(standard deviation, 0.1) of each stain "
        "within the cell, 0 outside; s of the protein; the cell's mask (all ones where outside is "
        "'keep')"
    )

    def forward(self, crops: Tensor, cell_mask: Tensor | None) -> Tensor:
        """Compute ``(N, C + 2, S, S)`` float32."""
        pixels = torch.sqrt(crops.float() / 255.0) * _GAIN
        if cell_mask is None:
            mask = torch.ones_like(pixels[:, :1])
        else:
            mask = cell_mask.float().unsqueeze(1)
        area = mask.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
        mean = (pixels * mask).sum(dim=(2, 3), keepdim=True) / area
        apart = (pixels - mean) * mask
        spread = (apart.square().sum(dim=(2, 3), keepdim=True) / area).sqrt()
        protein = Channel.PROTEIN.position
        planes = [apart / spread.clamp_min(_LEAST_SPREAD), (pixels * mask)[:, protein, None], mask]
        return torch.cat(planes, dim=1)


class _Stains(_Input):
    words = NORMALISATION

    def forward(self, crops: Tensor, cell_mask: Tensor | None) -> Tensor:
        """Compute ``(N, C, S, S)`` float32, 0 to 4."""
        return _masked(torch.sqrt(crops.float() / 255.0) * _GAIN, cell_mask)


class _Photograph(_Input):
    """Photographs are stored about as the square root of light, so grey values are too."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            taken = torch.tensor([values[plane] for plane in STEM_PLANES], dtype=torch.float32)
            self.register_buffer(name, taken.view(1, -1, 1, 1), persistent=False)
        shown = [", ".join(f"{values[p]:g}" for p in STEM_PLANES) for values in (mean, std)]
        self.words = (
            "sqrt(grey / 255), outside the cell 0 where outside is 'zero'; then per stain "
            f"(x - mean) / std with mean {shown[0]}, std {shown[1]}"
        )

    def forward(self, crops: Tensor, cell_mask: Tensor | None) -> Tensor:
        """Compute ``(N, C, S, S)`` float32."""
        return (_masked(torch.sqrt(crops.float() / 255.0), cell_mask) - self.mean) / self.std


class _CellMinMax(_Input):
    def __init__(self, stains: Sequence[Channel]) -> None:
        super().__init__()
        self._order = [CHANNELS.index(stain) for stain in stains]
        self.words = (
            f"stains {', '.join(stains)}; outside the cell 0 where outside is 'zero'; "
            "(x - min) / (max - min + 1e-6) over all stains of the cell together"
        )

    def forward(self, crops: Tensor, cell_mask: Tensor | None) -> Tensor:
        """Compute ``(N, len(stains), S, S)`` float32, 0 to 1."""
        grey = _masked(crops[:, self._order].float(), cell_mask)
        low = grey.amin(dim=(1, 2, 3), keepdim=True)
        high = grey.amax(dim=(1, 2, 3), keepdim=True)
        return (grey - low) / (high - low + 1e-6)


def _masked(pixels: Tensor, cell_mask: Tensor | None) -> Tensor:
    return pixels if cell_mask is None else pixels * cell_mask.float().unsqueeze(1)
