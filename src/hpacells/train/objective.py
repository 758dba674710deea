"""What one step is judged by: the answers to its cells against the labels of their images.

Labels are asymmetric (HPA): a class that is absent from the image is absent from nearly every
cell, a class that is present may be absent from many cells. So the image loss judges the pooled
bag; the cell loss gives every cell its image's label (or a target of its own) with a small weight,
and a smaller one still for the classes that are present, the more so the more locations the label
has (which of them a cell shows is then least clear), or asks how likely the label is. What tells
present from absent cells apart touches present classes only, absent ones stay 0: large-loss
positives are softened, and a teacher, the averaged network, says which cells show what is on the
label. It speaks for cells that have their image's label alone: targets of a cell's own (the rounds'
soft labels) are better than its answers, so with rounds it serves the folds' first round only.

All of it is a function of the whole step's answers, however many devices and parts they were
computed in (``train.loop``), so none of it depends on their number.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hpacells.core.label_noise import chance_of_label
from hpacells.core.locations import NEGATIVE
from hpacells.model.losses import (
    asymmetric_loss,
    cross_entropy,
    focal_loss,
    soft_average_precision,
)
from hpacells.model.pooling import AttentionPooling, pool_bag
from hpacells.train.batch import StepInput
from hpacells.train.config import TrainConfig
from hpacells.train.config_sections import LossConfig
from hpacells.train.teacher import PresencePrior

__all__ = [
    "Answers",
    "BagLoss",
    "chance_of_labels",
    "logits_of_label",
    "step_loss",
    "wants_teacher",
]

_MOST_CHANCE = 0.999  # where every image has a location, its label says nothing of a cell


@dataclass(frozen=True)
class Answers:
    """What the networks say of a step's cells.

    Parameters
    ----------
    logits
        ``(cells, K)`` of the network, each cell alone.
    embedding
        ``(cells, D)``.
    in_field
        ``(cells, K)`` logits with what surrounds the cell; None where it was not asked.
    teacher
        ``(cells, K)`` logits of the averaged network, without gradient; None where not asked.
    """

    logits: Tensor
    embedding: Tensor
    in_field: Tensor | None = None
    teacher: Tensor | None = None


@dataclass(frozen=True)
class BagLoss:
    """The loss of one step and its parts, scalars.

    Parameters
    ----------
    total
        The weighted sum of all parts, to be differentiated.
    image
        Of the pooled logits, before its weight.
    cell
        Of the cells by themselves, before its weight.
    """

    total: Tensor
    image: Tensor
    cell: Tensor


def wants_teacher(config: TrainConfig, step: StepInput, *, progress: float) -> bool:
    """Say whether the averaged network is asked: late enough, and no cell has its own targets."""
    begun = config.teacher.weight > 0 and progress >= config.teacher.start_share
    return begun and step.cell_targets is None


def step_loss(
    answers: Answers,
    step: StepInput,
    config: TrainConfig,
    *,
    progress: float,
    attention: AttentionPooling | None = None,
    prior: PresencePrior | None = None,
    chance: Tensor | None = None,
) -> BagLoss:
    """Compute the loss of one step.

    Parameters
    ----------
    answers
        To all cells of the step.
    step
        What was asked; on the device of the answers. Its crops are not used.
    config
        The recipe.
    progress
        Share of the training that is done, 0 to 1: softening begins later.
    attention
        Pools the bags where the recipe says ``attention``.
    prior
        Shifts the teacher's answers and learns from them, where the recipe says so.
    chance
        ``(K,)`` probability that an image has a location on its label which the cell lacks
        (``core.label_noise.chance_of_label``), where the recipe models the labels' noise.

    Returns
    -------
    BagLoss
        Means over bags (cells with a target) and classes.
    """
    used = slice(None, NEGATIVE) if config.negative_target == "none" else slice(None)
    if attention is not None:
        bags, seen = in_bags(answers.logits, step), in_bags(answers.embedding, step)
        pooled = attention(bags, seen, step.present)
    else:
        pooled = pool_bag(in_bags(answers.logits, step), step.present, config.prediction_pooling)
    image = _compare(pooled[:, used], _image_targets(step)[:, used], config.loss)

    label = step.image_targets.repeat_interleave(step.present.sum(dim=1), dim=0)  # (cells, K)
    noisy = _noisy_pairs(step, label)
    teacher = None if step.cell_targets is not None else _teacher_answer(answers, noisy, prior)
    targets, weights = _cell_targets(answers, step, label, config)
    if teacher is not None:
        share = config.teacher.weight
        taught = (1 - share) * targets + share * teacher
        targets = torch.where(noisy, taught, targets)
        weights = weights + share * (1 - weights)  # no longer noisy labels
    words = step.corrected
    if words is not None:  # these cells are judged by themselves, below
        targets = torch.where(words[:, :1] >= 0, -1.0, targets)
    known = targets[:, 0] >= 0
    judged = answers.logits
    if chance is not None and step.cell_targets is None and teacher is None:
        judged = logits_of_label(judged, chance)
    judged, targets, weights = judged[:, used], targets[:, used], weights[:, used]
    if config.soften.share > 0 and progress >= config.soften.start_share:
        said = None if teacher is None else teacher[:, used]
        targets = _soften(judged.detach(), targets, said, share=config.soften.share)
    cell = _compare(judged[known], targets[known], config.loss, weights[known])
    cells = config.cell_loss_weight * cell
    if words is not None:
        own = words[:, 0] >= 0
        part = own.float().mean()
        put_right = _compare(answers.logits[own][:, used], words[own][:, used], config.loss)
        cells = (1 - part) * cells + part * config.corrected_weight * put_right
    total = config.image_loss_weight * image + cells
    if answers.in_field is not None:
        gap = (answers.logits.sigmoid() - answers.in_field.sigmoid())[:, used]
        total = total + config.consistency.weight * gap.square().mean()
    return BagLoss(total, image.detach(), cell.detach())


def chance_of_labels(targets: npt.NDArray[np.float32]) -> Tensor:
    """Give each location's chance to be on the label of a cell that lacks it.

    Parameters
    ----------
    targets
        ``(F, K)`` image labels, 0 or 1.

    Returns
    -------
    Tensor
        ``(K,)`` by the measured presence, below 1; 0 for Negative, which is no location.
    """
    chance = torch.zeros(targets.shape[1])
    found = chance_of_label(targets[:, :NEGATIVE].mean(axis=0))
    chance[:NEGATIVE] = torch.from_numpy(found).clamp_max(_MOST_CHANCE)
    return chance


def logits_of_label(logits: Tensor, chance: Tensor) -> Tensor:
    """Turn "the cell shows it" into "the label of the cell's image has it".

    With q the probability that the cell shows a location and c that of finding the location on the
    label of a cell that lacks it, the label has it with q + (1 - q) c; its logit is
    log(exp(logit) + c) - log(1 - c). So a cell that looks empty is hardly pulled towards a label
    which its neighbours account for: the positive side of the labels is noisy, the negative is not.

    Parameters
    ----------
    logits
        ``(cells, K)``.
    chance
        ``(K,)`` c, 0 to below 1; 0 leaves the logits as they are.
    """
    return torch.logaddexp(logits, chance.log()) - torch.log1p(-chance)


def in_bags(values: Tensor, step: StepInput) -> Tensor:
    """Lay out what belongs to cells, ``(cells, ...)``, as padded bags ``(B, N, ...)``."""
    bags = values.new_zeros((*step.present.shape, *values.shape[1:]))
    bags[step.present] = values
    return bags


def _image_targets(step: StepInput) -> Tensor:
    """Give the images' labels, put right by what people say of the bag's cells.

    A location that a corrected cell shows is there; a bag of corrected cells alone has theirs.
    """
    if step.corrected is None:
        return step.image_targets
    said = in_bags((step.corrected[:, 0] >= 0).float(), step) > 0.5  # (B, N)
    shown = in_bags(step.corrected.clamp_min(0), step).amax(dim=1)  # (B, K)
    united = torch.maximum(step.image_targets, shown)
    united[:, NEGATIVE] = step.image_targets[:, NEGATIVE]  # of no cell alone
    whole = (said == step.present).all(dim=1, keepdim=True)
    return torch.where(whole, shown, united)


def _cell_targets(
    answers: Answers, step: StepInput, label: Tensor, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Give each cell's targets and their weights; -1 where a target is unknown."""
    if step.cell_targets is not None:
        return step.cell_targets, torch.ones_like(answers.logits)
    n_locations = label[:, :NEGATIVE].sum(dim=1, keepdim=True).clamp_min(1)
    positive = config.cell_positive_weight / n_locations**config.label_count_power
    return label, torch.where(label > 0.5, positive, 1.0)


