"""Crops of simulated cells with their images' labels and their truth, for the learning benchmarks.

Three sets, made by the project's own commands and kept in the work folder: ``train`` and ``test``
by the measured label noise, ``halved`` with half the presence. Cells are those that the default
segmenter finds; what each truly shows is that of the true cell it overlaps (IoU 0.6).
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from simulated_data import hpacells

from hpacells.crops.store import STORE_FILE, CropStore
from hpacells.train.data import TrainingData, load_training_data
from hpacells.train.truth import CellTruth, find_truth, read_cell_truth

__all__ = [
    "CROP_PX",
    "PIXEL_UM",
    "SETS",
    "BenchCells",
    "cells_of",
    "first_fields",
    "keep_fields",
    "middle",
    "wrong_labels",
]

CROP_PX, PIXEL_UM = 112, 0.25  # of the shipped classifier; benchmarks may use the middle of a crop


@dataclass(frozen=True)
class _Set:
    seed: int
    fields: int
    presence: float = 1.0
    samples: str = "single"


SETS = {
    "train": _Set(4000, 1500),
    "halved": _Set(2000, 1500, 0.5),
    "test": _Set(870_000, 320, samples="atlas"),
}


@dataclass(frozen=True)
class BenchCells:
    """Cells, their images' labels, their truth.

    Parameters
    ----------
    data
        What a training is given.
    truth
        Of every cell; for a control taught by cells, and for scoring.
    lines
        ``(F,)`` cell line of each field.
    """

    data: TrainingData
    truth: CellTruth
    lines: tuple[str, ...]


def cells_of(name: str, work: Path, *, workers: int = 2) -> BenchCells:
    """Make or read a set; every step continues where it was stopped."""
    wanted, folder = SETS[name], work / name
    dataset, masks, crops = folder / "dataset", folder / "masks", folder / "crops"
    if not (crops / STORE_FILE).is_file():
        hpacells(
            "simulate", dataset, "--fields", wanted.fields, "--seed", wanted.seed, "--size", 768,
            "--pixel-size-um", 0.16, "--presence", wanted.presence, "--samples", wanted.samples,
            "--workers", workers,
        )  # fmt: skip
        hpacells("segment", dataset, masks, "--workers", workers)
        hpacells(
            "crop", dataset, masks, crops, "--crop-px", CROP_PX,
            "--crop-pixel-size-um", PIXEL_UM, "--workers", workers,
        )  # fmt: skip
    store = CropStore.open(crops)
    data = load_training_data(store)
    line_of = {row["fov_id"]: row["cell_line"] for row in store.fields_table().to_pylist()}
    lines = tuple(str(line_of[fov_id]) for fov_id in data.fov_ids)
    return BenchCells(data, _truth(dataset, masks / "masks", store, data, folder), lines)


def _truth(
    dataset: Path, masks: Path, store: CropStore, data: TrainingData, folder: Path
) -> CellTruth:
    cache = folder / f"truth_{data.data_hash[:12]}.npz"
    if not cache.is_file():
        files = find_truth(dataset, masks)
        if files is None:
            sys.exit(f"{dataset}: holds no truth; simulate it again")
        found = read_cell_truth(files, store, data, np.arange(data.n_fields))
        np.savez(cache, targets=found.targets, known=found.known)
    with np.load(cache) as kept:
        return CellTruth(kept["targets"], kept["known"])


def first_fields(cells: BenchCells, n: int) -> BenchCells:
    """Keep the first ``n`` fields, or all; a field without a cell has been left out before."""
    return keep_fields(cells, np.arange(min(n, cells.data.n_fields)))


def keep_fields(cells: BenchCells, fields: npt.NDArray[np.int64]) -> BenchCells:
    """Keep some fields, named by their positions in rising order."""
    data = cells.data
    kept = np.isin(data.field_of_cell, fields)
    sizes = np.diff(data.offsets)[fields]
    fewer = replace(
        data,
        crops=data.crops[kept],
        cell_masks=data.cell_masks[kept],
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        targets=data.targets[fields],
        fov_ids=tuple(data.fov_ids[i] for i in fields),
        groups=tuple(data.groups[i] for i in fields),
    )
    truth = CellTruth(cells.truth.targets[kept], cells.truth.known[kept])
    return BenchCells(fewer, truth, tuple(cells.lines[i] for i in fields))


def middle(cells: BenchCells, side_px: int) -> BenchCells:
    """Cut the middle out of every crop."""
    edge = (cells.data.crops.shape[-1] - side_px) // 2
    inner = slice(edge, edge + side_px)
    data = replace(
        cells.data,
        crops=np.ascontiguousarray(cells.data.crops[:, :, inner, inner]),
        cell_masks=np.ascontiguousarray(cells.data.cell_masks[:, inner, inner]),
    )
    return replace(cells, data=data)


def wrong_labels(
    targets: npt.NDArray[np.float32], share: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Give a share of the images the labels of one another."""
    chosen = rng.permutation(len(targets))[: round(share * len(targets))]
    changed = targets.copy()
    changed[chosen] = targets[np.roll(chosen, 1)]
    return changed
