"""What a frozen backbone makes of each cell, computed once and kept beside the crop store.

A training with ``freeze: cached`` then learns its head on these numbers: minutes on a processor
where the backbone would take days. They are written in blocks, each whole, so a computation that
was killed is continued.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import hash_settings
from hpacells.core.storage import atomic_path
from hpacells.model.network import CellClassifier
from hpacells.train.architecture import architecture_kwargs, build_network, recorded_weights
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.devices import open_fabric

__all__ = ["with_cached_features", "with_trained_head"]

_BLOCK, _BATCH = 512, 16


def with_cached_features(
    data: TrainingData,
    config: TrainConfig,
    store: Path,
    *,
    progress: ProgressCallback = silent,
) -> TrainingData:
    """Replace the cells' pixels by what the recipe's backbone makes of them.

    Parameters
    ----------
    data
        With pixels.
    config
        Its backbone, weights and input decide; its augmentation does not act.
    store
        The crop store's folder: blocks lie in ``features/`` below it, by what decides them.
    progress
        Told of the cells.

    Returns
    -------
    TrainingData
        ``crops`` is ``(N, F)`` float32, ``cell_masks`` ``(N, 0)``.
    """
    decides = {
        "data": data.data_hash,
        "backbone": config.backbone,
        "crops": [config.crop_px, config.pixel_size_um, config.outside],
        "kwargs": {k: v for k, v in architecture_kwargs(config).items() if k != "views"},
        **recorded_weights(config),
    }
    folder = store / "features" / hash_settings(decides)[:16]
    n, network, blocks = len(data.crops), None, []
    for start in range(0, n, _BLOCK):
        file = folder / f"{start:09d}.npy"
        if not file.is_file():
            network = network or _on_device(build_network(config), config)
            block = _compute(network, data, range(start, min(start + _BLOCK, n)))
            with atomic_path(file) as temporary:
                np.save(temporary, block)
        blocks.append(np.load(file))
        progress(min(start + _BLOCK, n), n, "features")
    features = np.concatenate(blocks)
    return replace(data, crops=features, cell_masks=np.zeros((n, 0), np.uint8))


def with_trained_head(head: nn.Module, config: TrainConfig) -> CellClassifier:
    """Put a head that was trained on features on the recipe's backbone, for use."""
    network = build_network(config)
    network.load_state_dict(head.state_dict(), strict=False)
    return network.eval()


def _on_device(network: CellClassifier, config: TrainConfig) -> CellClassifier:
    return network.to(open_fabric(config).device).eval()


@torch.inference_mode()
def _compute(network: CellClassifier, data: TrainingData, cells: range) -> npt.NDArray[np.float32]:
    device = next(network.parameters()).device
    found = []
    for start in range(cells.start, cells.stop, _BATCH):
        some = slice(start, min(start + _BATCH, cells.stop))
        crops, masks = (
            torch.from_numpy(np.array(part[some])).to(device)
            for part in (data.crops, data.cell_masks)
        )
        found.append(network.backbone(network.prepare(crops, masks)).float().cpu().numpy())
    return np.concatenate(found)
