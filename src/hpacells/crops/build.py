"""Make a crop store from fields and whatever gives their masks, resumably, on several processes.

Where masks come from (files, a segmenter) is the caller's affair: a ``MaskSource``.
"""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hpacells.core.cell_table import CellTable
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ConfigError, ImageError, OutputError
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.masks import CellMasks
from hpacells.core.pools import over_processes
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import sha256_bytes
from hpacells.crops.extract import extract_crops
from hpacells.crops.field_crops import FieldCrops, kept_cells, read_part_tables, write_part
from hpacells.crops.store import CropStore, finish_store, part_path, prepare_store
from hpacells.images.read import digest_field, read_field_with_digest

__all__ = ["MaskSource", "build_store"]


class MaskSource(Protocol):
    """What gives a field's masks; must be picklable to be used by several processes."""

    @property
    def name(self) -> str:
        """Say what it is, for the store's manifest; another name is another store."""

    def digest(self, fov_id: str) -> str:
        """Hash what it reads besides the image; empty where it reads nothing.

        Raises ``ImageError`` where that is missing.
        """

    def __call__(self, fov: FieldOfView) -> tuple[CellMasks, CellTable]:
        """Give masks and one measured row per mask id, or raise ``ImageError``."""


def build_store(
    records: Sequence[FovRecord],
    out: Path,
    spec: CropSpec,
    *,
    source: MaskSource,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> CropStore:
    """Cut the cells of many fields into a store; what is there already is kept.

    Parameters
    ----------
    records
        Fields; each ends up in ``fields.parquet``, done or failed.
    out
        Folder of the store, new or one of the same spec and source.
    spec
        Side and scale of the crops.
    source
        Where masks come from.
    workers
        Processes; 1 works in this one.
    progress
        Told after each field.

    Returns
    -------
    CropStore
        Finished. Its ``failed`` count is that of fields whose images or masks cannot be used.

    Raises
    ------
    ConfigError
        When ``workers`` is below 1.
    OutputError
        When ``out`` belongs to something else, or an input changed since its crops were made.
    """
    if workers < 1:
        raise ConfigError(f"--workers: expected 1 or more, got {workers}")
    prepare_store(out, spec, source.name)
    done: list[str] = []
    failures: list[dict[str, Any]] = []
    work = partial(_make_part, out=out, spec=spec, source=source)
    with closing(over_processes(work, records, workers=workers)) as results:
        for record, reason in results:
            if reason is None:
                done.append(record.fov_id)
            else:
                failures.append({**record.metadata(), "fov_id": record.fov_id, "reason": reason})
            progress(len(done) + len(failures), len(records), record.fov_id)
    return finish_store(out, done, failures)


def _make_part(record: FovRecord, out: Path, spec: CropSpec, source: MaskSource) -> str | None:
    """Write one field's part unless it is there; return why it could not be made."""
    path = part_path(out, record.fov_id)
    try:
        if path.is_file():
            _check_unchanged(path, record, source)
            return None
        fov, image_digest = read_field_with_digest(record)
        digest = _combine(image_digest, source.digest(record.fov_id))
        masks, cells = source(fov)
    except ImageError as error:
        return str(error)
    crops, cell_masks = extract_crops(fov, masks, kept_cells(cells.table), spec)
    part = FieldCrops(
        fov_id=fov.fov_id,
        digest=digest,
        shape=(fov.height, fov.width),
        pixel_size_um=fov.pixel_size_um,
        cells=cells,
        crops=crops,
        cell_masks=cell_masks,
        metadata=record.metadata(),
    )
    write_part(path, part)
    return None


def _check_unchanged(path: Path, record: FovRecord, source: MaskSource) -> None:
    about, _ = read_part_tables(path)
    now = _combine(digest_field(record), source.digest(record.fov_id))
    same_scale = record.pixel_size_um in (None, about["pixel_size_um"])
    if not same_scale or (about["digest"], about["metadata"]) != (now, record.metadata()):
        what = "image, masks or labels" if same_scale else "pixel size"
        raise OutputError(
            f"field {record.fov_id}: its {what} changed since its crops were made in "
            f"{path.parent.parent}. Choose another output folder."
        )


def _combine(image_digest: str, mask_digest: str) -> str:
    return sha256_bytes(f"{image_digest} {mask_digest}".encode()) if mask_digest else image_digest
