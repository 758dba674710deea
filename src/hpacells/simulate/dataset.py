"""Simulated fields as a dataset folder with truth.

::

    OUT/train/<ID>_{red,green,blue,yellow}.png
    OUT/train.csv          ID, Label, gene, antibody, cell_line, plate, well, sample, pixel_size_um
    OUT/truth/<ID>_cells.png, <ID>_nuclei.png      16-bit ids
    OUT/truth/cells.csv    one row a cell id: what was drawn into it, see below
    OUT/truth/fields.csv   one row a field: its designed variation, see below
    OUT/truth.csv          the submission form: every cell of the truth x its classes, confidence 1
    OUT/simulate.json      settings and counts; "finished" is true when all of the above is there
    OUT/gallery.png        with --gallery only: every location in several cell lines
    OUT/.fields/<ID>.json  one field's table rows, written after its images: the field is whole

A field is written whole or not at all, the tables when the last field is done. A second call with
the same settings makes what is missing; more fields may be asked for, anything else that differs is
refused, and so is a folder made by a simulator of another look.

Columns of ``truth/cells.csv``: ID, cell_id; Label (class ids that were drawn into the cell, joined
with ``|``, 18 for none; a few hold a class that the image's label lacks); in_truth (0 or 1: at
least half of the cell is inside the frame); share_inside; phase (G1, S, G2 or M); area_um2 and
nucleus_area_um2 of the visible part; cell_line; amounts (``location:amount`` of each class of
Label, joined with blanks; about 1 is bright; empty for Negative); gene; sample; image_label;
variation (the sample's kind); subpopulation (1 for a cell of the designed sub-population); effect
(what the design did to this cell: what was added to its log amounts; for ``spatial`` the sample's
effect in a cell that switched place, else 0).

Columns of ``truth/fields.csv``: ID, kind (none, intensity, spatial or cell_cycle), effect, share
(units: module ``designed_variation``); group (class ids of the sub-population, or of what goes
against the cycle); Label (the image's), gene, sample, cell_line; n_cells, n_in_truth, and
n_subpopulation of all cells in the masks.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.locations import format_class_ids
from hpacells.core.pools import over_processes
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import atomic_path, output_lock, write_json
from hpacells.core.submission import (
    SubmissionRow,
    encode_cells,
    format_predictions,
    write_submission,
)
from hpacells.images.mask_files import mask_path, write_masks
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import SimulatedCell, SimulatedField, field_id, simulate_field
from hpacells.simulate.label_model import Sample

__all__ = ["DatasetSummary", "write_dataset"]

_SETTINGS_FILE = "simulate.json"
_ROWS_FOLDER = ".fields"
_LOOK = 5  # raise it with every change of the pixels or rows that a seed gives
_TABLES = ("train.csv", "truth/cells.csv", "truth/fields.csv", "truth.csv")
_IMAGE_COLUMNS = (
    "ID", "Label", "gene", "antibody", "cell_line", "plate", "well", "sample", "pixel_size_um",
)  # fmt: skip
_CELL_COLUMNS = (
    "ID", "cell_id", "Label", "in_truth", "share_inside", "phase", "area_um2", "nucleus_area_um2",
    "cell_line", "amounts", "gene", "sample", "image_label", "variation", "subpopulation", "effect",
)  # fmt: skip
_FIELD_COLUMNS = (
    "ID", "kind", "effect", "share", "group", "Label", "gene", "sample", "cell_line", "n_cells",
    "n_in_truth", "n_subpopulation",
)  # fmt: skip


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset folder holds: fields (``made`` of them now), cells, those in the truth."""

    fields: int
    made: int
    cells: int
    cells_in_truth: int


def write_dataset(
    out: Path,
    config: SimulateConfig,
    *,
    fields: int,
    seed: int,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> DatasetSummary:
    """Simulate fields 0 … ``fields`` - 1 of a seed into a folder.

    Parameters
    ----------
    out
        The dataset folder; made, or continued when it has the same settings.
    config
        Size, scale, depth, class frequencies, cell lines, variation.
    fields, seed
        How many, and from which seed.
    workers
        Processes; the files are the same, byte for byte, whatever their number.
    progress
        Told of each field.

    Raises
    ------
    ConfigError
        A number is out of its limits.
    OutputError
        The folder holds other settings, more fields, fields of another look, or something else.
    """
    config.check(seed=seed, fields=fields)
    if workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {workers}.")
    with output_lock(out):
        settings = {**config.model_dump(mode="json"), "seed": seed}
        finished = _check_folder(out, settings, fields)
        names = [field_id(seed, index) for index in range(fields)]
        missing = [index for index, name in enumerate(names) if not _is_whole(out, name)]
        if finished and not missing and all((out / table).exists() for table in _TABLES):
            return _count(out, names, made=0)
        _write_settings(out, settings, {"fields": fields, "finished": False})
        done = fields - len(missing)
        work = partial(_make_field, out, config, seed)
        with closing(over_processes(work, missing, workers=workers)) as made:
            for index, _ in made:
                done += 1
                progress(done, fields, names[index])
        _write_tables(out, names)
        summary = _count(out, names, made=len(missing))
        counts = {"cells": summary.cells, "cells_in_truth": summary.cells_in_truth}
        _write_settings(out, settings, {"fields": fields, "finished": True, **counts})
    return summary


def _write_settings(out: Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    origin = {"look": _LOOK, "versions": installed_versions()}
    write_json(out / _SETTINGS_FILE, {"settings": settings, **origin, **state})


def _check_folder(out: Path, settings: dict[str, Any], fields: int) -> bool:
    """Refuse a folder of other settings; say whether this one was finished with so many fields."""
    path = out / _SETTINGS_FILE
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            # what was not written before there was a choice
            old = {"presence": 1.0, "samples": "atlas", **known["settings"]}
            old_fields, look = known["fields"], known.get("look", _LOOK)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path}: cannot be read as the settings of a simulated dataset. Choose another "
                "folder."
            ) from error
        if old != settings:
            changed = sorted(k for k in settings | old if settings.get(k) != old.get(k))
            raise OutputError(
                f"{out} holds fields simulated with other settings (different: "
                f"{', '.join(changed)}). Choose another folder."
            )
        if old_fields > fields:
            raise OutputError(
                f"{out} was made for {old_fields} fields, {fields} are asked for. Ask for at "
                f"least {old_fields}, or choose another folder."
            )
        if look != _LOOK:
            raise OutputError(
                f"{out} holds fields of a simulator of another look (number {look}, this one has "
                f"{_LOOK}): a seed gives other pixels now. Choose another folder."
            )
        return bool(known.get("finished")) and old_fields == fields
    if others := sorted(p.name for p in out.iterdir() if not p.name.startswith(".")):
        raise OutputError(
            f"{out}: expected a new folder or a dataset simulated before, it holds something of "
            f"another origin ({', '.join(others[:3])}). Choose another folder."
        )
    return False


