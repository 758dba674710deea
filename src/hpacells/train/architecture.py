"""From a recipe to the network that it trains, and what ``model.json`` says of that network."""

from typing import Any

from hpacells.core.provenance import sha256_file
from hpacells.model.network import CellClassifier, encoder_input_of
from hpacells.train.config import TrainConfig

__all__ = ["architecture_kwargs", "build_network", "recorded_weights"]


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


def recorded_weights(config: TrainConfig) -> dict[str, str]:
    """Give ``weights_sha256``, what is kept of the file that the backbone starts from.

    Empty without one; a file that is not there is told when the network is built.
    """
    if config.weights is None or not config.weights.is_file():
        return {}
    return {"weights_sha256": sha256_file(config.weights)}
