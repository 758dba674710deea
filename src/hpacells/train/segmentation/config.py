"""Settings of a segmentation training, written into the segmenter that it made."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hpacells.runtime.segmenter_folder import SIDE_MULTIPLE

__all__ = ["MapAugmentConfig", "SegmentTrainConfig"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MapAugmentConfig(_Frozen):
    """Random changes of a patch, strong enough that no simulator's look can be relied on.

    Each ``..._share`` is the share of patches (of stains, where it says so) that are changed.
    """

    scale_range: tuple[float, float] = (0.7, 1.4)
    """Smallest and largest enlargement (no unit), drawn evenly in its logarithm."""
    mix_share: float = Field(default=0.35, ge=0, le=1)
    """Share of patches into whose free places groups of cells of another patch are set."""
    hidden_share: float = Field(default=0.5, ge=0, le=1)
    """Share of patches in which stretches of the borders between touching cells are hidden, as
    where one cell lies over the edge of another: microtubules and ER run on, two cells remain."""
    glow_share: float = Field(default=0.5, ge=0, le=1)
    """Share of patches with light from out of focus around the cells."""
    glow_max: float = Field(default=0.15, ge=0, le=1)
    """Largest share of a stain's light that is spread over its surroundings."""
    glow_px: tuple[float, float] = (5.0, 25.0)
    """Smallest and largest standard deviation of that spread, in working pixels."""
    gain_log_sd: float = Field(default=0.45, ge=0, le=2)
    """Standard deviation of the logarithm of each stain's factor; what rises above 1 is clipped."""
    gamma_log_sd: float = Field(default=0.3, ge=0, le=2)
    """Standard deviation of the logarithm of each stain's exponent."""
    offset_max: float = Field(default=0.06, ge=0, le=0.5)
    """Largest grey level added to, or taken off, a stain (share of its bright end)."""
    gradient_share: float = Field(default=0.4, ge=0, le=1)
    """Share of patches lit unevenly: a smooth field of factors."""
    gradient_max: float = Field(default=0.6, ge=0, lt=1)
    """Largest loss of light from one side to the other (share)."""
    blur_share: float = Field(default=0.35, ge=0, le=1)
    """Share of stains out of focus."""
    blur_max_px: float = Field(default=2.5, ge=0)
    """Largest standard deviation of that blur, in working pixels."""
    noise_share: float = Field(default=0.7, ge=0, le=1)
    """Share of patches with noise: of the camera, of the light (grows with the root of the signal),
    and grains wider than a pixel."""
    noise_max: float = Field(default=0.06, ge=0, le=0.5)
    """Largest standard deviation of each kind of noise (share of the bright end)."""
    texture_share: float = Field(default=0.4, ge=0, le=1)
    """Share of stains that are mottled: a random field of factors, grains of 2 to 12 px."""
    debris_share: float = Field(default=0.3, ge=0, le=1)
    """Share of patches with bright specks that are no cells."""
    debris_most: int = Field(default=8, ge=0)
    """Most specks in a patch."""
    missing_share: float = Field(default=0.15, ge=0, le=1)
    """Share of patches in which one stain is missing, and said to be."""
    blank_share: float = Field(default=0.02, ge=0, le=1)
    """Share of patches without any cell: nothing but noise."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.scale_range
        if not 0.25 <= low <= high <= 4:
            raise ValueError(f"scale_range: expected 0.25 <= low <= high <= 4, got {low}, {high}")
        return self


class SegmentTrainConfig(_Frozen):
    """How the ``unet`` segmenter is trained."""

    name: str = Field(default="unet-sim", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the segmenter, written to its folder."""
    version: str = "1"
    """Version of the weights."""
    description: str = "cells and nuclei; trained on simulated fields only"
    """One line for the segmenter's folder."""
    licence: str = "BSD-3-Clause"
    """SPDX identifier, or words, for the weights."""

    widths: tuple[int, int, int, int] = (24, 40, 64, 88)
    """Channels of the network's levels (``model.unet``)."""
    pixel_size_um: float = Field(default=0.32, ge=0.1, le=1.0)
    """µm per pixel that fields are brought to."""
    patch_px: int = Field(default=256, ge=32, le=1024, multiple_of=SIDE_MULTIPLE)
    """Side of a patch, in working pixels."""
    batch: int = Field(default=6, ge=1)
    """Patches per step."""
    steps: int = Field(default=2600, ge=1)
    """Steps of the optimizer."""
    learning_rate: float = Field(default=6e-3, gt=0)
    """Highest learning rate of AdamW."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0; then a cosine to 1 % of it."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW, on convolution kernels."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of all gradients together."""
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Of the averaged weights, which are validated and exported; rises to this from 0."""
    map_weights: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 1.0)
    """Weights in the loss of cell, border, nucleus and seed."""
    dice_weight: float = Field(default=0.5, ge=0)
    """Weight of the soft Dice loss beside the cross-entropy."""
    augment: MapAugmentConfig = MapAugmentConfig()
    """Random changes of the patches."""

    val_fields: int = Field(default=24, ge=0)
    """Fields held out, the last ones by name; at most a fifth of all."""
    validate_every: int = Field(default=500, ge=1)
    """Steps from one validation to the next; there is always one at the end."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps from one checkpoint to the next."""
    seed: int = Field(default=0, ge=0)
    """Of everything random."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network is trained."""
