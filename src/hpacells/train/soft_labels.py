"""Soft labels of single cells: a model's answers, shifted to what was measured.

Enters: the logit of every cell for every location, by a model trained on other images, and the
images' labels. Leaves: for each cell and location the probability that the cell shows it. Knows
nothing of training.

A network taught by image labels ranks the cells under a label well, but finds the location in too
many of them. So its logits get one shift per location, which makes the mean probability of the
cells under the label the measured presence (``core.label_noise.PRESENCE``); what the label lacks
stays 0.

That is all. Judged by the truth of 17,000 simulated cells, the shift had the lowest error of what
was tried: 0.50 nats a cell and location on the label, 0.51 with the logits' scale times 0.7 or 1.5,
0.53 and more with a share of each image's own (its cells speaking for one another), 0.67 for a line
of log-odds fitted to the image labels by maximum likelihood (a cell that shows nothing at all looks
more like such a label than like others, which that model leaves out), 2.9 for the label itself.
"""

import numpy as np
import numpy.typing as npt
import torch

from hpacells.core.locations import NEGATIVE
from hpacells.train.teacher import measured_presence, shift_to_mean

__all__ = ["soft_targets"]


def soft_targets(
    logits: npt.NDArray[np.float32],
    image_targets: npt.NDArray[np.float32],
    field_of_cell: npt.NDArray[np.int64],
    *,
    model_of_cell: npt.NDArray[np.int64],
    unknown: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Turn out-of-fold logits into each cell's probabilities.

    Parameters
    ----------
    logits
        ``(N, K)``, each by a model that saw no image of the cell's group.
    image_targets
        ``(F, K)`` 0 or 1.
    field_of_cell
        ``(N,)`` position of each cell's field.
    model_of_cell
        ``(N,)`` which model judged the cell, 0 and up: each has shifts of its own.
    unknown
        ``(M, K)`` bool: the model never saw the location on a label, so its logit says nothing.

    Returns
    -------
    ndarray
        ``(N, K)`` float32 in [0, 1]. 0 for what the image's label lacks, the presence where the
        logit says nothing. Negative is what remains: the product over the other locations of one
        minus theirs, whatever the label says of it; under the label Negative alone that is 1.

    Notes
    -----
    No cell is raised above what its logit says for its image's sake: images whose label has a
    location that none of their cells shows are common (with p = 0.5 and the measured clustering,
    one in seven of 12 cells), and the image loss asks for one cell anyway.
    """
    presence = measured_presence()
    targets = np.zeros(logits.shape, np.float64)
    for model in np.unique(model_of_cell):
        judged = model_of_cell == model
        answers = torch.from_numpy(logits[judged])
        labelled = torch.from_numpy(image_targets[field_of_cell[judged]] > 0.5)
        shifted = torch.sigmoid(answers + shift_to_mean(answers, labelled, presence))
        said = torch.where(torch.from_numpy(unknown[model]), presence, shifted)
        targets[judged] = torch.where(labelled, said, 0.0).numpy()
    others = np.delete(targets, NEGATIVE, axis=1)
    targets[:, NEGATIVE] = (1 - others).prod(axis=1)
    return targets.astype(np.float32)
