"""One field's found cells against its true ones: who matches, and what is merged, split, missed.

The counts of fields add up; ``evaluate.masks`` turns sums into scores.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.evaluate.label_overlap import Indices, LabelOverlap, Labels, overlap_labels
from hpacells.evaluate.mask_pairs import MaskPair

__all__ = ["THRESHOLDS", "FieldMaskCounts", "count_field"]

THRESHOLDS = tuple(k / 20 for k in range(10, 19))
"""IoU 0.50, 0.55 … 0.90."""


@dataclass(frozen=True)
class FieldMaskCounts:
    """What one field adds.

    Parameters
    ----------
    fov_id
        The field.
    matched, extra, missed
        ``(9,)`` int64, by threshold: pairs; found cells and true cells without a partner, except
        for rejected ones.
    matched_inside
        ``(9,)`` int64: those pairs whose true cell isn't cut by the frame.
    n_inside
        True cells that the frame does not cut, except for rejected ones that match nothing.
    merged
        Found ids that hold more than half of each of two or more true cells.
    split
        True ids that hold more than half of each of two or more found cells.
    nuclei_matched, nuclei_expected
        Pairs at IoU 0.50 whose true cell has a nucleus, and those of them whose found cell has
        that nucleus too: under its own id, inside it, at IoU 0.50 or more.
    """

    fov_id: str
    matched: Indices
    extra: Indices
    missed: Indices
    matched_inside: Indices
    n_inside: int
    merged: tuple[int, ...]
    split: tuple[int, ...]
    nuclei_matched: int
    nuclei_expected: int


def count_field(pair: MaskPair) -> FieldMaskCounts:
    """Count one field.

    Parameters
    ----------
    pair
        Its label images, and what is rejected.

    Raises
    ------
    ImageError
        When the images differ in shape.
    """
    where = f"field {pair.fov_id}"
    overlap = overlap_labels(pair.found, pair.true, where)
    free_found = np.isin(overlap.found_ids, list(pair.rejected_found))
    free_true = np.isin(overlap.true_ids, list(pair.rejected_true))
    inside = ~_at_frame(pair.true, overlap.true_ids)
    counts = np.zeros((4, len(THRESHOLDS)), np.int64)
    for k, threshold in enumerate(THRESHOLDS):
        pairs = overlap.match(threshold)
        found, true = overlap.found_at[pairs], overlap.true_at[pairs]
        counts[0, k] = pairs.size
        counts[1, k] = np.delete(~free_found, found).sum()
        counts[2, k] = np.delete(~free_true, true).sum()
        counts[3, k] = inside[true].sum()
    loosest = overlap.match(THRESHOLDS[0])
    kept_found, kept_true = ~free_found, ~free_true
    kept_found[overlap.found_at[loosest]] = True
    kept_true[overlap.true_at[loosest]] = True
    in_play = kept_found[overlap.found_at] & kept_true[overlap.true_at]
    nuclei_matched, nuclei_expected = _count_nuclei(pair, overlap, loosest)
    return FieldMaskCounts(
        fov_id=pair.fov_id,
        matched=counts[0],
        extra=counts[1],
        missed=counts[2],
        matched_inside=counts[3],
        n_inside=int((inside & kept_true).sum()),
        merged=_holders(
            in_play & (overlap.shared * 2 > overlap.true_areas[overlap.true_at]),
            overlap.found_ids[overlap.found_at],
        ),
        split=_holders(
            in_play & (overlap.shared * 2 > overlap.found_areas[overlap.found_at]),
            overlap.true_ids[overlap.true_at],
        ),
        nuclei_matched=nuclei_matched,
        nuclei_expected=nuclei_expected,
    )


def _at_frame(cells: Labels, ids: Indices) -> npt.NDArray[np.bool_]:
    """Say which of the ids the frame cuts."""
    edges = [cells[:1], cells[-1:], cells[:, :1], cells[:, -1:]]
    return np.isin(ids, np.concatenate([edge.reshape(-1) for edge in edges]))


def _holders(holds: npt.NDArray[np.bool_], holders: Indices) -> tuple[int, ...]:
    """Give the ids that hold two or more others."""
    ids, held = np.unique(holders[holds], return_counts=True)
    return tuple(ids[held >= 2].tolist())


def _count_nuclei(pair: MaskPair, overlap: LabelOverlap, matched: Indices) -> tuple[int, int]:
    """Count pairs of cells that share their nucleus, and pairs that should."""
    if pair.nuclei is None:
        return 0, 0
    where = f"nuclei of field {pair.fov_id}"
    nuclei = overlap_labels(*pair.nuclei, where)
    partners = zip(
        overlap.found_ids[overlap.found_at[matched]].tolist(),
        overlap.true_ids[overlap.true_at[matched]].tolist(),
        strict=True,
    )
    has_nucleus = set(nuclei.true_ids.tolist())
    expected = {(f, t) for f, t in partners if t in has_nucleus}
    good = nuclei.match(THRESHOLDS[0])
    same = zip(
        nuclei.found_ids[nuclei.found_at[good]].tolist(),
        nuclei.true_ids[nuclei.true_at[good]].tolist(),
        strict=True,
    )
    own = overlap_labels(pair.nuclei[0], pair.found, where)
    whole = own.shared == own.found_areas[own.found_at]
    at_home = whole & (own.found_ids[own.found_at] == own.true_ids[own.true_at])
    inside = set(own.found_ids[own.found_at[at_home]].tolist())
    return len({(f, t) for f, t in same if f in inside} & expected), len(expected)
