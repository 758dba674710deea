"""Corrections made in other tools, back beside a run's tables: the dispatch by kind of file.

What enters is a file or a folder of files, a field each: QuPath's GeoJSON, OME-Zarr with
``labels/cells``, label images ``<fov_id>_cells.png|.tif`` (and ``_nuclei``); or one CSV of labels.
What leaves is ``corrections.parquet`` and, where outlines were edited, ``corrections/masks``. The
run's own tables and masks stay. Everything is compared with the run itself, so importing a file
again says nothing new.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpacells.core.channels import CHANNELS
from hpacells.core.corrections import (
    CORRECTED_MASKS,
    Action,
    Correction,
    add_corrections,
)
from hpacells.core.errors import ImageError, InputError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import output_lock
from hpacells.export.edited_masks import EditedMasks, Ids, compare_masks
from hpacells.export.from_csv import read_csv_corrections
from hpacells.export.from_geojson import read_geojson
from hpacells.export.run_reader import RunField, open_run
from hpacells.export.write import EXPORT_FILE
from hpacells.images.mask_files import find_mask, read_label_image, write_masks
from hpacells.images.ome_zarr import read_zarr_plane

__all__ = ["ImportSummary", "import_corrections"]

_FIELD_FILE = re.compile(r"^(?P<name>.+)(?P<kind>\.geojson|\.json|\.zarr|_cells\.(?:png|tiff?))$")
_IMAGE_NAME = re.compile(
    rf"(?:_(?:{'|'.join(channel.value for channel in CHANNELS)}))?(?:\.(?:png|tiff?|jpe?g|zarr))+$"
)


@dataclass(frozen=True)
class ImportSummary:
    """What an import came to.

    Parameters
    ----------
    n_fields
        Fields that were read.
    counts
        Corrections by action.
    n_new
        Corrections that the run had not before.
    n_redrawn
        Cells with other outlines.
    """

    n_fields: int
    counts: dict[str, int]
    n_new: int
    n_redrawn: int


def import_corrections(
    run_folder: Path,
    source: Path,
    *,
    who: str | None = None,
    progress: ProgressCallback = silent,
) -> ImportSummary:
    """Read corrections and put them beside a run's tables.

    Parameters
    ----------
    run_folder
        A finished run.
    source
        A CSV; or a file of a field as above, or a folder of them.
    who
        Whose corrections they are, where the file does not say.
    progress
        Told of every field.

    Returns
    -------
    ImportSummary
        What was found.

    Raises
    ------
    InputError
        When a file is of no known kind, of no field of the run, or damaged; then nothing is
        written.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder. Check the path.")
    run = open_run(run_folder)
    if source.suffix.lower() == ".csv":
        cells = {field.fov_id: set(field.cells["cell_id"].to_pylist()) for field in run.fields()}
        found = read_csv_corrections(source, cells, who=who, when=_saved_at(source))
        with output_lock(run_folder):
            n_new = add_corrections(run_folder, found)
        return ImportSummary(len({c.fov_id for c in found}), _count(found), n_new, 0)
    fields = {field.fov_id: field for field in run.fields()}
    files = _find_files(source, set(fields))
    corrections: list[Correction] = []
    edits: list[tuple[str, EditedMasks]] = []
    for i, (fov_id, path) in enumerate(files.items(), start=1):
        edited, found = _read_field(path, fields[fov_id], who)
        corrections += found
        if edited.changed:
            edits.append((fov_id, edited))
        progress(i, len(files), fov_id)
    with output_lock(run_folder):
        for fov_id, edited in edits:
            write_masks(run_folder / CORRECTED_MASKS, fov_id, edited.masks)
        n_new = add_corrections(run_folder, corrections)
    n_redrawn = sum(len(edited.redrawn) for _, edited in edits)
    return ImportSummary(len(files), _count(corrections), n_new, n_redrawn)


def _count(corrections: list[Correction]) -> dict[str, int]:
    return {action.value: sum(c.action is action for c in corrections) for action in Action}


