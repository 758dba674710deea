"""Backbones: any timm model by name, and a small NFNet of this project's size.

A backbone maps ``(B, 4, S, S)`` float32 to ``(B, F)`` pooled features. NFNets are the default: they
keep no batch statistics, so a bag in training and one cell at inference compute the same function.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError
from hpacells.model.timm_parts import NfCfg, NormFreeNet, create_model, is_model

__all__ = ["OWN_BACKBONES", "build_backbone", "feature_size"]

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
}
"""NFNets of our own, by name. Their pooled features are the mean and the maximum over the crop:
a mean alone drowns structures of a few pixels (a centrosome)."""


def build_backbone(name: str, *, drop_path: float = 0.0, **kwargs: Any) -> nn.Module:
    """Build a backbone with random weights and one input channel per stain.

    Parameters
    ----------
    name
        A key of ``OWN_BACKBONES`` or a timm model.
    drop_path
        Probability that the last residual branch is dropped in training; earlier ones less.
    **kwargs
        Passed on to the network's constructor.

    Returns
    -------
    Module
        ``(B, C, S, S)`` float32 → ``(B, F)``.

    Raises
    ------
    ConfigError
        When no model has that name, or it takes no such argument.
    """
    own = OWN_BACKBONES.get(name)
    if own is None and not is_model(name):
        known = ", ".join(sorted(OWN_BACKBONES))
        raise ConfigError(
            f"backbone: expected {known} or the name of a timm model, got {name!r}. "
            "timm.list_models() lists them."
        )
    shared: dict[str, Any] = {
        "num_classes": 0,
        "in_chans": len(CHANNELS),
        "drop_path_rate": drop_path,
    }
    if own is not None:
        kwargs = {"global_pool": "catavgmax", **kwargs}
    try:
        if own is not None:
            return NormFreeNet(own, **shared, **kwargs)
        return create_model(name, pretrained=False, **shared, **kwargs)
    except TypeError as error:
        raise ConfigError(
            f"backbone_kwargs: {name} cannot be built with {kwargs} ({error}). Correct them in the "
            "--config file."
        ) from error


def feature_size(backbone: nn.Module, crop_px: int) -> int:
    """Ask a backbone how many features it gives, by running it on an empty crop."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, len(CHANNELS), crop_px, crop_px))
    backbone.train(training)
    return int(features.shape[1])
