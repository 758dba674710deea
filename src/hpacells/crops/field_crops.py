"""The crops of one field, and the file that holds them.

A part is one ``.npz``: ``crops`` (N, C, S, S) uint8, ``cell_masks`` packed to bits along the last
axis, ``cells`` (the field's whole cells table as Arrow IPC bytes, rejected rows too) and ``field``
(JSON bytes: size, pixel size, digest, metadata). It is whole or not there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CellStatus, CellTable
from hpacells.core.errors import InputError
from hpacells.core.storage import atomic_path

__all__ = ["FieldCrops", "kept_cells", "kept_rows", "read_part", "read_part_tables", "write_part"]


@dataclass(frozen=True)
class FieldCrops:
    """Every cell of one field that is not rejected, cut out; and the field's cells table.

    Parameters
    ----------
    fov_id
        Of the field.
    digest
        sha256 over what the crops were made from.
    shape
        Rows and columns of the stored image.
    pixel_size_um
        µm per pixel of the stored image.
    cells
        One row per mask id, rejected ones too.
    crops
        ``(N, C, S, S)`` uint8, in the order of ``kept_cells(cells)``.
    cell_masks
        ``(N, S, S)`` bool.
    metadata
        What is known of the field: ``METADATA_COLUMNS`` and ``image_labels``, None where unknown.

    Raises
    ------
    InputError
        When the crops are not one per kept cell.
    """

    fov_id: str
    digest: str
    shape: tuple[int, int]
    pixel_size_um: float
    cells: CellTable
    crops: npt.NDArray[np.uint8]
    cell_masks: npt.NDArray[np.bool_]
    metadata: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(kept_cells(self.cells.table))
        if self.crops.shape[0] != n or self.cell_masks.shape[0] != n:
            raise InputError(
                f"field {self.fov_id}: expected {n} crops, one per cell that is not rejected, got "
                f"{self.crops.shape[0]} crops and {self.cell_masks.shape[0]} masks"
            )

    @property
    def cell_ids(self) -> npt.NDArray[np.int32]:
        """Ids of the cells that have a crop ``(N,)``, ascending."""
        return kept_cells(self.cells.table)


def kept_rows(cells: pa.Table) -> pa.Table:
    """Give the rows of the cells that get a crop: all but the rejected ones, in table order."""
    return cells.filter(pc.not_equal(cells["status"], CellStatus.REJECTED.value))


def kept_cells(cells: pa.Table) -> npt.NDArray[np.int32]:
    """Give the ids of the cells that get a crop, in table order."""
    return np.asarray(kept_rows(cells)["cell_id"].to_numpy(), np.int32)


def write_part(path: Path, part: FieldCrops) -> None:
    """Write one field's crops atomically (the module says how)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, CELL_MEASURE_SCHEMA) as writer:
        writer.write_table(part.cells.table.cast(CELL_MEASURE_SCHEMA))
    about = {
        "fov_id": part.fov_id,
        "digest": part.digest,
        "height": part.shape[0],
        "width": part.shape[1],
        "pixel_size_um": part.pixel_size_um,
        "metadata": dict(part.metadata),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            crops=part.crops,
            cell_masks=np.packbits(part.cell_masks, axis=-1),
            cells=np.frombuffer(sink.getvalue(), np.uint8),
            field=np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8),
        )


def read_part(path: Path) -> FieldCrops:
    """Read one field's crops.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    about, cells, crops, packed = _read(path, crops=True)
    side = crops.shape[-1]
    return FieldCrops(
        fov_id=about["fov_id"],
        digest=about["digest"],
        shape=(about["height"], about["width"]),
        pixel_size_um=about["pixel_size_um"],
        cells=CellTable(cells),
        crops=crops,
        cell_masks=np.unpackbits(packed, axis=-1, count=side).astype(np.bool_),
        metadata=about["metadata"],
    )


def read_part_tables(path: Path) -> tuple[dict[str, Any], pa.Table]:
    """Read what a part says of its field, and its cells table, without the crops.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    about, cells, _, _ = _read(path, crops=False)
    return about, cells


def _read(
    path: Path, *, crops: bool
) -> tuple[dict[str, Any], pa.Table, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
            about = json.loads(part["field"].tobytes())
            with pa.ipc.open_stream(part["cells"].tobytes()) as stream:
                cells = stream.read_all()
            if not crops:
                nothing = np.zeros(0, np.uint8)
                return about, cells, nothing, nothing
            return about, cells, part["crops"], part["cell_masks"]
    except (BadZipFile, KeyError, ValueError, FileNotFoundError, EOFError) as error:
        raise InputError(
            f"{path}: missing or damaged ({type(error).__name__}). Delete it and make the crop "
            "store again: the other fields are kept."
        ) from error
