"""Segment every field of a folder: masks and a cells table, field by field, resumable.

::

    OUT/settings.json     what decides the result; another request is refused
    OUT/masks/            <fov_id>_cells.png, <fov_id>_nuclei.png
    OUT/parts/            <fov_id>.parquet: a finished field's cells, and its row in the metadata
    OUT/cells.parquet     CELL_MEASURE_SCHEMA, sorted by fov_id, cell_id
    OUT/fields.parquet    FIELD_SCHEMA without image scores, sorted by fov_id

A part is written last and whole, so a part means a finished field; a killed run loses at most the
fields in work. Both tables are made anew from the parts at the end of every run.
"""

import json
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, FIELD_SCHEMA, CellStatus, FieldStatus
from hpacells.core.errors import ConfigError, ImageError, InputError, ModelError, OutputError
from hpacells.core.fov import FovRecord
from hpacells.core.parquet import naming_damage
from hpacells.core.pools import over_processes
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.settings_difference import describe_difference
from hpacells.core.storage import atomic_path, output_lock, remove_leftovers, write_json
from hpacells.images.mask_files import write_masks
from hpacells.images.read import digest_field, read_field_with_digest
from hpacells.segment.config import MeasureConfig
from hpacells.segment.field_quality import judge_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import Segmenter

__all__ = ["SegmentSummary", "segment_fields"]

_FIELD_KEY = b"hpacells.field"
_DIGEST_KEY = b"hpacells.digest"
_Row = dict[str, object]


@dataclass(frozen=True)
class SegmentSummary:
    """What a run of ``segment_fields`` left in its folder.

    Parameters
    ----------
    n_done
        Fields with masks, those of earlier runs included.
    n_kept
        Of the fields asked for, those that an earlier run had finished.
    failed
        ``(fov_id, reason)`` of the fields asked for that could not be used.
    n_ok, n_border, n_rejected
        Cells by status, over all done fields.
    n_touching
        Of the ok and border ones, those that touch the frame.
    warnings
        ``(fov_id, what)`` of the done fields in which something looks wrong.
    """

    n_done: int
    n_kept: int
    failed: tuple[tuple[str, str], ...]
    n_ok: int
    n_border: int
    n_rejected: int
    n_touching: int
    warnings: tuple[tuple[str, str], ...] = ()


def segment_fields(
    records: list[FovRecord],
    out: Path,
    segmenter: Segmenter,
    *,
    measure: MeasureConfig | None = None,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> SegmentSummary:
    """Outline and measure the cells of every field.

    Parameters
    ----------
    records
        Fields, each with an id of its own.
    out
        The output folder; made, or continued when it holds a run of the same settings.
    segmenter
        What outlines the cells.
    measure
        Which cells count; None: the defaults.
    workers
        Processes; the result does not depend on them.
    progress
        Told after each field.

    Returns
    -------
    SegmentSummary
        A field that cannot be read (``ImageError``), outlined or measured (``InputError``,
        ``ModelError``) is recorded with status ``failed``, and tried again when asked again.

    Raises
    ------
    ConfigError
        When ``workers`` is below 1.
    OutputError
        When the folder holds something else, a run of other settings, or a field whose images
        have changed since; or another process is writing there.
    """
    if workers < 1:
        raise ConfigError(f"--workers: expected 1 or more, got {workers}")
    measure = measure or MeasureConfig()
    with output_lock(out):
        _check_settings(out, segmenter, measure)
        for folder in (out, out / "masks", out / "parts"):
            remove_leftovers(folder)
        failed: dict[str, str] = {}
        todo = []
        for record in records:
            if _part_path(out, record.fov_id).exists():
                _check_unchanged(out, record)
            else:
                todo.append(record)
        n_kept = done = len(records) - len(todo)
        progress(done, len(records), "already there" if n_kept else "starting")
        work = partial(_segment_field, out=out, segmenter=segmenter, measure=measure)
        with closing(over_processes(work, todo, workers=workers)) as results:
            for record, reason in results:
                done += 1
                if reason is not None:
                    failed[record.fov_id] = reason
                progress(done, len(records), record.fov_id)
        rows = _write_tables(out, {r.fov_id: r for r in records}, failed)
    counts = {
        status: sum(int(str(row[f"n_{status.value}"])) for row in rows) for status in CellStatus
    }
    return SegmentSummary(
        n_done=sum(row["status"] == FieldStatus.DONE.value for row in rows),
        n_kept=n_kept,
        failed=tuple(sorted(failed.items())),
        n_ok=counts[CellStatus.OK],
        n_border=counts[CellStatus.BORDER],
        n_rejected=counts[CellStatus.REJECTED],
        n_touching=_count_touching(out / "cells.parquet"),
        warnings=tuple(
            (str(row["fov_id"]), str(row["reason"]))
            for row in rows
            if row["status"] == FieldStatus.DONE.value and row["reason"] is not None
        ),
    )


def _count_touching(cells: Path) -> int:
    columns = pq.read_table(cells, columns=["status", "touches_border"])
    counted = pc.not_equal(columns["status"], CellStatus.REJECTED.value)
    return pc.sum(pc.and_(counted, columns["touches_border"])).as_py() or 0


def _check_settings(out: Path, segmenter: Segmenter, measure: MeasureConfig) -> None:
    wanted = {
        "command": "segment",
        "segmenter": segmenter.name,
        "segmenter_settings": segmenter.settings,
        "measure_settings": measure.model_dump(mode="json"),
    }
    path = out / "settings.json"
    if not path.exists():
        others = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
        if others:
            raise OutputError(
                f"{out}: expected an empty folder or one that 'hpacells segment' made, found "
                f"{', '.join(others[:3])}. Choose another output folder."
            )
        write_json(path, wanted)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"{path}: damaged ({error}). Choose another output folder.") from error
    if not isinstance(found, dict):
        raise OutputError(f"{path}: expected settings. Choose another output folder.")
    differing = describe_difference(found, wanted)
    if differing:
        raise OutputError(
            f"{out}: made with other settings: {differing}. Ask with the same, or choose another "
            "output folder."
        )


