"""From a recipe to the network that it trains, and what ``model.json`` says of that network."""

from pathlib import Path
from typing import Any

from hpacells.core.provenance import sha256_file
from hpacells.model.network import CellClassifier, FeatureClassifier, encoder_input_of
from hpacells.model.pretrained import load_strictly, read_weights
from hpacells.runtime.model_folder import WEIGHTS_FILE
from hpacells.runtime.published_models import read_models
from hpacells.runtime.registry import list_models, resolve_model
from hpacells.train.config import TrainConfig

__all__ = ["architecture_kwargs", "build_learner", "build_network", "recorded_weights"]


def build_network(config: TrainConfig) -> CellClassifier:
    """Build the network of a recipe, its backbone's weights read, frozen where it says so.

    Raises
    ------
    ConfigError, ModelError
        As ``model.backbone.build_backbone``.
    """
    file, whole = _weights_file(config), config.weights_of == "whole"
    network = CellClassifier(
        config.backbone,
        crop_px=config.crop_px,
        embedding_size=config.embedding_size,
        outside=config.outside,
        weights=None if whole else file,
        **architecture_kwargs(config),
    )
    if whole and file is not None:
        load_strictly(network, read_weights(file), file)
    if config.freeze:
        network.freeze_backbone()
    return network


def architecture_kwargs(config: TrainConfig) -> dict[str, Any]:
    """Give what ``model.json`` holds of the network besides its sizes."""
    pretrained = config.weights is not None and config.weights_of == "backbone"
    return {
        "drop_path": config.drop_path,
        "dropout": config.dropout,
        "encoder_input": config.encoder_input
        or encoder_input_of(config.backbone, pretrained=pretrained),
        "views": config.views,
        **config.backbone_kwargs,
    }


def recorded_weights(config: TrainConfig) -> dict[str, str]:
    """Give ``weights_sha256``, what is kept of the file that the backbone starts from.

    Empty without one; a file that is not there is told when the network is built.
    """
    file = _weights_file(config)
    if file is None or not file.is_file():
        return {}
    return {"weights_sha256": sha256_file(file)}


def build_learner(
    config: TrainConfig, shape: tuple[int, ...]
) -> CellClassifier | FeatureClassifier:
    """Build what learns: a recipe's network, or its head alone where cells come as ``(N, F)``."""
    if len(shape) == 2:
        return FeatureClassifier(shape[1], config.embedding_size, dropout=config.dropout)
    return build_network(config)


def _weights_file(config: TrainConfig) -> Path | None:
    """Find the file that the backbone starts from: a path, or an installed model's by its name."""
    named = config.weights
    if named is None or named.exists() or str(named) not in {*list_models(), *read_models()}:
        return named
    return resolve_model(str(named)) / WEIGHTS_FILE
