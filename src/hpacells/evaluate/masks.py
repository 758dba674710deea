"""Found cells against true cells, as label images: F1, average precision, merges, splits, nuclei.

A found and a true cell match at a threshold t when their IoU is at least t; every cell matches at
most once, the pairs of highest IoU first (from 0.5 up no other choice matches more). Over all
fields together: F1 = 2 TP / (2 TP + FP + FN) and, as in the field of cell segmentation,
AP = TP / (TP + FP + FN); both are undefined (null) where there is neither a found nor a true cell.

- *merge*: a found cell that holds more than half of each of two or more true cells.
- *split*: a true cell that holds more than half of each of two or more found cells.
- *recall inside*: of the true cells that the frame does not cut, those that match.
- *nucleus rate*: of the pairs at IoU 0.50 whose true cell has a nucleus, those whose found cell
  has that nucleus (IoU 0.50) under its own id and inside it. Fields without nuclei files are left
  out.
- A cell that the cells table of its folder calls rejected counts only where it matches.
- A true field without a found file is a field where nothing was found; a found field without a
  true file is not scored. Both are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ConfigError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.evaluate.field_masks import THRESHOLDS, FieldMaskCounts, count_field
from hpacells.evaluate.label_overlap import Indices, Labels, overlap_labels
from hpacells.evaluate.mask_pairs import MaskFolders

__all__ = [
    "THRESHOLDS",
    "FolderScores",
    "MaskMatch",
    "MaskScores",
    "match_masks",
    "score_masks",
    "sum_fields",
]


@dataclass(frozen=True)
class MaskMatch:
    """Two label images of one field, matched at one threshold.

    Parameters
    ----------
    pairs
        ``(M, 2)`` int64: found id, true id; ascending found ids.
    iou
        ``(M,)`` float64 of those pairs.
    unmatched_found, unmatched_true
        Ids without a partner, ascending.
    """

    pairs: Indices
    iou: npt.NDArray[np.float64]
    unmatched_found: Indices
    unmatched_true: Indices


@dataclass(frozen=True)
class MaskScores:
    """Agreement of label images, one field's or all fields' together.

    Parameters
    ----------
    f1, ap
        By threshold, a string such as ``"0.60"``; None where undefined.
    recall_inside
        The same, of the true cells that the frame does not cut.
    matched
        By threshold: pairs of cells.
    n_found, n_true, n_inside
        Cells; rejected cells that match nothing at IoU 0.50 are left out.
    merges, splits
        As the module says, without those rejected cells.
    nucleus_rate, nuclei_matched, nuclei_expected
        The rate, None where undefined, and its two counts.
    """

    f1: Mapping[str, float | None]
    ap: Mapping[str, float | None]
    recall_inside: Mapping[str, float | None]
    matched: Mapping[str, int]
    n_found: int
    n_true: int
    n_inside: int
    merges: int
    splits: int
    nucleus_rate: float | None
    nuclei_matched: int
    nuclei_expected: int


@dataclass(frozen=True)
class FolderScores:
    """Agreement of two folders of label images.

    Parameters
    ----------
    total
        All fields together.
    fields
        Counts of every true field, by ascending fov_id.
    missing_found, missing_true
        True fields without a found file, found files without a true one.
    """

    total: MaskScores
    fields: tuple[FieldMaskCounts, ...]
    missing_found: int
    missing_true: int

    def worst(self, n: int, threshold: float = 0.6) -> list[str]:
        """Name the fields of lowest F1, the lowest first; fields without any cell are none.

        Ties: the field with more cells at fault first, then by name.
        """
        k = THRESHOLDS.index(threshold)
        ranked = []
        for field in self.fields:
            wrong = int(field.extra[k] + field.missed[k])
            whole = 2 * int(field.matched[k]) + wrong
            if whole:
                ranked.append((2 * int(field.matched[k]) / whole, -wrong, field.fov_id))
        return [fov_id for *_, fov_id in sorted(ranked)[:n]]


def match_masks(found: Labels, true: Labels, threshold: float) -> MaskMatch:
    """Match the cells of two label images.

    Parameters
    ----------
    found, true
        ``(H, W)`` integers, 0 = background.
    threshold
        IoU from which two cells match, 0.5 to 1 (inclusive: equal is enough).

    Returns
    -------
    MaskMatch

    Raises
    ------
    ConfigError
        When the threshold is outside 0.5-1.
    ImageError
        When the images differ in shape.
    """
    if not 0.5 <= threshold <= 1:
        raise ConfigError(f"expected an IoU threshold from 0.5 to 1, got {threshold}")
    overlap = overlap_labels(found, true, "label images")
    matched = overlap.match(threshold)
    f, t = overlap.found_at[matched], overlap.true_at[matched]
    return MaskMatch(
        pairs=np.stack([overlap.found_ids[f], overlap.true_ids[t]], axis=1),
        iou=overlap.iou[matched],
        unmatched_found=np.delete(overlap.found_ids, f),
        unmatched_true=np.delete(overlap.true_ids, t),
    )


def score_masks(found: Path, true: Path, *, progress: ProgressCallback = silent) -> FolderScores:
    """Score a folder of found label images against the true ones.

    Parameters
    ----------
    found
        A folder of ``<fov_id>_cells.png`` (or ``.tif``), or a run folder that holds ``masks/``;
        ``<fov_id>_nuclei.*`` beside them are looked at too. ``cells.parquet`` of the run, or
        ``cells.csv`` of a simulation's ``truth/``, says which cells are rejected.
    true
        The same; of a dataset folder, its ``truth/``.
    progress
        Told of each field.

    Returns
    -------
    FolderScores

    Raises
    ------
    TableError
        When a folder holds no label images, or the two have no field in common.
    ImageError
        When an image cannot be read, or two of one field differ in shape.
    """
    folders = MaskFolders.open(found, true)
    fields = []
    for fov_id in sorted(folders.true_files):
        fields.append(count_field(folders.read(fov_id)))
        progress(len(fields), len(folders.true_files), fov_id)
    return FolderScores(
        total=sum_fields(fields),
        fields=tuple(fields),
        missing_found=len(folders.true_files.keys() - folders.found_files.keys()),
        missing_true=len(folders.found_files.keys() - folders.true_files.keys()),
    )


def sum_fields(fields: list[FieldMaskCounts]) -> MaskScores:
    """Turn the counts of one or more fields into scores."""
    zero = np.zeros(len(THRESHOLDS), np.int64)
    matched = sum((f.matched for f in fields), zero).tolist()
    extra = sum((f.extra for f in fields), zero).tolist()
    missed = sum((f.missed for f in fields), zero).tolist()
    inside = sum((f.matched_inside for f in fields), zero).tolist()
    n_inside = sum(f.n_inside for f in fields)
    names = [f"{threshold:.2f}" for threshold in THRESHOLDS]
    counts = list(zip(names, matched, extra, missed, strict=True))
    nuclei_matched = sum(f.nuclei_matched for f in fields)
    nuclei_expected = sum(f.nuclei_expected for f in fields)
    return MaskScores(
        f1={name: _ratio(2 * tp, 2 * tp + fp + fn) for name, tp, fp, fn in counts},
        ap={name: _ratio(tp, tp + fp + fn) for name, tp, fp, fn in counts},
        recall_inside={n: _ratio(k, n_inside) for n, k in zip(names, inside, strict=True)},
        matched=dict(zip(names, matched, strict=True)),
        n_found=matched[0] + extra[0],
        n_true=matched[0] + missed[0],
        n_inside=n_inside,
        merges=sum(len(f.merged) for f in fields),
        splits=sum(len(f.split) for f in fields),
        nucleus_rate=_ratio(nuclei_matched, nuclei_expected),
        nuclei_matched=nuclei_matched,
        nuclei_expected=nuclei_expected,
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
