"""Two label images of one field laid over each other: what they share, and who matches whom.

Only pairs of ids that share a pixel are kept, and pixels are counted run by run, so neither the
number of cells nor the size of their ids costs memory.
"""

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
    """All overlaps of two label images.

    Parameters
    ----------
    found_ids, true_ids
        ``(F,)`` and ``(T,)`` int64: ids present, ascending.
    found_areas, true_areas
        Their pixels.
    found_at, true_at
        ``(P,)`` int64: positions among those ids of every pair that shares pixels; ascending,
        found first.
    shared
        ``(P,)`` int64: the pixels that each pair shares.
    """

    found_ids: Indices
    true_ids: Indices
    found_areas: Indices
    true_areas: Indices
    found_at: Indices
    true_at: Indices
    shared: Indices

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Give intersection over union of every pair, ``(P,)``."""
        return self.shared / self._union

    @property
    def _union(self) -> Indices:
        union: Indices = self.found_areas[self.found_at] + self.true_areas[self.true_at]
        return union - self.shared

    def match(self, threshold: float) -> Indices:
        """Give the pairs that match, as positions in ``shared`` by ascending found id."""
        candidates = np.flatnonzero(self.shared * _STEPS >= self._union * round(threshold * _STEPS))
        found, true = self.found_at[candidates], self.true_at[candidates]
        order = np.lexsort((found, true, -self.iou[candidates]))
        free_found = np.ones(self.found_ids.size, bool)
        free_true = np.ones(self.true_ids.size, bool)
        pairs = []
        for k in order.tolist():
            f, t = found[k], true[k]
            if free_found[f] and free_true[t]:
                free_found[f] = free_true[t] = False
                pairs.append(candidates[k])
        return np.array(sorted(pairs), np.int64)

    def partners(self, threshold: float) -> dict[int, int]:
        """Give found id → true id of the pairs that match, by ascending found id."""
        pairs = self.match(threshold)
        found, true = self.found_ids[self.found_at[pairs]], self.true_ids[self.true_at[pairs]]
        return dict(zip(found.tolist(), true.tolist(), strict=True))


def overlap_labels(found: Labels, true: Labels, where: str) -> LabelOverlap:
    """Lay two label images over each other.

    Parameters
    ----------
    found, true
        ``(H, W)`` integers from 0 to 2**31 - 1, 0 = background.
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
    a, b = found.reshape(-1), true.reshape(-1)
    changes = np.ones(a.size, np.bool_)
    changes[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    start = np.flatnonzero(changes)
    length = np.diff(start, append=a.size)
    joint = (a[start].astype(np.int64) << 32) | b[start].astype(np.int64)
    pairs, place = np.unique(joint, return_inverse=True)
    pixels = np.bincount(place.reshape(-1), length, pairs.size).astype(np.int64)
    f, t = pairs >> 32, pairs & 0xFFFFFFFF
    found_ids, found_areas = _sum_by_id(f, pixels)
    true_ids, true_areas = _sum_by_id(t, pixels)
    both = (f > 0) & (t > 0)
    return LabelOverlap(
        found_ids,
        true_ids,
        found_areas,
        true_areas,
        np.searchsorted(found_ids, f[both]),
        np.searchsorted(true_ids, t[both]),
        pixels[both],
    )


def _sum_by_id(ids: Indices, pixels: Indices) -> tuple[Indices, Indices]:
    """Give the ids present without background, ascending, and their pixels."""
    present, place = np.unique(ids, return_inverse=True)
    areas = np.bincount(place.reshape(-1), pixels, present.size).astype(np.int64)
    return present[present > 0], areas[present > 0]
