"""Two label images of one field laid over each other: what they share, and who matches whom."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError

__all__ = ["Indices", "LabelOverlap", "Labels", "overlap_labels"]

Labels = npt.NDArray[np.integer]
Indices = npt.NDArray[np.int64]

_STEPS = 1000
"""Thresholds are compared in whole numbers, in steps of 1/1000."""


@dataclass(frozen=True)
class LabelOverlap:
    """All overlaps of two label images: ids ascending, areas, shared pixels ``(F, T)``."""

    found_ids: Indices
    true_ids: Indices
    found_areas: Indices
    true_areas: Indices
    shared: Indices

    def match(self, threshold: float) -> tuple[Indices, Indices]:
        """Positions (found, true) of the pairs that match."""
        union = self.found_areas[:, None] + self.true_areas[None, :] - self.shared
        found, true = np.nonzero(self.shared * _STEPS >= union * round(threshold * _STEPS))
        iou = self.shared[found, true] / union[found, true]
        order = np.lexsort((found, true, -iou))
        found, true = found[order], true[order]
        free_found = np.ones(self.found_ids.size, bool)
        free_true = np.ones(self.true_ids.size, bool)
        pairs = []
        for f, t in zip(found.tolist(), true.tolist(), strict=True):
            if free_found[f] and free_true[t]:
                free_found[f] = free_true[t] = False
                pairs.append((f, t))
        places = np.array(sorted(pairs), np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1]


def overlap_labels(found: Labels, true: Labels, where: str) -> LabelOverlap:
    """Lay two label images over each other, by one ``bincount`` of joint ids.

    Parameters
    ----------
    found, true
        ``(H, W)`` integers, 0 = background.
    where
        Named in the error.

    Returns
    -------
    LabelOverlap

    Raises
    ------
    ImageError
        When the images differ in shape.
    """
    if found.shape != true.shape or found.ndim != 2:
        raise ImageError(
            f"{where}: expected found and true cells of one shape (H, W), got {found.shape} and "
            f"{true.shape}"
        )
    found_ids, found_places = _compact(found)
    true_ids, true_places = _compact(true)
    width = true_ids.size + 1
    joint = found_places * width + true_places
    table = np.bincount(joint.ravel(), minlength=(found_ids.size + 1) * width)
    table = table.reshape(-1, width)
    return LabelOverlap(
        found_ids, true_ids, table[1:].sum(axis=1), table[:, 1:].sum(axis=0), table[1:, 1:]
    )


def _compact(ids: Labels) -> tuple[Indices, Indices]:
    """Give the ids present, ascending, and the image with 1 … n instead of them."""
    present = np.bincount(ids.ravel()) > 0 if ids.size else np.zeros(1, bool)
    present[0] = False
    places: Indices = np.cumsum(present, dtype=np.int64) * present
    return np.flatnonzero(present), places[ids]
