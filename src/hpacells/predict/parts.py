"""A finished field on disk: two small tables, of which the second says that it is finished.

``parts/<fov_id>.cells.arrow`` holds its rows of ``cells.parquet``, their embeddings and terms,
``parts/<fov_id>.field.arrow`` its row of ``fields.parquet``, its prediction string and the hash
of its input. Metadata (gene, antibody, ...) isn't kept here: it comes from the record when the
tables are made, so that a corrected ``train.csv`` needs no new prediction.

They are Arrow IPC files: few rows of many columns, which Parquet takes ten times as long for.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hpacells.core.cell_table import CELL_SCHEMA, FIELD_SCHEMA, CellTable
from hpacells.core.errors import OutputError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.location import is_remote, read_content
from hpacells.core.pools import in_order
from hpacells.core.storage import atomic_path
from hpacells.predict.run_folder import PARTS

__all__ = [
    "FieldPart",
    "finished_fields",
    "is_finished",
    "read_digest",
    "read_part",
    "read_parts",
    "write_part",
]

_OF_RECORD = (*METADATA_COLUMNS, "image_labels")

_FIELD_PART_SCHEMA = pa.schema(
    [
        *[column for column in FIELD_SCHEMA if column.name not in _OF_RECORD],
        pa.field("digest", pa.string(), nullable=False),
        pa.field("predictions", pa.string(), nullable=False),
    ]
)
_CELLS_PART_SCHEMA = pa.schema(
    [*CELL_SCHEMA, pa.field("embedding", pa.list_(pa.float32()), nullable=False)]
)
_FIELD_SUFFIX = ".field.arrow"
_CELLS_SUFFIX = ".cells.arrow"
_WRITING = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READING = pa.ipc.IpcReadOptions(use_threads=False)
_ASKED_AHEAD = 32
_READ_AHEAD = 2


@dataclass(frozen=True)
class FieldPart:
    """What a finished field gives to the tables.

    Parameters
    ----------
    row
        Its row of ``fields.parquet``, without metadata.
    cells
        Its rows of ``cells.parquet``.
    embedding
        ``(N, D)`` float32, in the order of ``cells``.
    predictions
        Its string of ``submission.csv``.
    digest
        Hash of its input.
    terms
        Columns of the model's terms, in the order of ``cells``; None where it has none.
    """

    row: dict[str, Any]
    cells: CellTable
    embedding: npt.NDArray[np.float32]
    predictions: str
    digest: str
    terms: pa.Table | None = None

    @property
    def fov_id(self) -> str:
        """Of the field."""
        return str(self.row["fov_id"])


def finished_fields(out: Path) -> list[str]:
    """Give the ids of the fields that are finished, sorted."""
    paths = (out / PARTS).glob(f"*{_FIELD_SUFFIX}")
    return sorted(path.name.removesuffix(_FIELD_SUFFIX) for path in paths)


def is_finished(out: Path, fov_id: str) -> bool:
    """Say whether a field is finished."""
    return (out / PARTS / f"{fov_id}{_FIELD_SUFFIX}").is_file()


def write_part(out: Path, part: FieldPart) -> None:
    """Write a field's two tables, the one that makes it finished last."""
    embedding = pa.array(list(part.embedding), pa.list_(pa.float32()))
    cells = part.cells.table.cast(CELL_SCHEMA).append_column("embedding", embedding)
    cells = cells.cast(_CELLS_PART_SCHEMA)
    if part.terms is not None:
        for name in part.terms.column_names:
            cells = cells.append_column(name, part.terms[name])
    field = {**part.row, "digest": part.digest, "predictions": part.predictions}
    _write(out, part.fov_id + _CELLS_SUFFIX, cells)
    _write(
        out, part.fov_id + _FIELD_SUFFIX, pa.Table.from_pylist([field], schema=_FIELD_PART_SCHEMA)
    )


def read_part(out: Path, fov_id: str) -> tuple[dict[str, Any], pa.Table]:
    """Read a finished field.

    Returns
    -------
    dict
        Its row of ``fields.parquet`` without metadata, ``digest`` and ``predictions``.
    pyarrow.Table
        Its rows of ``cells.parquet``, the column ``embedding`` and those of terms.

    Raises
    ------
    OutputError
        When a file is missing or damaged.
    """
    field = _read(out, fov_id + _FIELD_SUFFIX).to_pylist()
    cells = _read(out, fov_id + _CELLS_SUFFIX)
    return field[0], cells


def read_parts(out: Path, fov_ids: Iterable[str]) -> Generator[tuple[dict[str, Any], pa.Table]]:
    """Read finished fields in the order of their ids, as ``read_part`` does.

    A few are read ahead, while the caller writes; behind a URL, where each takes the time of two
    requests, more of them.
    """
    ahead = _ASKED_AHEAD if is_remote(out) else _READ_AHEAD
    return in_order(partial(read_part, out), fov_ids, threads=ahead, name="part")


def read_digest(out: Path, fov_id: str) -> str:
    """Read the hash of a finished field's input.

    Raises
    ------
    OutputError
        When the file is damaged.
    """
    return str(_read(out, fov_id + _FIELD_SUFFIX)["digest"][0].as_py())


def _write(out: Path, name: str, table: pa.Table) -> None:
    with (
        atomic_path(out / PARTS / name) as temporary,
        temporary.open("wb") as file,
        pa.ipc.new_file(file, table.schema, options=_WRITING) as writer,
    ):
        writer.write_table(table)


def _read(out: Path, name: str) -> pa.Table:
    path = out / PARTS / name
    try:
        with pa.ipc.open_file(pa.BufferReader(read_content(path)), options=_READING) as file:
            return file.read_all()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise OutputError(
            f"{path}: missing or damaged. Delete the part files of this field and run again: the "
            "other fields are kept."
        ) from error