def _noisy_pairs(step: StepInput, label: Tensor) -> Tensor:
    """Say what a cell may lack, ``(cells, K)``: its image's locations, unless the bag was made."""
    noisy = label > 0.5
    if step.made is None:
        return noisy
    made = step.made.repeat_interleave(step.present.sum(dim=1))
    return noisy & ~made[:, None]


def _teacher_answer(answers: Answers, noisy: Tensor, prior: PresencePrior | None) -> Tensor | None:
    if answers.teacher is None:
        return None
    logits = answers.teacher if prior is None else prior(answers.teacher, noisy)
    return logits.sigmoid()


def _soften(logits: Tensor, targets: Tensor, teacher: Tensor | None, *, share: float) -> Tensor:
    """Replace the targets of the present pairs with the largest loss by what is answered.

    After "large loss matters" (Kim et al. 2022, https://arxiv.org/abs/2206.03740), with the sides
    exchanged: there unknown absences are noisy, here presences.
    """
    present = torch.nonzero(targets > 0.5, as_tuple=True)
    losses = cross_entropy(logits[present], targets[present])
    largest = losses.topk(int(share * len(losses))).indices
    at = (present[0][largest], present[1][largest])
    softened = targets.clone()
    softened[at] = (logits.sigmoid() if teacher is None else teacher)[at]
    return softened


def _compare(
    logits: Tensor, targets: Tensor, loss: LossConfig, weights: Tensor | None = None
) -> Tensor:
    """Give one number; 0 where there is no row. ``soft_ap`` weighs nothing but its entropy."""
    if len(logits) == 0:
        return logits.sum()
    if loss.kind == "focal":
        each = focal_loss(logits, targets, gamma=loss.focal_gamma)
    elif loss.kind == "asymmetric":
        each = asymmetric_loss(
            logits,
            targets,
            gamma_positive=loss.gamma_positive,
            gamma_negative=loss.gamma_negative,
            margin=loss.margin,
        )
    else:
        each = cross_entropy(logits, targets)
    mean = (each if weights is None else each * weights).mean()
    if loss.kind != "soft_ap":
        return mean
    ordered = soft_average_precision(logits, targets, temperature=loss.temperature)
    disorder = (1 - ordered).mean() if len(ordered) else logits.sum() * 0
    return disorder + loss.entropy_weight * mean