def _part_path(out: Path, fov_id: str) -> Path:
    return out / "parts" / f"{fov_id}.parquet"


def _check_unchanged(out: Path, record: FovRecord) -> None:
    path = _part_path(out, record.fov_id)
    with naming_damage(path, "Delete it and run again: the other fields are kept."):
        metadata = pq.read_schema(path).metadata
    row = json.loads(metadata[_FIELD_KEY])
    same_size = record.pixel_size_um in (None, row["pixel_size_um"])
    if not same_size or digest_field(record).encode() != metadata[_DIGEST_KEY]:
        what = "images" if same_size else "pixel size"
        raise OutputError(
            f"{out}: field {record.fov_id} is done, but its {what} changed since. "
            "Choose another output folder."
        )


def _segment_field(
    record: FovRecord, out: Path, segmenter: Segmenter, measure: MeasureConfig
) -> str | None:
    """Read, outline, measure and write one field; give the reason if it cannot be used."""
    try:
        fov, digest = read_field_with_digest(record)
    except ImageError as error:
        return str(error)
    try:
        masks = segmenter(fov)
        cells = measure_cells(fov, masks, measure)
        quality = judge_field(fov, cells, measure.quality)
    except (InputError, ModelError) as error:
        return f"field {record.fov_id}: {error}"
    write_masks(out / "masks", fov.fov_id, masks)
    row = _field_row(record) | {
        "status": FieldStatus.DONE.value,
        "width": fov.width,
        "height": fov.height,
        "pixel_size_um": fov.pixel_size_um,
        **{f"n_{status.value}": cells.count(status) for status in CellStatus},
        **quality.columns(),
    }
    metadata = {_FIELD_KEY: json.dumps(row).encode(), _DIGEST_KEY: digest.encode()}
    with atomic_path(_part_path(out, fov.fov_id)) as path:
        pq.write_table(cells.table.replace_schema_metadata(metadata), path)
    return None


def _field_row(record: FovRecord) -> _Row:
    """Start a row of the fields table with what is known before reading."""
    return {
        "fov_id": record.fov_id,
        "status": FieldStatus.FAILED.value,
        "reason": None,
        "width": 0,
        "height": 0,
        "pixel_size_um": record.pixel_size_um,
        **{f"n_{status.value}": 0 for status in CellStatus},
        **record.metadata(),
    }


def _write_tables(out: Path, records: dict[str, FovRecord], failed: dict[str, str]) -> list[_Row]:
    """Make both tables from the parts and the failures; give the rows of the fields table."""
    rows = {
        fov_id: _field_row(records[fov_id]) | {"reason": reason}
        for fov_id, reason in failed.items()
    }
    fields_path = out / "fields.parquet"
    parts = {path.stem: path for path in sorted((out / "parts").glob("*.parquet"))}
    if fields_path.exists():
        with naming_damage(fields_path, "Delete it and run again."):
            earlier = pq.read_table(fields_path).to_pylist()
        for row in earlier:
            if row["status"] == FieldStatus.FAILED.value and row["fov_id"] not in parts:
                rows.setdefault(row["fov_id"], row)
    with (
        atomic_path(out / "cells.parquet") as cells_path,
        pq.ParquetWriter(cells_path, CELL_MEASURE_SCHEMA) as writer,
    ):
        for fov_id in sorted(parts):
            part = pq.read_table(parts[fov_id])
            rows[fov_id] = json.loads(part.schema.metadata[_FIELD_KEY])
            if fov_id in records:
                # a table may say more of a field than when it was done
                rows[fov_id] |= records[fov_id].metadata()
            writer.write_table(part.replace_schema_metadata(None))
    listed = [rows[fov_id] for fov_id in sorted(rows)]
    with atomic_path(fields_path) as path:
        pq.write_table(pa.Table.from_pylist(listed, schema=FIELD_SCHEMA), path)
    return listed
