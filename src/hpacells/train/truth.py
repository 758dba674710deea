"""What single cells truly show, where a data set knows it: for measuring, never for learning.

A simulated dataset folder has ``truth/`` beside its images. Nothing that learns imports this module
but to hand its content to ``train.validation``: a training with and without ``truth/`` gives the
same weights, byte for byte (tested).

A cell that the segmenter found has the truth of the true cell that it overlaps by IoU 0.6 or more,
the competition's threshold; a found cell without such a partner has none and is left out and
counted.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import TableError
from hpacells.core.locations import N_LOCATIONS, parse_class_ids, target_vector
from hpacells.crops.store import CropStore
from hpacells.evaluate.label_overlap import overlap_labels
from hpacells.images.mask_files import mask_path, read_label_image
from hpacells.train.data import TrainingData, cell_ids

__all__ = ["CellTruth", "TruthFiles", "find_truth", "read_cell_truth"]

_IOU = 0.6


@dataclass(frozen=True)
class TruthFiles:
    """Where the truth of a data set lies, and the masks of the cells that were found.

    Parameters
    ----------
    dataset
        Folder with ``truth/cells.csv``, ``truth/<ID>_cells.png`` and ``truth.csv``.
    found_masks
        Folder with ``<fov_id>_cells.png`` of the crops' cells.
    """

    dataset: Path
    found_masks: Path

    @property
    def cells_csv(self) -> Path:
        """One row per true cell: ID, cell_id, Label."""
        return self.dataset / "truth" / "cells.csv"

    @property
    def submission(self) -> Path:
        """The truth in the submission form."""
        return self.dataset / "truth.csv"

    def fields_with_masks(self, fov_ids: tuple[str, ...]) -> list[str]:
        """Name the fields whose found and true masks are there."""
        return [
            fov_id
            for fov_id in fov_ids
            if mask_path(self.found_masks, fov_id, "cells").is_file()
            and mask_path(self.dataset / "truth", fov_id, "cells").is_file()
        ]


@dataclass(frozen=True)
class CellTruth:
    """The truth of the cells of a ``TrainingData``.

    Parameters
    ----------
    targets
        ``(N, K)`` float32, 0 or 1; 0 where unknown.
    known
        ``(N,)`` bool: the cell has a true partner.
    """

    targets: npt.NDArray[np.float32]
    known: npt.NDArray[np.bool_]


def find_truth(dataset: Path, found_masks: Path) -> TruthFiles | None:
    """Give the truth of a dataset folder, or None where it has none."""
    files = TruthFiles(dataset, found_masks)
    return files if files.cells_csv.is_file() and files.submission.is_file() else None


def read_cell_truth(
    files: TruthFiles, store: CropStore, data: TrainingData, fields: npt.NDArray[np.int64]
) -> CellTruth:
    """Find the true partner of every cell of some fields.

    Parameters
    ----------
    files
        Where to read.
    store, data
        The cells, and the store they were loaded from.
    fields
        ``(F,)`` positions of the fields that are looked at, the held-out ones.

    Returns
    -------
    CellTruth
        Cells of other fields, of fields without masks and without a partner are unknown.

    Raises
    ------
    TableError
        When ``truth/cells.csv`` is malformed.
    ImageError
        When a mask cannot be read, or found and true masks differ in size.
    """
    labels = _read_labels(files.cells_csv)
    ids = cell_ids(store, data)
    targets = np.zeros((len(ids), N_LOCATIONS), np.float32)
    known = np.zeros(len(ids), np.bool_)
    wanted = tuple(data.fov_ids[i] for i in fields)
    position = {fov_id: i for i, fov_id in enumerate(data.fov_ids)}
    for fov_id in files.fields_with_masks(wanted):
        found, true = (
            read_label_image(mask_path(folder, fov_id, "cells"))
            for folder in (files.found_masks, files.dataset / "truth")
        )
        partner = overlap_labels(found, true, fov_id).partners(_IOU)
        field = position[fov_id]
        for cell in range(int(data.offsets[field]), int(data.offsets[field + 1])):
            classes = labels.get((fov_id, partner.get(int(ids[cell]), 0)))
            if classes is not None:
                targets[cell], known[cell] = target_vector(classes), True
    return CellTruth(targets, known)


def _read_labels(path: Path) -> dict[tuple[str, int], tuple[int, ...]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                (row["ID"], int(row["cell_id"])): parse_class_ids(row["Label"], where=str(path))
                for row in csv.DictReader(file)
            }
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise TableError(
            f"{path}: expected the columns ID, cell_id and Label of a simulated dataset ({error}). "
            "Make it again, or move truth/ away: training does not need it."
        ) from error
