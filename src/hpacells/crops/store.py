"""A crop store: the crops of many fields in one folder, and the tables that list them.

::

    STORE/request.json            format, crop side, µm per pixel, where masks come from
    STORE/parts/<fov_id>.parquet  one field's crops (``crops.field_crops``), each written whole
    STORE/cells.parquet           CELL_MEASURE_SCHEMA, every mask id, rejected ones too
    STORE/fields.parquet          STORE_FIELD_SCHEMA, one row per field asked for, failed ones too
    STORE/store.json              written last: the request, counts, versions

Every cell that is not rejected has a crop; crops stand in the order of ``cells.parquet``, which is
sorted by fov_id and cell_id. A folder without ``store.json`` is unfinished; made again with the
same request, it is continued, and further fields are added.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CellStatus, FieldStatus
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import InputError, OutputError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.parquet import naming_damage
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import atomic_path, remove_leftovers, write_json
from hpacells.crops.field_crops import FieldCrops, read_part, read_part_tables

__all__ = ["STORE_FIELD_SCHEMA", "STORE_FORMAT", "CropStore", "finish_store", "prepare_store"]

STORE_FILE = "store.json"
REQUEST_FILE = "request.json"
PARTS = "parts"

STORE_FORMAT = 3
"""Version of a store's files; a store of another version is refused."""

STORE_FIELD_SCHEMA = pa.schema(
    [
        pa.field("fov_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("digest", pa.string()),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("pixel_size_um", pa.float64()),
        pa.field("n_crops", pa.int32(), nullable=False),
        *[pa.field(name, pa.string()) for name in METADATA_COLUMNS],
        pa.field("image_labels", pa.string()),
    ]
)
"""A field of a store. ``image_labels``: class ids joined with ``|``; null where no table names it,
empty where the table gives none."""


@dataclass(frozen=True)
class CropStore:
    """A finished crop store.

    Parameters
    ----------
    path
        Its folder.
    spec
        Side and scale of its crops; ``outside`` is how they were asked for, the pixels are kept.
    counts
        fields, failed, cells (mask ids), crops.
    source
        Name of what made the masks.
    """

    path: Path
    spec: CropSpec
    counts: dict[str, int]
    source: str

    @classmethod
    def open(cls, path: Path) -> "CropStore":
        """Open a finished store.

        Raises
        ------
        InputError
            When the folder is not a store, was left unfinished, or its manifest is damaged.
        """
        file = path / STORE_FILE
        if not file.is_file():
            state = "an unfinished one" if (path / REQUEST_FILE).is_file() else "none"
            raise InputError(
                f"{path}: expected a crop store, this is {state} (no {STORE_FILE}). "
                "Make it with 'hpacells crop IMAGES MASKS OUT'."
            )
        content = _read_json(file)
        return cls(path, CropSpec(**content["spec"]), content["counts"], content["source"])

    def cells_table(self) -> pa.Table:
        """Read ``cells.parquet``."""
        return self._table("cells.parquet", CELL_MEASURE_SCHEMA)

    def fields_table(self) -> pa.Table:
        """Read ``fields.parquet``."""
        return self._table("fields.parquet", STORE_FIELD_SCHEMA)

    def _table(self, name: str, schema: pa.Schema) -> pa.Table:
        with naming_damage(self.path / name, "Make the crop store again: its crops are kept."):
            return pq.read_table(self.path / name, schema=schema)

    def fields(self) -> Iterator[FieldCrops]:
        """Yield the fields that are done, one at a time, sorted by fov_id."""
        for row in self.fields_table().to_pylist():
            if row["status"] == FieldStatus.DONE:
                yield read_part(part_path(self.path, row["fov_id"]))


def part_path(folder: Path, fov_id: str) -> Path:
    """Say where a field's crops lie."""
    return folder / PARTS / f"{fov_id}.parquet"


def prepare_store(folder: Path, spec: CropSpec, source: str) -> None:
    """Start or continue a store; until ``finish_store`` it counts as unfinished.

    Raises
    ------
    OutputError
        When the folder holds a store of other crops or other masks, or something else.
    InputError
        When its request is damaged.
    """
    request = {"format": STORE_FORMAT, "spec": asdict(spec), "source": source}
    file = folder / REQUEST_FILE
    if file.is_file():
        earlier = _read_json(file)
        if earlier != request:
            raise OutputError(
                f"{folder}: holds crops of {_describe(earlier)}, asked for {_describe(request)}. "
                "Choose another output folder."
            )
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise OutputError(
            f"{folder}: not empty and not a crop store. Choose another output folder."
        )
    else:
        write_json(file, request)
    (folder / PARTS).mkdir(exist_ok=True)
    for place in (folder, folder / PARTS):
        remove_leftovers(place)
    (folder / STORE_FILE).unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    """Read what ``prepare_store`` or ``finish_store`` wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}). Crop again into another folder.") from error
    if not isinstance(content, dict) or not {"spec", "source"} <= content.keys():
        raise InputError(f"{path}: not of a crop store. Crop again into another folder.")
    found = content.get("format", 1)  # the first one didn't say
    if found != STORE_FORMAT:
        raise InputError(
            f"{path}: a crop store of format {found}, this version of hpacells has format "
            f"{STORE_FORMAT}. Crop again into another folder."
        )
    return content


def _describe(request: dict[str, Any]) -> str:
    spec = request["spec"]
    return (
        f"{spec['crop_px']} px at {spec['pixel_size_um']} µm, outside {spec['outside']}, "
        f"masks by {request['source']}"
    )


def finish_store(
    folder: Path, done: Sequence[str], failures: Sequence[dict[str, Any]]
) -> CropStore:
    """Write a store's tables from its parts, ``store.json`` last.

    Parameters
    ----------
    folder
        Prepared by ``prepare_store``.
    done
        Fields whose part is written.
    failures
        Per failed field its ``fov_id``, ``reason`` and whatever columns are known.

    Returns
    -------
    CropStore
        Opened.
    """
    rows = [{"status": FieldStatus.FAILED.value, **_UNKNOWN, **row} for row in failures]
    tables = [CELL_MEASURE_SCHEMA.empty_table()]
    for fov_id in sorted(done):
        about, cells = read_part_tables(part_path(folder, fov_id))
        kept = pc.sum(pc.not_equal(cells["status"], CellStatus.REJECTED.value)).as_py() or 0
        known = {name: about[name] for name in ("digest", "width", "height", "pixel_size_um")}
        status = {"fov_id": fov_id, "status": FieldStatus.DONE.value, "n_crops": kept}
        rows.append({**status, **known, **about["metadata"]})
        tables.append(cells)
    rows.sort(key=lambda row: row["fov_id"])
    cells = pa.concat_tables(tables)
    fields = pa.Table.from_pylist(
        [{name: row.get(name) for name in STORE_FIELD_SCHEMA.names} for row in rows],
        schema=STORE_FIELD_SCHEMA,
    )
    for name, table in (("cells", cells), ("fields", fields)):
        with atomic_path(folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary)
    request = _read_json(folder / REQUEST_FILE)
    counts = {
        "fields": len(rows),
        "failed": len(failures),
        "cells": cells.num_rows,
        "crops": int(pc.sum(fields["n_crops"]).as_py() or 0),
    }
    content = {**request, "counts": counts, "versions": installed_versions()}
    write_json(folder / STORE_FILE, content)
    return CropStore.open(folder)


_UNKNOWN = {"width": 0, "height": 0, "n_crops": 0}
