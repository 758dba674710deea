"""Found cells against true cells, as label images: F1, average precision, merges, splits.

A found and a true cell match at a threshold t when their IoU is at least t; every cell matches at
most once, the pairs of highest IoU first (from 0.5 up no other choice matches more). Over all
fields together: F1 = 2 TP / (2 TP + FP + FN) and, as in the field of cell segmentation,
AP = TP / (TP + FP + FN); both are undefined (null) where there is neither a found nor a true cell.

- *merge*: a found cell that holds more than half of each of two or more true cells.
- *split*: a true cell that holds more than half of each of two or more found cells.
- A found cell that is called rejected counts as found only where it matches.
- A true field without a found file is a field where nothing was found; a found field without a
  true file is not scored. Both are counted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from hpacells.core.cell_table import CellStatus
from hpacells.core.errors import ConfigError, TableError
from hpacells.core.parquet import naming_damage
from hpacells.core.progress import ProgressCallback, silent
from hpacells.evaluate.label_overlap import Indices, LabelOverlap, Labels, overlap_labels
from hpacells.images.mask_files import read_label_image

__all__ = [
    "THRESHOLDS",
    "MaskMatch",
    "MaskScores",
    "find_label_images",
    "match_masks",
    "score_masks",
]

THRESHOLDS = tuple(k / 20 for k in range(10, 19))
"""IoU 0.50, 0.55 … 0.90."""

_SUFFIXES = (".png", ".tif", ".tiff")
_ENDING = "_cells"


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
    """Agreement of two folders of label images, all fields together.

    Parameters
    ----------
    f1, ap
        By threshold, a string such as ``"0.60"``; None where undefined.
    matched
        By threshold: pairs of cells.
    n_found, n_true
        Cells; rejected cells that match nothing at IoU 0.50 are left out.
    merges, splits
        As the module says, without those rejected cells.
    fields, missing_found, missing_true
        Fields scored, those among them without a found file, found files without a true one.
    """

    f1: Mapping[str, float | None]
    ap: Mapping[str, float | None]
    matched: Mapping[str, int]
    n_found: int
    n_true: int
    merges: int
    splits: int
    fields: int
    missing_found: int
    missing_true: int


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
    f, t = overlap.match(threshold)
    union = overlap.found_areas[f] + overlap.true_areas[t] - overlap.shared[f, t]
    return MaskMatch(
        pairs=np.stack([overlap.found_ids[f], overlap.true_ids[t]], axis=1),
        iou=overlap.shared[f, t] / union,
        unmatched_found=np.delete(overlap.found_ids, f),
        unmatched_true=np.delete(overlap.true_ids, t),
    )


def score_masks(found: Path, true: Path, *, progress: ProgressCallback = silent) -> MaskScores:
    """Score a folder of found label images against the true ones.

    Parameters
    ----------
    found
        A folder of ``<fov_id>_cells.png`` (or ``.tif``), or a run folder that holds ``masks/``.
        ``cells.parquet`` in it or beside it says which cells are rejected.
    true
        The same; of a dataset folder, its ``truth/``.
    progress
        Told of each field.

    Returns
    -------
    MaskScores

    Raises
    ------
    TableError
        When a folder holds no label images, or the two have no field in common.
    ImageError
        When an image cannot be read, or two of one field differ in shape.
    """
    found_files, true_files = find_label_images(found), find_label_images(true)
    if not found_files.keys() & true_files.keys():
        raise TableError(
            f"{found} and {true}: no field in common (for example {min(found_files)} and "
            f"{min(true_files)}). Files are paired by <fov_id>{_ENDING}.*"
        )
    rejected = _read_rejected(found)
    total = np.zeros(3 * len(THRESHOLDS) + 2, np.int64)
    for done, fov_id in enumerate(sorted(true_files), start=1):
        true_cells = read_label_image(true_files[fov_id])
        if fov_id in found_files:
            found_cells = read_label_image(found_files[fov_id])
        else:
            found_cells = np.zeros_like(true_cells)
        overlap = overlap_labels(found_cells, true_cells, f"field {fov_id}")
        total += _count(overlap, rejected.get(fov_id, ()))
        progress(done, len(true_files), fov_id)
    matched, false, missed = total[:-2].reshape(3, -1).tolist()
    names = [f"{threshold:.2f}" for threshold in THRESHOLDS]
    counts = list(zip(names, matched, false, missed, strict=True))
    return MaskScores(
        f1={name: _ratio(2 * tp, 2 * tp + fp + fn) for name, tp, fp, fn in counts},
        ap={name: _ratio(tp, tp + fp + fn) for name, tp, fp, fn in counts},
        matched=dict(zip(names, matched, strict=True)),
        n_found=matched[0] + false[0],
        n_true=matched[0] + missed[0],
        merges=int(total[-2]),
        splits=int(total[-1]),
        fields=len(true_files),
        missing_found=len(true_files.keys() - found_files.keys()),
        missing_true=len(found_files.keys() - true_files.keys()),
    )


def find_label_images(folder: Path) -> dict[str, Path]:
    """List the cell label images of a folder, or of its ``masks/`` or ``truth/``, by fov_id.

    Raises
    ------
    TableError
        When there are none, or one field has two.
    """
    for place in (folder, folder / "masks", folder / "truth"):
        files = sorted(
            path
            for path in (place.iterdir() if place.is_dir() else ())
            if path.suffix.lower() in _SUFFIXES and path.stem.endswith(_ENDING)
        )
        by_field: dict[str, Path] = {}
        for path in files:
            fov_id = path.stem.removesuffix(_ENDING)
            if fov_id in by_field:
                raise TableError(
                    f"{place}: field {fov_id} has {by_field[fov_id].name} and {path.name}. "
                    "Keep one of them."
                )
            by_field[fov_id] = path
        if by_field:
            return by_field
    raise TableError(
        f"{folder}: expected label images <fov_id>{_ENDING}.png or .tif, found none. Give the "
        "folder that holds them."
    )


def _read_rejected(found: Path) -> dict[str, set[int]]:
    """Read the ids that the cells table in or above the folder calls rejected, if there is one."""
    tables = [p for p in (found / "cells.parquet", found.parent / "cells.parquet") if p.is_file()]
    rejected: dict[str, set[int]] = {}
    if tables:
        with naming_damage(tables[0], "Make it again, or move it away."):
            table = pq.read_table(
                tables[0],
                columns=["fov_id", "cell_id"],
                filters=[("status", "=", CellStatus.REJECTED.value)],
            )
        ids = zip(table["fov_id"].to_pylist(), table["cell_id"].to_pylist(), strict=True)
        for fov_id, cell_id in ids:
            rejected.setdefault(fov_id, set()).add(cell_id)
    return rejected


def _count(overlap: LabelOverlap, rejected: Collection[int]) -> Indices:
    """Count one field: matched, false, missed at each threshold; merges; splits."""
    is_rejected = np.isin(overlap.found_ids, list(rejected))
    counts = np.zeros((3, len(THRESHOLDS)), np.int64)
    for k, threshold in enumerate(THRESHOLDS):
        found, _ = overlap.match(threshold)
        counts[0, k] = found.size
        counts[1, k] = overlap.found_ids.size - found.size - np.delete(is_rejected, found).sum()
        counts[2, k] = overlap.true_ids.size - found.size
    dropped = is_rejected.copy()
    dropped[overlap.match(THRESHOLDS[0])[0]] = False
    kept = ~dropped
    in_found = overlap.shared * 2 > overlap.true_areas[None, :]
    in_true = overlap.shared * 2 > overlap.found_areas[:, None]
    merges = int((in_found[kept].sum(axis=1) >= 2).sum())
    splits = int((in_true[kept].sum(axis=0) >= 2).sum())
    return np.append(counts.ravel(), [merges, splits])


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
