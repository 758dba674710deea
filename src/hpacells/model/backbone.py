"""Backbones by name: small NFNets of this project's, SubCell's encoders, any timm model.

A backbone maps ``(B, 4, S, S)`` float32 to ``(B, F)`` pooled features. NFNets are the default: they
keep no batch statistics, so a bag in training and one cell at inference compute the same function.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError
from hpacells.model.pretrained import drop_heads, load_strictly, mismatch, read_weights
from hpacells.model.subcell import SUBCELL_STAINS, SubcellEncoder
from hpacells.model.timm_parts import (
    NfCfg,
    NormFreeNet,
    create_model,
    get_pretrained_cfg,
    is_model,
)

__all__ = ["OWN_BACKBONES", "build_backbone", "feature_size"]

_PREFIX = "backbone."

_NOT_PASSED_ON = {
    "cache_dir", "checkpoint_path", "features_only", "in_chans", "num_classes", "pretrained",
    "pretrained_cfg", "pretrained_cfg_overlay",
}  # fmt: skip
"""Arguments of timm's that would download, load unchecked, or change what goes in and out."""

_nano = partial(
    NfCfg,
    stem_type="deep_quad",
    stem_chs=32,
    group_size=16,
    bottle_ratio=0.5,
    attn_layer="eca",
    attn_kwargs={},
    act_layer="relu",
)

OWN_BACKBONES: dict[str, NfCfg] = {
    "hpa_nfnet_pico": _nano(depths=(1, 1, 1, 1), channels=(32, 64, 96, 128), num_features=128),
    "hpa_nfnet_nano": _nano(depths=(1, 2, 2, 2), channels=(64, 128, 256, 384), num_features=256),
    "hpa_nfnet_small": _nano(depths=(1, 2, 4, 2), channels=(96, 192, 384, 576), num_features=512),
}
"""NFNets of our own, by name. Their pooled features are the mean and the maximum over the crop:
a mean alone drowns structures of a few pixels (a centrosome)."""


