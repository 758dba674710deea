"""From a drawn batch to the tensors of one training step.

In this order: rare locations made from others, bags mixed, cells changed by themselves, stains
hidden. Everything is drawn from one generator, whatever the number of threads.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hpacells.train.augment import augment_crops, derive_rng, hide_stains
from hpacells.train.bags import BagBatch, BagCells, load_cells
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.mixing import mix_bags
from hpacells.train.synthesis import synthesise_bags

__all__ = ["StepInput", "prepare_step"]


@dataclass(frozen=True)
class StepInput:
    """What one step is computed from; padded places hold no cell.

    Parameters
    ----------
    crops
        ``(cells, C, S, S)`` float32, 0-255, in the row-major order of ``present``; or features
        ``(cells, F)``.
    cell_masks
        ``(cells, S, S)`` float32, 0 or 1.
    present
        ``(B, N)`` bool; true where a bag has a cell.
    image_targets
        ``(B, K)`` float32 in [0, 1].
    cell_targets
        ``(cells, K)`` float32 in [0, 1], a row of -1 where unknown; None when no cell has any.
    corrected
        The same, of what people said: it goes before ``cell_targets``.
    made
        ``(B,)`` bool: bags of ``synthesis``, all of whose cells show what their label says.
    """

    crops: Tensor
    cell_masks: Tensor
    present: Tensor
    image_targets: Tensor
    cell_targets: Tensor | None
    corrected: Tensor | None = None
    made: Tensor | None = None


def prepare_step(
    data: TrainingData, batch: BagBatch, config: TrainConfig, generator: torch.Generator
) -> StepInput:
    """Take a batch's cells out of the data and change them as the recipe says.

    Parameters
    ----------
    data
        Not changed.
    batch
        Which cells and fields.
    config
        The recipe.
    generator
        Decides everything; on the CPU.

    Returns
    -------
    StepInput
        On the CPU.
    """
    cells = load_cells(data, batch)
    if data.crops.ndim == 2:  # features of the cells as they are (train.features)
        return _to_tensors(cells, batch, torch.from_numpy(cells.crops), torch.empty(0))
    made = synthesise_bags(cells, config.synthesis, derive_rng(generator))
    if config.mix.mixup + config.mix.cutmix > 0:
        made[:] = False  # any of them may be mixed with another bag
    mix_bags(cells, config.mix, derive_rng(generator))
    crops, masks = augment_crops(
        torch.from_numpy(cells.crops), torch.from_numpy(cells.cell_masks), config.augment, generator
    )
    hide_stains(crops, cells.bag_of_cell, config.augment, generator)
    return replace(_to_tensors(cells, batch, crops, masks), made=torch.from_numpy(made))


def _to_tensors(cells: BagCells, batch: BagBatch, crops: Tensor, masks: Tensor) -> StepInput:
    known, said = cells.cell_targets, cells.corrected
    return StepInput(
        crops=crops,
        cell_masks=masks,
        present=torch.from_numpy(batch.cell_present),
        image_targets=torch.from_numpy(cells.image_targets),
        cell_targets=None if known is None else torch.from_numpy(known),
        corrected=None if said is None else torch.from_numpy(said),
    )