def _find_files(source: Path, fov_ids: set[str]) -> dict[str, Path]:
    """Give the file of each field, sorted."""
    is_field = source.is_file() or source.suffix == ".zarr" or (source / "labels").is_dir()
    paths = [source] if is_field else sorted(source.iterdir())
    paths = [path for path in paths if path.name != EXPORT_FILE and path.name[0] != "."]
    files: dict[str, Path] = {}
    strangers = []
    for path in paths:
        match = _FIELD_FILE.match(path.name.removesuffix(".gz"))
        if match is None:
            continue
        name = match["name"]
        fov_id = name if name in fov_ids else _IMAGE_NAME.sub("", name)
        if fov_id not in fov_ids:
            strangers.append(path.name)
        elif fov_id in files:
            raise InputError(
                f"{source}: {files[fov_id].name} and {path.name} are both of field {fov_id}. Keep "
                "one."
            )
        else:
            files[fov_id] = path
    if strangers:
        raise InputError(
            f"{source}: no field of the run has the name of {', '.join(strangers[:5])}. Name each "
            "file as its field: <fov_id>.geojson, <fov_id>.zarr, <fov_id>_cells.png."
        )
    if not files:
        raise InputError(
            f"{source}: expected a .csv, <fov_id>.geojson, <fov_id>.zarr or <fov_id>_cells.png "
            "(.tif), or a folder of them, found none. Check the path."
        )
    return files


def _read_field(
    path: Path, field: RunField, who: str | None
) -> tuple[EditedMasks, list[Correction]]:
    before = field.read_masks()
    classes: dict[int, tuple[int, ...]] = {}
    nuclei: Ids | None
    if path.suffix == ".zarr":
        cells, nuclei = _read_zarr(path)
    elif path.suffix in (".geojson", ".json", ".gz"):
        objects = read_geojson(path, field.fov_id, before)
        cells, nuclei, classes = objects.cells, objects.nuclei, objects.classes
    else:
        cells, nuclei = _read_label_images(path, field.fov_id)
    edited = compare_masks(cells, nuclei, before, str(path))
    said = {"source": path.name, "when": _saved_at(path), "who": who}
    return edited, list(_word(field, edited, classes, said))


def _word(
    field: RunField,
    edited: EditedMasks,
    classes: dict[int, tuple[int, ...]],
    said: dict[str, Any],
) -> Iterator[Correction]:
    """Put into words what is other than in the run."""
    ids = field.cells["cell_id"].to_pylist()
    before = {
        cell_id: () if top is None else (top,)
        for cell_id, top in zip(ids, field.top_locations, strict=True)
    }
    redrawn, removed = set(edited.redrawn), set(edited.removed)
    for cell_id in sorted(set(before) | redrawn):
        now = classes.get(cell_id, before.get(cell_id))
        is_same = now == before.get(cell_id)
        if cell_id in removed or (now == () and not is_same):
            yield Correction(field.fov_id, cell_id, Action.REJECT, **said)
        elif not is_same or cell_id in redrawn:
            locations = now if now and not is_same else None
            yield Correction(field.fov_id, cell_id, Action.CORRECT, locations=locations, **said)


def _read_zarr(path: Path) -> tuple[Ids, Ids | None]:
    labels = path / "labels"
    nuclei = _read_ids(labels / "nuclei") if (labels / "nuclei").is_dir() else None
    return _read_ids(labels / "cells"), nuclei


def _read_ids(place: Path) -> Ids:
    ids = read_zarr_plane(place / "0")
    return ids.astype(np.int64).clip(-1, 2**31 - 1).astype(np.int32)


def _read_label_images(path: Path, fov_id: str) -> tuple[Ids, Ids | None]:
    try:
        nuclei = read_label_image(find_mask(path.parent, fov_id, "nuclei"))
    except ImageError:
        nuclei = None
    return read_label_image(path), nuclei


def _saved_at(path: Path) -> datetime:
    """Say when a file, or the youngest file in a folder, was written."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return datetime.fromtimestamp(int(max(file.stat().st_mtime for file in files)), UTC)