def build_backbone(
    name: str,
    *,
    crop_px: int | None = None,
    n_planes: int = len(CHANNELS),
    drop_path: float = 0.0,
    weights: Path | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a backbone that takes four stains, or planes made of them; SubCell's take theirs.

    Parameters
    ----------
    name
        A key of ``OWN_BACKBONES`` or of ``model.subcell.SUBCELL_STAINS``, or a timm model.
    crop_px
        Side of the crops, for networks made for one size (ViT, Swin); None takes their own.
    n_planes
        ``C``, see ``model.encoder_input``; SubCell's have their own.
    drop_path
        Probability that the last residual branch is dropped in training; earlier ones less.
    weights
        Local file with this network's weights; None leaves them random. Those of a timm model
        are RGB ones: its stem is made of them as ``model.encoder_input.STEM_PLANES`` says.
    **kwargs
        Passed on to the network's constructor.

    Returns
    -------
    Module
        ``(B, C, S, S)`` float32 → ``(B, F)``.

    Raises
    ------
    ConfigError
        When no model has that name, it takes no such argument or may not be given it (weights
        come from ``weights`` alone), or no crops of that size.
    ModelError
        When the weights cannot be read or are those of another network.
    """
    if refused := sorted(_NOT_PASSED_ON & kwargs.keys()):
        raise ConfigError(
            f"backbone_kwargs: {', '.join(refused)} cannot be chosen: nothing is downloaded, and "
            "planes and features are the recipe's. Name a local file with 'weights' instead."
        )
    build = _builder(name, crop_px, n_planes)
    try:
        backbone = build(weights=weights, drop_path=drop_path, **kwargs)
    except (TypeError, AssertionError) as error:
        raise ConfigError(
            f"backbone_kwargs: {name} cannot be built with {kwargs}, crops of {crop_px} px "
            f"({error}). Correct them in the --config file."
        ) from error
    _check_patches(name, backbone, crop_px)
    return backbone


def feature_size(backbone: nn.Module, crop_px: int, *, n_planes: int = len(CHANNELS)) -> int:
    """Ask a backbone how many features it gives, by running it on an empty crop.

    Raises
    ------
    ConfigError
        When it cannot take crops of that size.
    """
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(1, n_planes, crop_px, crop_px))
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"crop_px: {type(backbone).__name__} cannot take crops of {crop_px} px ({error}). "
            "Choose another size (multiples of 32 suit most) or another backbone."
        ) from error
    backbone.train(training)
    return int(features.shape[1])


def _builder(name: str, crop_px: int | None, n_planes: int) -> Callable[..., nn.Module]:
    if name in OWN_BACKBONES:
        return partial(_own, name, n_planes)
    if name in SUBCELL_STAINS:
        return partial(_subcell, name, crop_px)
    if is_model(name):
        return partial(_timm, name, crop_px, n_planes)
    known = ", ".join(sorted((*OWN_BACKBONES, *SUBCELL_STAINS)))
    raise ConfigError(
        f"backbone: expected {known} or the name of a timm model, got {name!r}. "
        "timm.list_models() lists them."
    )


def _own(
    name: str, n_planes: int, *, weights: Path | None, drop_path: float, **kwargs: Any
) -> nn.Module:
    chosen = {"global_pool": "catavgmax", **kwargs}
    shared = {"num_classes": 0, "in_chans": n_planes, "drop_path_rate": drop_path}
    backbone: nn.Module = NormFreeNet(OWN_BACKBONES[name], **shared, **chosen)
    if weights is not None:
        state = read_weights(weights)  # of a whole classifier: a model folder's
        inner = {
            key.removeprefix(_PREFIX): v for key, v in state.items() if key.startswith(_PREFIX)
        }
        load_strictly(backbone, inner or state, weights)
    return backbone


def _subcell(
    name: str, crop_px: int | None, *, weights: Path | None, drop_path: float, **kwargs: Any
) -> nn.Module:
    sized = kwargs if crop_px is None else {"crop_px": crop_px, **kwargs}
    backbone = SubcellEncoder(len(SUBCELL_STAINS[name]), drop_path=drop_path, **sized)
    if weights is not None:
        backbone.load(weights)
    return backbone


def _timm(
    name: str,
    crop_px: int | None,
    n_planes: int,
    *,
    weights: Path | None,
    drop_path: float,
    **kwargs: Any,
) -> nn.Module:
    published = get_pretrained_cfg(name)
    shared: dict[str, Any] = {"num_classes": 0, "in_chans": n_planes}
    if crop_px is not None and published is not None and published.fixed_input_size:
        shared["img_size"] = crop_px
    if weights is None:
        return _with_drop_path(partial(create_model, name, **shared, **kwargs), drop_path)
    state = drop_heads(read_weights(weights))
    # without a classifier to leave out, timm loads strictly: whatever does not fit is an error
    given = {"state_dict": state, "classifier": None}
    try:
        loaded = partial(create_model, name, pretrained=True, pretrained_cfg_overlay=given)
        return _with_drop_path(partial(loaded, **shared, **kwargs), drop_path)
    except (RuntimeError, KeyError, AttributeError) as error:
        raise mismatch(weights, name, error) from error


def _with_drop_path(build: Callable[..., nn.Module], drop_path: float) -> nn.Module:
    """Build with drop path; networks that know none are built where none is wanted."""
    try:
        return build(drop_path_rate=drop_path)
    except TypeError as error:
        if drop_path or "drop_path_rate" not in str(error):
            raise
    return build()


def _check_patches(name: str, backbone: nn.Module, crop_px: int | None) -> None:
    """Refuse crops that would lose their edge because no patch fits there."""
    patches = getattr(getattr(backbone, "vit", backbone), "patch_embed", None)
    side = getattr(patches, "patch_size", None)
    patch_px = side[0] if isinstance(side, tuple) else side
    if crop_px is not None and isinstance(patch_px, int) and crop_px % patch_px:
        raise ConfigError(
            f"crop_px: expected a multiple of {patch_px} for {name}, got {crop_px}: pixels at the "
            f"edge would be cut away. Take {crop_px - crop_px % patch_px + patch_px}."
        )