def _is_whole(out: Path, fov_id: str) -> bool:
    return all(path.exists() for path in _files_of(out, fov_id))


def _files_of(out: Path, fov_id: str) -> list[Path]:
    """Name all files of a field: its stains in the order of ``CHANNELS``, masks, rows."""
    images = [out / "train" / f"{fov_id}_{channel.value}.png" for channel in CHANNELS]
    masks = [mask_path(out / "truth", fov_id, part) for part in ("cells", "nuclei")]
    return [*images, *masks, out / _ROWS_FOLDER / f"{fov_id}.json"]


def _make_field(out: Path, config: SimulateConfig, seed: int, index: int) -> None:
    """Simulate a field and write its files; interrupted on the way, it leaves none of them."""
    field = simulate_field(seed, index, config)
    fov_id = field.fov.fov_id
    encoded = [cv2.imencode(".png", field.fov.channel(channel))[1] for channel in CHANNELS]
    rows = _rows_of(field)
    paths = _files_of(out, fov_id)
    with ExitStack() as undo:
        for path in paths:
            undo.callback(path.unlink, missing_ok=True)
        for path, image in zip(paths[: len(CHANNELS)], encoded, strict=True):
            with atomic_path(path) as temporary:
                temporary.write_bytes(image.tobytes())
        write_masks(out / "truth", fov_id, field.masks)
        write_json(paths[-1], rows)
        undo.pop_all()


def _rows_of(field: SimulatedField) -> dict[str, Any]:
    """Give one field's rows of every table."""
    sample, fov_id = field.sample, field.fov.fov_id
    texts = encode_cells(field.masks.cells)
    triples = [
        (location, 1.0, texts[cell.cell_id])
        for cell in field.cells
        if cell.in_truth
        for location in cell.locations
    ]
    variation = sample.variation
    return {
        "image": [
            fov_id,
            format_class_ids(sample.locations),
            sample.gene,
            sample.antibody,
            sample.cell_line,
            sample.plate,
            sample.well,
            sample.sample,
            field.fov.pixel_size_um,
        ],
        "cells": [_row_of(cell, fov_id, sample) for cell in field.cells],
        "field": [
            fov_id,
            variation.kind,
            round(variation.effect, 4),
            round(variation.share, 4),
            format_class_ids(variation.group),
            format_class_ids(sample.locations),
            sample.gene,
            sample.sample,
            sample.cell_line,
            len(field.cells),
            sum(cell.in_truth for cell in field.cells),
            sum(cell.content.subpopulation for cell in field.cells),
        ],
        "width": field.fov.width,
        "height": field.fov.height,
        "truth": format_predictions(triples),
    }


def _row_of(cell: SimulatedCell, fov_id: str, sample: Sample) -> list[Any]:
    """Give one cell's row of truth/cells.csv."""
    content = cell.content
    return [
        fov_id,
        cell.cell_id,
        format_class_ids(cell.locations),
        int(cell.in_truth),
        round(cell.share_inside, 4),
        cell.phase,
        round(cell.area_um2, 2),
        round(cell.nucleus_um2, 2),
        sample.cell_line,
        " ".join(f"{location}:{amount:.4f}" for location, amount in content.amounts.items()),
        sample.gene,
        sample.sample,
        format_class_ids(sample.locations),
        sample.variation.kind,
        int(content.subpopulation),
        round(content.effect, 4),
    ]


def _write_tables(out: Path, names: Sequence[str]) -> None:
    """Put the rows of all fields together, in their order."""
    images, cells, fields, truth = (out / table for table in _TABLES)
    _write_csv(images, _IMAGE_COLUMNS, (row["image"] for row in _read_rows(out, names)))
    _write_csv(cells, _CELL_COLUMNS, (c for row in _read_rows(out, names) for c in row["cells"]))
    _write_csv(fields, _FIELD_COLUMNS, (row["field"] for row in _read_rows(out, names)))
    write_submission(
        truth,
        (
            SubmissionRow(row["image"][0], row["width"], row["height"], row["truth"])
            for row in _read_rows(out, names)
        ),
    )


def _count(out: Path, names: Sequence[str], *, made: int) -> DatasetSummary:
    of_field = [_FIELD_COLUMNS.index(name) for name in ("n_cells", "n_in_truth")]
    counts = [[row["field"][place] for place in of_field] for row in _read_rows(out, names)]
    cells, in_truth = (sum(column) for column in zip(*counts, strict=True))
    return DatasetSummary(len(names), made, cells, in_truth)


def _read_rows(out: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield json.loads((out / _ROWS_FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
