"""How far a cell is from what its model knows: one number in [0, 1], without torch.

Three things are looked at: the embedding (a kind of cell never seen), the crop itself (empty, a
stain missing, noise, debris: a network may map such crops to the middle of what it knows), and how
undecided the probabilities are. The first two are Mahalanobis distances (Lee et al. 2018,
arXiv:1807.03888) from ordinary cells, those that the training held out, along the axes on which
they vary most; all other directions count as equal (probabilistic principal components, Tipping and
Bishop 1999, doi:10.1111/1467-9868.00196). The doubt is the share of the ordinary cells that are
less unusual in their most unusual respect: at 0.9 nine in ten are.

A cell's doubt depends on that cell alone, bit for bit: no sum here runs over cells.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import NEGATIVE
from hpacells.runtime.model_folder import DOUBT_LEVELS, Cloud, Doubt, pack, unpack

__all__ = ["describe_crops", "distance", "fit_cloud", "fit_doubt", "score_doubt"]

Floats = npt.NDArray[np.float64]

_MOST_AXES: Final = 16
_BATCH: Final = 64
_LEAST_GREY: Final = 0.5
"""Added to grey values before the logarithm: half a grey level of 255."""
_LEAST_SPREAD: Final = 0.02
"""Least standard deviation along an axis, as a share of the largest."""
_LEVELS: Final = np.array(DOUBT_LEVELS)


def score_doubt(
    doubt: Doubt | None,
    crops: npt.NDArray[np.uint8],
    cell_masks: npt.NDArray[np.uint8] | npt.NDArray[np.bool_],
    embedding: npt.NDArray[np.float32],
    probability: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Score cells.

    Parameters
    ----------
    doubt
        Of the model. None: 1 - the largest probability stands in for it.
    crops, cell_masks
        ``(N, C, S, S)`` uint8 and ``(N, S, S)``, as the network got them.
    embedding
        ``(N, D)``.
    probability
        ``(N, K)`` calibrated.

    Returns
    -------
    ndarray
        ``(N,)`` float32 in [0, 1].
    """
    if doubt is None:
        return 1 - probability.max(axis=1, initial=0)
    description = describe_crops(crops, cell_masks)
    raw = _measures((doubt.crop, doubt.embedding), description, embedding, probability)
    ranks = [_rank(*pair) for pair in zip(raw, map(unpack, doubt.levels), strict=True)]
    return _rank(np.max(ranks, axis=0), unpack(doubt.total)).astype(np.float32)


def fit_doubt(
    description: Floats,
    embedding: npt.NDArray[np.float32],
    probability: npt.NDArray[np.float32],
) -> Doubt:
    """Summarise ordinary cells.

    Parameters
    ----------
    description, embedding, probability
        ``describe_crops``, ``(N, D)`` embeddings and ``(N, K)`` probabilities of cells that the
        network was not trained on: it places those that it was trained on nearer than others.

    Returns
    -------
    Doubt
        For ``model.json``.
    """
    clouds = fit_cloud(description), fit_cloud(embedding)
    raw = _measures(clouds, description, embedding, probability)
    levels = [np.quantile(part, _LEVELS) for part in raw]
    worst = np.max([_rank(*pair) for pair in zip(raw, levels, strict=True)], axis=0)
    crop, near, undecided = map(pack, levels)
    return Doubt(
        crop=clouds[0],
        embedding=clouds[1],
        levels=(crop, near, undecided),
        total=pack(np.quantile(worst, _LEVELS)),
    )


def describe_crops(
    crops: npt.NDArray[np.uint8], cell_masks: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
) -> Floats:
    """Describe what stands inside the cells.

    Parameters
    ----------
    crops
        ``(N, C, S, S)`` uint8.
    cell_masks
        ``(N, S, S)``.

    Returns
    -------
    ndarray
        ``(N, 3 C + 1)``: per stain the logarithms of mean, standard deviation and mean step from
        pixel to pixel; then that of the area in pixels.
    """
    parts = [
        _describe(crops[start : start + _BATCH], cell_masks[start : start + _BATCH] > 0)
        for start in range(0, len(crops), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3 * crops.shape[1] + 1))


