"""How many pixels two sets of masks share, from their runs, in whole numbers.

Runs are joined by binary search, so masks are never unpacked into images and masks that do not
touch cost nothing.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.mask_text import MaskRuns

__all__ = ["intersection_areas"]

Indices = npt.NDArray[np.int64]
Runs = tuple[Indices, Indices, Indices]


def intersection_areas(found: MaskRuns, truths: MaskRuns) -> Indices:
    """Count the pixels that each found mask shares with each true one.

    Parameters
    ----------
    found, truths
        Masks of one image; within each set they may overlap.

    Returns
    -------
    ndarray
        ``(N, T)`` int64, in pixels.
    """
    shape = (found.areas.size, truths.areas.size)
    shared = np.zeros(shape, np.int64)
    for layer in _layers_without_overlap(truths):
        pairs, pixels = _join(found, layer, shape[1])
        shared += np.bincount(pairs, pixels, shared.size).astype(np.int64).reshape(shape)
    return shared


def _join(found: MaskRuns, layer: Runs, n_truths: int) -> tuple[Indices, Indices]:
    """List where a found run meets a run of the layer: flat pair of masks, pixels shared."""
    starts, ends, owners = layer
    first = np.searchsorted(ends, found.starts, side="right")
    counts = np.searchsorted(starts, found.ends, side="left") - first
    run = np.repeat(np.arange(first.size), counts)
    before = np.cumsum(counts) - counts
    partner = np.arange(run.size) - before[run] + first[run]
    pixels = np.minimum(found.ends[run], ends[partner])
    pixels -= np.maximum(found.starts[run], starts[partner])
    return found.owners[run] * n_truths + owners[partner], pixels


def _layers_without_overlap(masks: MaskRuns) -> list[Runs]:
    """Share masks out among layers within which no two overlap; usually one layer is enough."""
    everything = _in_order((masks.starts, masks.ends, masks.owners))
    if (everything[0][1:] >= everything[1][:-1]).all():
        return [everything]
    bounds = np.searchsorted(masks.owners, np.arange(masks.areas.size + 1))
    layers: list[Runs] = []
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        mask = (masks.starts[first:last], masks.ends[first:last], masks.owners[first:last])
        for k, layer in enumerate(layers):
            if not _overlap(mask, layer):
                merged = [np.concatenate(pair) for pair in zip(layer, mask, strict=True)]
                layers[k] = _in_order((merged[0], merged[1], merged[2]))
                break
        else:
            layers.append(mask)
    return layers


def _overlap(mask: Runs, layer: Runs) -> bool:
    first = np.searchsorted(layer[1], mask[0], side="right")
    return bool((np.searchsorted(layer[0], mask[1], side="left") > first).any())


def _in_order(runs: Runs) -> Runs:
    order = np.argsort(runs[0], kind="stable")
    return runs[0][order], runs[1][order], runs[2][order]
