"""How well the maps of held-out fields give their cells: loss, and F1 of the instances."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hpacells.evaluate.masks import match_masks
from hpacells.model.map_loss import map_loss
from hpacells.model.unet import CellUnet
from hpacells.runtime.segmenter_folder import MAP_STAINS, SIDE_MULTIPLE
from hpacells.segment.config import UnetConfig
from hpacells.segment.instances import cells_from_maps
from hpacells.segment.resolution import WorkingScale, keep_inside
from hpacells.train.segmentation.config import SegmentTrainConfig
from hpacells.train.segmentation.data import WEIGHT_SCALE, FieldCache, unpack_targets

__all__ = ["MapValidation", "validate_maps"]

_THRESHOLD = 0.6


@dataclass(frozen=True)
class MapValidation:
    """Scores of held-out fields, unchanged ones, at the working resolution.

    Parameters
    ----------
    loss
        Mean over the fields, as in training.
    f1
        At IoU 0.6, all cells of all fields together; None where there are none.
    """

    loss: float
    f1: float | None


def validate_maps(
    network: CellUnet,
    cache: FieldCache,
    fields: npt.NDArray[np.int64],
    config: SegmentTrainConfig,
) -> MapValidation:
    """Judge a network on whole fields.

    Parameters
    ----------
    network
        Used in evaluation mode; left as it was.
    cache, fields
        Where the fields are, and ``(F,)`` positions of the held-out ones, at least one.
    config
        The recipe.
    """
    was_training = network.training
    network.eval()
    losses, matched, either = [], 0, 0
    for i in fields:
        maps, loss = _draw(network, cache.planes(int(i)), config)
        losses.append(loss)
        rows, columns = maps.shape[1:]
        grid = WorkingScale((rows, columns), config.pixel_size_um)
        cells, _ = keep_inside(*cells_from_maps(maps, grid, UnetConfig()))
        true = cache.cells(int(i))[:rows, :columns]
        match = match_masks(cells, true, _THRESHOLD)
        matched += len(match.pairs)
        either += 2 * len(match.pairs) + len(match.unmatched_found) + len(match.unmatched_true)
    network.train(was_training)
    return MapValidation(float(np.mean(losses)), 2 * matched / either if either else None)


def _draw(
    network: CellUnet, planes: npt.NDArray[np.uint8], config: SegmentTrainConfig
) -> tuple[npt.NDArray[np.float32], float]:
    """Compute maps and loss of one field, cut to a multiple of ``SIDE_MULTIPLE``."""
    rows, columns = (side - side % SIDE_MULTIPLE for side in planes.shape[1:])
    cut = np.asarray(planes[:, :rows, :columns])
    n = len(MAP_STAINS)
    stains = torch.from_numpy(cut[:n].astype(np.float32) / np.float32(255))[None]
    targets = torch.from_numpy(np.stack(list(unpack_targets(cut[n]))).astype(np.float32))[None]
    weights = torch.from_numpy(cut[-1] / np.float32(WEIGHT_SCALE))[None]
    with torch.inference_mode():
        on = config.device
        logits = network(stains.to(on), torch.ones(1, n, device=on)).float().cpu()
        loss = map_loss(
            logits,
            targets,
            weights,
            map_weights=config.map_weights,
            dice_weight=config.dice_weight,
        )
        return torch.sigmoid(logits)[0].numpy(), float(loss)