def _describe(crops: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_]) -> Floats:
    # whole numbers up to the sums: the same whatever cells stand beside
    area = inside.sum(axis=(1, 2))
    grey = crops * inside[:, None]
    pairs = inside[:, :, 1:] & inside[:, :, :-1]
    left, right = grey[..., :-1], grey[..., 1:]
    step = (np.maximum(left, right) - np.minimum(left, right)) * pairs[:, None]
    n, n_pairs = np.maximum(area, 1)[:, None], np.maximum(pairs.sum(axis=(1, 2)), 1)[:, None]
    mean = _total(grey) / n
    variance = np.maximum(_total(np.square(grey, dtype=np.uint16)) / n - mean * mean, 0)
    values = [mean, np.sqrt(variance), _total(step) / n_pairs]
    return np.concatenate([np.log(np.hstack(values) + _LEAST_GREY), np.log1p(area)[:, None]], 1)


def _total(values: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """Sum the pixels of each plane ``(N, C, H, W)``: ``(N, C)``."""
    return values.sum(axis=(2, 3), dtype=np.uint32).astype(np.int64)


def fit_cloud(points: npt.NDArray[np.floating]) -> Cloud:
    """Summarise points ``(N, D)``, N at least 1: mean, axes, and the spread along each."""
    values = points.astype(np.float64)
    mean = values.mean(axis=0)
    _, singular, axes = np.linalg.svd(values - mean, full_matrices=False)
    variance = singular**2 / len(values)
    kept = min(_MOST_AXES, len(variance))
    rest = variance[kept:].sum() / max(values.shape[1] - kept, 1)
    spread = np.sqrt(np.append(variance[:kept], rest))
    spread = np.maximum(spread, _LEAST_SPREAD * max(float(spread.max()), 1e-6))
    return Cloud(mean=pack(mean), axes=pack(axes[:kept]), spread=pack(spread))


def distance(cloud: Cloud, points: npt.NDArray[np.floating]) -> Floats:
    """Give the Mahalanobis distance ``(N,)`` of points ``(N, D)`` from a cloud."""
    mean, spread = unpack(cloud.mean), unpack(cloud.spread)
    axes = unpack(cloud.axes).reshape(len(spread) - 1, len(mean))
    away = np.ascontiguousarray(points - mean)
    left = (away * away).sum(axis=1)
    total = np.zeros(len(away))
    for axis, sd in zip(axes, spread, strict=False):
        along = (away * axis).sum(axis=1)
        total += (along / sd) ** 2
        left -= along * along
    return np.sqrt(total + np.maximum(left, 0) / spread[-1] ** 2)


def _measures(
    clouds: tuple[Cloud, Cloud],
    description: Floats,
    embedding: npt.NDArray[np.float32],
    probability: npt.NDArray[np.float32],
) -> list[Floats]:
    """Measure each respect ``(N,)``: crop, embedding, probabilities."""
    near = distance(clouds[0], description), distance(clouds[1], embedding)
    # rounded as the quantiles are: equal cells stay equal
    return [part.astype(np.float32).astype(np.float64) for part in (*near, _entropy(probability))]


def _entropy(probability: npt.NDArray[np.float32]) -> Floats:
    """Sum of the binary entropies of the locations, in nats; Negative follows from the others."""
    p = np.clip(np.delete(probability.astype(np.float64), NEGATIVE, axis=1), 1e-7, 1 - 1e-7)
    each = np.ascontiguousarray(-p * np.log(p) - (1 - p) * np.log1p(-p))
    return np.asarray(each.sum(axis=1))


def _rank(values: Floats, quantiles: Floats) -> Floats:
    """Give the share of ordinary cells below each value; where many are equal, those below all."""
    return np.asarray(1 - np.interp(-values, -quantiles[::-1], 1 - _LEVELS[::-1]))
