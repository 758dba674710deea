"""What people said of single cells of a run, as targets of the cells to learn from.

Enters: run folders with ``corrections.parquet``, and the data of a training. Leaves: the data with
``corrected`` and ``left_out``. A cell is found by its field and id; it must be the same cell there
and here, so the two boxes must overlap (IoU 0.6), but in fields whose outlines were redrawn.

========= ======================================================================================
accept    its locations are right: those that are named, else the one of its highest score
correct   it shows these locations; without any its outline was redrawn, which says nothing here
reject    nothing is learned from it
comment   says nothing
========= ======================================================================================

Where several people speak of a cell, each word counts equally: it is left out when more than half
reject it, and its target is the mean of what the others say, so where they disagree it is soft.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.corrections import (
    CORRECTED_MASKS,
    Action,
    Correction,
    read_corrections,
)
from hpacells.core.errors import InputError
from hpacells.core.locations import N_LOCATIONS, target_vector
from hpacells.core.provenance import hash_settings, sha256_bytes
from hpacells.core.run_tables import open_table
from hpacells.crops.store import CropStore
from hpacells.images.mask_files import mask_path
from hpacells.train.data import TrainingData, cell_rows

__all__ = ["apply_corrections"]

_BOX = ("r0", "c0", "r1", "c1")
_IOU = 0.6
_SHOWN = 3

_Cell = tuple[str, int]


@dataclass(frozen=True)
class _Said:
    """What all say of one cell."""

    targets: list[npt.NDArray[np.float32]] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    """Who rejects it."""


def apply_corrections(data: TrainingData, store: CropStore, runs: Sequence[Path]) -> TrainingData:
    """Give the cells of a training what people said of them.

    Parameters
    ----------
    data, store
        The cells, and the store they were loaded from.
    runs
        Run folders with ``corrections.parquet``; the words of all count alike.

    Returns
    -------
    TrainingData
        Pixels are shared; its hash is another one, for another training. Its counts name each
        cell that is spoken of once: ``cells_corrected``; ``cells_left_out``;
        ``corrections_elsewhere``, without a crop in the data (of other fields, rejected by the
        segmenter, added by hand and not cut); ``corrections_of_outlines``, which only comment or
        redraw, so that the cell keeps its image's label.

    Raises
    ------
    InputError
        When a run has no corrections, its cells are others than the data's of the same id, or
        no cell would be left to learn from.
    TableError
        When a file of corrections is damaged.
    """
    cells = cell_rows(store, data)
    at = {key: i for i, key in enumerate(_keys(cells))}
    said: dict[_Cell, _Said] = defaultdict(_Said)
    for run in runs:
        corrections = read_corrections(run)
        if not corrections:
            raise InputError(
                f"{run}: expected a run folder with corrections, it has none. Make some with "
                "'hpacells review' or 'hpacells import', or leave out --corrections."
            )
        _check_same_cells(run, corrections, cells, at)
        _listen(run, corrections, said)

    corrected = np.full((len(cells), N_LOCATIONS), -1, np.float32)
    left_out = np.zeros(len(cells), np.bool_)
    counts = {"corrections_elsewhere": 0, "corrections_of_outlines": 0}
    for key, words in said.items():
        if key not in at:
            counts["corrections_elsewhere"] += 1
        elif len(words.rejections) > len(words.targets):
            left_out[at[key]] = True
        elif words.targets:
            corrected[at[key]] = np.mean(words.targets, axis=0)
        else:
            counts["corrections_of_outlines"] += 1
    counts["cells_corrected"] = int((corrected[:, 0] >= 0).sum())
    counts["cells_left_out"] = int(left_out.sum())
    changed = replace(
        data,
        corrected=corrected,
        left_out=left_out,
        correction_counts=counts,
        data_hash=_hash(data, corrected, left_out),
    )
    if not changed.can_teach.any():
        raise InputError("--corrections: every cell of the data was rejected, none is left.")
    return changed


def _hash(
    data: TrainingData, corrected: npt.NDArray[np.float32], left_out: npt.NDArray[np.bool_]
) -> str:
    said = sha256_bytes(corrected.tobytes() + left_out.tobytes())
    return hash_settings({"data": data.data_hash, "corrections": said})


def _listen(run: Path, corrections: Iterable[Correction], said: dict[_Cell, _Said]) -> None:
    """Add a run's words to what was said before."""
    called: dict[_Cell, int] | None = None
    for word in corrections:
        words = said[word.fov_id, word.cell_id]
        locations = word.locations
        if word.action is Action.ACCEPT and locations is None:
            called = called or _top_locations(run)
            top = called.get((word.fov_id, word.cell_id))
            locations = None if top is None else (top,)
        if word.action is Action.REJECT:
            words.rejections.append(word.who or "")
        elif word.action in (Action.ACCEPT, Action.CORRECT) and locations:
            words.targets.append(target_vector(locations))


def _top_locations(run: Path) -> dict[_Cell, int]:
    """Give the location of each cell's highest score."""
    table = _read_cells(run, PROBABILITY_COLUMNS)
    scores = np.column_stack([table[name].to_numpy() for name in PROBABILITY_COLUMNS])
    return dict(zip(_keys(table), scores.argmax(axis=1).tolist(), strict=True))


def _check_same_cells(
    run: Path, corrections: list[Correction], cells: pa.Table, at: Mapping[_Cell, int]
) -> None:
    """Refuse a run whose masks are not those that the crops were cut with."""
    boxes = _boxes(cells)
    table = _read_cells(run, _BOX)
    theirs = dict(zip(_keys(table), _boxes(table), strict=True))
    redrawn = {
        fov_id
        for fov_id in {word.fov_id for word in corrections}
        if mask_path(run / CORRECTED_MASKS, fov_id, "cells").is_file()
    }
    asked = sorted(
        {(word.fov_id, word.cell_id) for word in corrections if word.fov_id not in redrawn}
    )
    strange = [
        key
        for key in asked
        if key in at and (key not in theirs or _overlap(boxes[at[key]], theirs[key]) < _IOU)
    ]
    if strange:
        named = ", ".join(f"{fov_id} cell {cell_id}" for fov_id, cell_id in strange[:_SHOWN])
        raise InputError(
            f"{run}: expected the cells that are to be learned from, but {len(strange)} of its "
            f"corrected cells lie elsewhere in them ({named}): they were outlined in another way. "
            f"Cut the crops with the run's own masks: hpacells crop IMAGES {run} STORE, then "
            f"hpacells train STORE OUT --corrections {run}."
        )


def _read_cells(run: Path, columns: Sequence[str]) -> pa.Table:
    wanted = ["fov_id", "cell_id", *columns]
    path = run / "cells.parquet"
    open_table(path, wanted).close()
    return pq.read_table(path, columns=wanted, partitioning=None)


def _keys(table: pa.Table) -> list[_Cell]:
    return list(zip(table["fov_id"].to_pylist(), table["cell_id"].to_pylist(), strict=True))


def _boxes(table: pa.Table) -> npt.NDArray[Any]:
    return np.column_stack([table[name].to_numpy() for name in _BOX])


def _overlap(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Give the IoU of two boxes."""
    inner = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(inner.clip(min=0).prod())
    return common / float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - common)
