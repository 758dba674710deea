"""From a recipe to the network that it trains, and what ``model.json`` says of that network."""

from typing import Any

from hpacells.model.network import CellClassifier, encoder_input_of
from hpacells.train.config import TrainConfig

__all__ = ["architecture_kwargs", "build_network"]


def build_network(config: TrainConfig) -> CellClassifier:
    """Build the network of a recipe, its backbone's weights read, frozen where it says so.

    Raises
    ------
    ConfigError, ModelError
        As ``model.backbone.build_backbone``.
    """
    network = CellClassifier(
        config.backbone,
        crop_px=config.crop_px,
        embedding_size=config.embedding_size,
        outside=config.outside,
        weights=config.weights,
        **architecture_kwargs(config),
    )
    if config.freeze:
        network.freeze_backbone()
    return network


def architecture_kwargs(config: TrainConfig) -> dict[str, Any]:
    """Give what ``model.json`` holds of the network besides its sizes."""
    pretrained = config.weights is not None
    return {
        "drop_path": config.drop_path,
        "dropout": config.dropout,
        "encoder_input": config.encoder_input
        or encoder_input_of(config.backbone, pretrained=pretrained),
        **config.backbone_kwargs,
    }
