"""Detections against truths, image by image, by the rules of the competition (HPA.md §4).

Each detection looks only at the truth of its class with the highest IoU in its image (ties: the
first in the file). At IoU >= 0.6 it claims that truth if nobody of higher confidence has. Because
it never looks at a second truth, the number of true positives at each confidence does not depend
on the order in which detections of equal confidence are taken; which of them is called the true
one makes no difference to the score, where false positives come first among equals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import TableError
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.mask_text import MaskRuns, decode_masks
from hpacells.core.submission import SubmissionRow, parse_predictions, read_submission
from hpacells.evaluate.overlap import intersection_areas

__all__ = ["Matches", "match_submission"]

IOU_NUMERATOR, IOU_DENOMINATOR = 3, 5
"""The threshold 0.6 as a fraction: IoU is compared in whole numbers."""

Indices = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Matches:
    """Every detection's fate, and what there was to find.

    Parameters
    ----------
    images
        IDs, sorted; I of them.
    image, class_id
        ``(N,)`` int64: position in ``images``, and class, of each detection with a mask.
    confidence
        ``(N,)`` float64.
    is_true
        ``(N,)`` bool: it claimed a truth.
    n_truths
        ``(I, K)`` int64: truths with a mask, by image and class.
    """

    images: tuple[str, ...]
    image: Indices
    class_id: Indices
    confidence: npt.NDArray[np.float64]
    is_true: npt.NDArray[np.bool_]
    n_truths: Indices


@dataclass(frozen=True)
class _Scene:
    """The triples of one image in one file, those with an empty mask dropped.

    ``mask`` ``(N,)`` says which of ``runs``' masks a triple has; equal texts share one.
    """

    class_id: Indices
    confidence: npt.NDArray[np.float64]
    mask: Indices
    runs: MaskRuns


def match_submission(truth: Path, submission: Path) -> Matches:
    """Match the detections of a submission with the truth.

    Parameters
    ----------
    truth, submission
        CSV files; an image in only one of them counts as empty in the other.

    Returns
    -------
    Matches

    Raises
    ------
    TableError
        When a file is malformed, a mask string too, or the sizes of an image differ.
    """
    true_rows, found_rows = read_submission(truth), read_submission(submission)
    for fov_id in sorted(true_rows.keys() & found_rows.keys()):
        _check_sizes(true_rows[fov_id], found_rows[fov_id], truth, submission)
    images = tuple(sorted(true_rows.keys() | found_rows.keys()))
    n_truths = np.zeros((len(images), N_LOCATIONS), np.int64)
    counts, classes, confidences, hits = [], [], [], []
    for i, fov_id in enumerate(images):
        found = _read_scene(found_rows.get(fov_id), submission)
        true = _read_scene(true_rows.get(fov_id), truth)
        n_truths[i] = np.bincount(true.class_id, minlength=N_LOCATIONS)
        counts.append(found.mask.size)
        classes.append(found.class_id)
        confidences.append(found.confidence)
        hits.append(_match_scene(found, true))
    return Matches(
        images=images,
        image=np.repeat(np.arange(len(images)), counts),
        class_id=_join(classes, np.int64),
        confidence=_join(confidences, np.float64),
        is_true=_join(hits, np.bool_),
        n_truths=n_truths,
    )


def _join(parts: Sequence[npt.NDArray[Number]], dtype: type[Number]) -> npt.NDArray[Number]:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _check_sizes(true: SubmissionRow, found: SubmissionRow, truth: Path, submission: Path) -> None:
    """Sizes must agree; 0 x 0 (a file that could not be read) goes with every size."""
    sizes = ((true.width, true.height), (found.width, found.height))
    if (0, 0) not in sizes and sizes[0] != sizes[1]:
        raise TableError(
            f"{submission}, ID {found.fov_id}: expected the size {true.width} x {true.height} "
            f"that {truth} gives, got {found.width} x {found.height}. Are the masks of that image?"
        )


def _read_scene(row: SubmissionRow | None, path: Path) -> _Scene:
    if row is None or not row.predictions:
        nothing = np.zeros(0, np.int64)
        runs = MaskRuns(nothing, nothing, nothing, nothing)
        return _Scene(nothing, np.zeros(0), nothing, runs)
    where = f"{path}, ID {row.fov_id}"
    triples = parse_predictions(row.predictions, where=where)
    place_of: dict[str, int] = {}
    first_triple: list[int] = []
    for number, (_, _, text) in enumerate(triples, start=1):
        if place_of.setdefault(text, len(first_triple)) == len(first_triple):
            first_triple.append(number)
    runs = decode_masks(
        list(place_of),
        height=row.height,
        width=row.width,
        where=lambda i: f"{where}, triple {first_triple[i]}",
    )
    mask = np.array([place_of[text] for _, _, text in triples], np.int64)
    kept = runs.areas[mask] > 0
    class_id = np.array([class_id for class_id, _, _ in triples], np.int64)
    confidence = np.array([confidence for _, confidence, _ in triples], np.float64)
    return _Scene(class_id[kept], confidence[kept], mask[kept], runs)


def _match_scene(found: _Scene, true: _Scene) -> npt.NDArray[np.bool_]:
    """Say of each detection whether it claims a truth."""
    is_true = np.zeros(found.mask.size, bool)
    if not found.mask.size or not true.mask.size:
        return is_true
    shared = intersection_areas(found.runs, true.runs)
    covered = found.runs.areas[:, None] + true.runs.areas[None, :] - shared
    # Quotients of whole numbers below 2**26 are equal as floats only where they are equal.
    iou = shared / np.maximum(covered, 1)
    passes = shared * IOU_DENOMINATOR >= covered * IOU_NUMERATOR
    for class_id in np.unique(true.class_id).tolist():
        truths = true.mask[true.class_id == class_id]
        rows = np.flatnonzero(found.class_id == class_id)
        masks = found.mask[rows]
        best = np.argmax(iou[:, truths], axis=1)[masks]
        eligible = passes[masks, truths[best]]
        rows, best = rows[eligible], best[eligible]
        by_confidence = np.argsort(-found.confidence[rows], kind="stable")
        claimants = np.unique(best[by_confidence], return_index=True)[1]
        is_true[rows[by_confidence[claimants]]] = True
    return is_true
