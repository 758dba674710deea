"""Which label images belong together: two folders to the pairs of fields that are compared.

It reads files and says which cells a table rejects; it judges nothing.
"""

import csv
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hpacells.core.cell_table import CellStatus
from hpacells.core.errors import TableError
from hpacells.core.parquet import naming_damage
from hpacells.evaluate.label_overlap import Labels
from hpacells.images.mask_files import read_label_image

__all__ = ["MaskFolders", "MaskPair", "find_label_images"]

_SUFFIXES = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class MaskPair:
    """The label images of one field.

    Parameters
    ----------
    fov_id
        The field.
    found, true
        ``(H, W)`` cell ids, 0 = background.
    nuclei
        Found and true nuclei ``(H, W)`` with the ids of their cells; None where one is missing.
    rejected_found, rejected_true
        Ids that the table of either folder rejects.
    """

    fov_id: str
    found: Labels
    true: Labels
    nuclei: tuple[Labels, Labels] | None = None
    rejected_found: Set[int] = frozenset()
    rejected_true: Set[int] = frozenset()


@dataclass(frozen=True)
class MaskFolders:
    """Two folders of label images, paired by ``<fov_id>_cells.*`` and ``<fov_id>_nuclei.*``.

    Parameters
    ----------
    found_files, true_files
        Cell label images by fov_id.
    found_nuclei, true_nuclei
        Nuclei by fov_id, for the fields that have them.
    rejected_found, rejected_true
        By fov_id, the ids that ``cells.parquet`` rejects, or that a simulation's ``cells.csv``
        calls more than half outside the frame (``in_truth`` 0).
    """

    found_files: Mapping[str, Path]
    true_files: Mapping[str, Path]
    found_nuclei: Mapping[str, Path]
    true_nuclei: Mapping[str, Path]
    rejected_found: Mapping[str, Set[int]]
    rejected_true: Mapping[str, Set[int]]

    @classmethod
    def open(cls, found: Path, true: Path) -> "MaskFolders":
        """List both folders.

        Raises
        ------
        TableError
            When a folder holds no label images, one field has two, they share no field, or a
            table of cells is damaged.
        """
        found_files, true_files = find_label_images(found), find_label_images(true)
        if not found_files.keys() & true_files.keys():
            raise TableError(
                f"{found} and {true}: no field in common (for example {min(found_files)} and "
                f"{min(true_files)}). Files are paired by <fov_id>_cells.*"
            )
        return cls(
            found_files,
            true_files,
            _find_nuclei(found_files),
            _find_nuclei(true_files),
            _read_rejected(found, found_files),
            _read_rejected(true, true_files),
        )

    def read(self, fov_id: str) -> MaskPair:
        """Read a true field; where no found file is, nothing was found.

        Raises
        ------
        ImageError
            When an image cannot be read.
        """
        true = read_label_image(self.true_files[fov_id])
        rejected_true = self.rejected_true.get(fov_id, frozenset())
        if fov_id not in self.found_files:
            return MaskPair(fov_id, np.zeros_like(true), true, rejected_true=rejected_true)
        nuclei = None
        if fov_id in self.found_nuclei and fov_id in self.true_nuclei:
            nuclei = (
                read_label_image(self.found_nuclei[fov_id]),
                read_label_image(self.true_nuclei[fov_id]),
            )
        return MaskPair(
            fov_id,
            read_label_image(self.found_files[fov_id]),
            true,
            nuclei,
            self.rejected_found.get(fov_id, frozenset()),
            rejected_true,
        )


def find_label_images(folder: Path, part: str = "cells") -> dict[str, Path]:
    """List the label images of a folder, or of its ``masks/`` or ``truth/``, by fov_id.

    Parameters
    ----------
    folder
        Where to look.
    part
        ``cells`` or ``nuclei``.

    Raises
    ------
    TableError
        When there are none, or one field has two.
    """
    for place in (folder, folder / "masks", folder / "truth"):
        by_field = _list_part(place, part)
        if by_field:
            return by_field
    raise TableError(
        f"{folder}: expected label images <fov_id>_{part}.png or .tif, found none. Give the "
        "folder that holds them."
    )


def _list_part(place: Path, part: str) -> dict[str, Path]:
    """List one folder itself; empty where it has none."""
    files = sorted(
        path
        for path in (place.iterdir() if place.is_dir() else ())
        if path.suffix.lower() in _SUFFIXES and path.stem.endswith(f"_{part}")
    )
    by_field: dict[str, Path] = {}
    for path in files:
        fov_id = path.stem.removesuffix(f"_{part}")
        if fov_id in by_field:
            raise TableError(
                f"{place}: field {fov_id} has {by_field[fov_id].name} and {path.name}. "
                "Keep one of them."
            )
        by_field[fov_id] = path
    return by_field


def _find_nuclei(cells: Mapping[str, Path]) -> dict[str, Path]:
    """Find the nuclei that lie beside cells."""
    return _list_part(min(cells.values()).parent, "nuclei")


def _read_rejected(folder: Path, files: Mapping[str, Path]) -> dict[str, set[int]]:
    """Read the ids that a table calls rejected, if there is one.

    That is ``cells.parquet`` in the folder (above it where it is the folder of images itself, as a
    run's ``masks/``), else a simulation's ``cells.csv`` beside the images.
    """
    beside = min(files.values()).parent
    tables = [folder / "cells.parquet"]
    if beside == folder:
        tables.append(folder.parent / "cells.parquet")
    ids: Iterable[tuple[str, int]] = ()
    for table in tables:
        if table.is_file():
            ids = _rejected_cells(table)
            break
    else:
        if (beside / "cells.csv").is_file():
            ids = _cells_outside(beside / "cells.csv")
    rejected: dict[str, set[int]] = {}
    for fov_id, cell_id in ids:
        rejected.setdefault(fov_id, set()).add(cell_id)
    return rejected


def _rejected_cells(path: Path) -> list[tuple[str, int]]:
    """Read field and id of the cells that a run rejects."""
    with naming_damage(path, "Make it again, or move it away."):
        table = pq.read_table(
            path,
            columns=["fov_id", "cell_id"],
            filters=[("status", "=", CellStatus.REJECTED.value)],
        )
    return list(zip(table["fov_id"].to_pylist(), table["cell_id"].to_pylist(), strict=True))


def _cells_outside(path: Path) -> list[tuple[str, int]]:
    """Read field and id of the simulated cells that are more than half outside the frame.

    A table without the columns of a simulation is somebody's own: it rejects nothing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if not {"ID", "cell_id", "in_truth"} <= set(rows.fieldnames or ()):
                return []
            return [(row["ID"], int(row["cell_id"])) for row in rows if not int(row["in_truth"])]
    except (OSError, ValueError, TypeError, csv.Error) as error:  # also text that is not UTF-8
        raise TableError(
            f"{path}: expected whole numbers in cell_id and in_truth ({error}). Make it again, or "
            "move it away."
        ) from error
