"""The crops of one field, and the file that holds them.

A part is a Parquet file, compressed and with a checksum on every page, in chunks of 16 cells: the
field's whole cells table (rejected rows too), each kept cell's ``crop`` (C, S, S) uint8 and its
``cell_mask`` packed to bits along the last axis, null in rejected rows. Its metadata says what is
known of the field (JSON: size, pixel size, digest, shape of a crop). It is whole or not there.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CellStatus, CellTable
from hpacells.core.errors import InputError
from hpacells.core.storage import atomic_path

__all__ = ["FieldCrops", "kept_cells", "kept_rows", "read_part", "read_part_tables", "write_part"]

_ABOUT = b"hpacells.field"
_ABOUT_CRC = b"hpacells.field.crc32"
_CELLS_IN_CHUNK = 16
_PART_SCHEMA = pa.schema(
    [
        *CELL_MEASURE_SCHEMA,
        pa.field("crop", pa.large_binary()),
        pa.field("cell_mask", pa.large_binary()),
    ]
)


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
    cells = part.cells.table.cast(CELL_MEASURE_SCHEMA)
    kept = pc.not_equal(cells["status"], CellStatus.REJECTED.value).to_numpy()
    cells = cells.append_column("crop", _blobs(part.crops, kept))
    cells = cells.append_column("cell_mask", _blobs(np.packbits(part.cell_masks, axis=-1), kept))
    about = {
        "fov_id": part.fov_id,
        "digest": part.digest,
        "height": part.shape[0],
        "width": part.shape[1],
        "pixel_size_um": part.pixel_size_um,
        "metadata": dict(part.metadata),
        "crop_shape": part.crops.shape[1:],
    }
    text = json.dumps(about, sort_keys=True).encode()
    cells = cells.replace_schema_metadata({_ABOUT: text, _ABOUT_CRC: str(zlib.crc32(text))})
    with atomic_path(path) as temporary:
        pq.write_table(
            cells,
            temporary,
            row_group_size=_CELLS_IN_CHUNK,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )


def read_part(path: Path) -> FieldCrops:
    """Read one field's crops.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    about, table = _read(path, _PART_SCHEMA)
    cells = table.select(CELL_MEASURE_SCHEMA.names)
    channels, rows, columns = about["crop_shape"]
    packed = _unblob(table["cell_mask"]).reshape(-1, rows, -(-columns // 8))
    return FieldCrops(
        fov_id=about["fov_id"],
        digest=about["digest"],
        shape=(about["height"], about["width"]),
        pixel_size_um=about["pixel_size_um"],
        cells=CellTable(cells),
        crops=_unblob(table["crop"]).reshape(-1, channels, rows, columns),
        cell_masks=np.unpackbits(packed, axis=-1, count=columns).astype(np.bool_),
        metadata=about["metadata"],
    )


def read_part_tables(path: Path) -> tuple[dict[str, Any], pa.Table]:
    """Read what a part says of its field, and its cells table, without the crops.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    return _read(path, CELL_MEASURE_SCHEMA)


def _blobs(values: npt.NDArray[np.uint8], kept: npt.NDArray[np.bool_]) -> pa.LargeBinaryArray:
    """Give a column with the bytes of one value in every kept row, null in the others."""
    each = int(np.prod(values.shape[1:]))
    offsets = np.concatenate([[0], np.cumsum(np.where(kept, each, 0))]).astype(np.int64)
    valid = np.packbits(kept, bitorder="little")
    buffers = [pa.py_buffer(part) for part in (valid, offsets, np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.large_binary(), len(kept), buffers)


def _unblob(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Give the bytes of all rows, one after the other."""
    parts = [np.zeros(0, np.uint8)]
    for chunk in column.chunks:
        _, offsets, content = chunk.buffers()
        edges = np.frombuffer(offsets, np.int64)[[chunk.offset, chunk.offset + len(chunk)]]
        if content is not None:
            parts.append(np.frombuffer(content, np.uint8)[edges[0] : edges[1]])
    return np.concatenate(parts)


def _read(path: Path, wanted: pa.Schema) -> tuple[dict[str, Any], pa.Table]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            known = file.schema_arrow.metadata
            table = file.read(wanted.names, use_threads=False)
        text, crc = known[_ABOUT], known[_ABOUT_CRC]
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise _damaged(path, type(error).__name__) from error
    # names and what is known of the field stand outside the pages and their checksums
    if not table.schema.equals(wanted) or crc != str(zlib.crc32(text)).encode():
        raise _damaged(path, "checksum")
    return json.loads(text), table.replace_schema_metadata(None)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: missing or damaged ({why}). Delete it and make the crop store again: the other "
        "fields are kept."
    )
