"""A recipe cut down to two minutes on two cores: its plumbing stays, its length goes.

Everything that is a choice (backbone, crops, pooling, losses, augmentation, rounds, calibration)
stays as the recipe has it; what only costs time, and what this machine does not have, is replaced
and told.
"""

import shutil
from typing import Any

from hpacells.train.config import TrainConfig

__all__ = ["shorten_recipe", "smoke_fields"]

_LARGE_PX = 160


def smoke_fields(config: TrainConfig) -> int:
    """Say how many fields are simulated: fewer where a cell costs more."""
    return 12 if config.crop_px <= _LARGE_PX else 8


def shorten_recipe(config: TrainConfig, *, has_cuda: bool) -> tuple[TrainConfig, list[str]]:
    """Cut a recipe down.

    Parameters
    ----------
    config
        The recipe.
    has_cuda
        Whether this machine has a GPU that torch can use.

    Returns
    -------
    TrainConfig
        Runnable here.
    list of str
        What was replaced because this machine lacks it, ``"key: new (recipe: old)"``.
    """
    large = config.crop_px > _LARGE_PX
    rounds = config.rounds.model_copy(
        update={"n": min(config.rounds.n, 1), "folds": min(config.rounds.folds, 2), "epochs": 1}
    )
    here: dict[str, Any] = {"devices": 1, "num_nodes": 1}
    if not (has_cuda and config.accelerator != "cpu"):
        here |= {"accelerator": "cpu", "precision": "32-true", "compile": False}
    elif shutil.which("g++") is None:
        here["compile"] = False
    if config.weights is not None and not config.weights.is_file():
        here |= {"weights": None, "freeze": False}
    told = [
        f"{key}: {value} (recipe: {getattr(config, key)})"
        for key, value in here.items()
        if value != getattr(config, key)
    ]
    shorter: dict[str, Any] = {
        "epochs": 1 if large else 2,
        "validate_every": 1,
        "bag_size": min(config.bag_size, 2),
        "bags_per_batch": min(config.bags_per_batch, 4),
        "rounds": rounds,
    }
    return config.model_copy(update={**shorter, **here}), told
