"""Simulated fields as a dataset folder with truth.

::

    OUT/train/<ID>_{red,green,blue,yellow}.png
    OUT/train.csv          ID, Label, gene, antibody, cell_line, plate, well, sample, pixel_size_um
    OUT/truth/<ID>_cells.png, <ID>_nuclei.png      16-bit ids
    OUT/truth/cells.csv    one row a cell id: what was drawn into it
    OUT/truth/fields.csv   ID, kind, effect, share (kind "none": no designed variation)
    OUT/truth.csv          the submission form: every cell of the truth x its classes, confidence 1
    OUT/simulate.json      settings and counts; "finished" is true when all of the above is there
    OUT/.fields/<ID>.json  one field's table rows, written after its images: the field is whole

The tables are written when the last field is done. A second call with the same settings makes
what is missing; more fields may be asked for, anything else that differs is refused.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.locations import N_LOCATIONS, format_class_ids
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
from hpacells.images.mask_files import write_masks
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import SimulatedField, field_id, simulate_field

__all__ = ["DatasetSummary", "write_dataset"]

_SETTINGS_FILE = "simulate.json"
_ROWS_FOLDER = ".fields"
_IMAGE_COLUMNS = (
    "ID", "Label", "gene", "antibody", "cell_line", "plate", "well", "sample", "pixel_size_um",
)  # fmt: skip
_CELL_COLUMNS = (
    "ID", "cell_id", "Label", "in_truth", "share_inside", "phase", "area_um2", "nucleus_area_um2",
    "cell_line",
)  # fmt: skip
_FIELD_COLUMNS = ("ID", "kind", "effect", "share")


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset folder holds: fields (``made`` of them now), cells, truth per class."""

    fields: int
    made: int
    cells: int
    cells_in_truth: int
    cells_per_class: tuple[int, ...]


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
        Size, scale, depth, class frequencies.
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
        The folder holds other settings, more fields, or something else.
    """
    config.check(seed=seed, fields=fields)
    if workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {workers}.")
    with output_lock(out):
        settings = {**config.model_dump(), "seed": seed}
        _claim_folder(out, settings, fields)
        missing = [i for i in range(fields) if not _is_whole(out, field_id(seed, i))]
        done = fields - len(missing)
        work = partial(_make_field, out, config, seed)
        with closing(over_processes(work, missing, workers=workers)) as made:
            for index, _ in made:
                done += 1
                progress(done, fields, field_id(seed, index))
        summary = _write_tables(out, seed=seed, fields=fields, made=len(missing))
        write_json(
            out / _SETTINGS_FILE,
            {
                "settings": settings,
                "fields": fields,
                "finished": True,
                "cells": summary.cells,
                "cells_in_truth": summary.cells_in_truth,
                "versions": installed_versions(),
            },
        )
    return summary


def _claim_folder(out: Path, settings: dict[str, Any], fields: int) -> None:
    """Refuse a folder of other settings; note the settings in a new one."""
    path = out / _SETTINGS_FILE
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            old, old_fields = known["settings"], known["fields"]
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
        if known.get("finished") and old_fields == fields:
            return
    elif others := sorted(p.name for p in out.iterdir() if not p.name.startswith(".")):
        raise OutputError(
            f"{out}: expected a new folder or a dataset simulated before, it holds something of "
            f"another origin ({', '.join(others[:3])}). Choose another folder."
        )
    write_json(path, {"settings": settings, "fields": fields, "finished": False})


def _is_whole(out: Path, fov_id: str) -> bool:
    names = [f"train/{fov_id}_{channel.value}.png" for channel in CHANNELS]
    names += [f"truth/{fov_id}_{part}.png" for part in ("cells", "nuclei")]
    return all((out / name).exists() for name in (f"{_ROWS_FOLDER}/{fov_id}.json", *names))


def _make_field(out: Path, config: SimulateConfig, seed: int, index: int) -> None:
    field = simulate_field(seed, index, config)
    fov_id = field.fov.fov_id
    for channel in CHANNELS:
        encoded = cv2.imencode(".png", field.fov.channel(channel))[1]
        with atomic_path(out / "train" / f"{fov_id}_{channel.value}.png") as temporary:
            temporary.write_bytes(encoded.tobytes())
    write_masks(out / "truth", fov_id, field.masks)
    write_json(out / _ROWS_FOLDER / f"{fov_id}.json", _rows_of(field))


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
    cells = [
        [
            fov_id,
            cell.cell_id,
            format_class_ids(cell.locations),
            int(cell.in_truth),
            round(cell.share_inside, 4),
            cell.phase,
            round(cell.area_um2, 2),
            round(cell.nucleus_um2, 2),
            sample.cell_line,
        ]
        for cell in field.cells
    ]
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
        "cells": cells,
        "field": [fov_id, "none", 0.0, 0.0],
        "width": field.fov.width,
        "height": field.fov.height,
        "truth": format_predictions(triples),
        "classes": [list(cell.locations) for cell in field.cells if cell.in_truth],
    }


def _write_tables(out: Path, *, seed: int, fields: int, made: int) -> DatasetSummary:
    """Put the rows of all fields together, in the order of the fields."""
    folder = out / _ROWS_FOLDER
    names = [field_id(seed, index) for index in range(fields)]

    def rows() -> Iterator[dict[str, Any]]:
        for name in names:
            yield json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))

    if made or not (out / "truth.csv").exists():
        _write_csv(out / "train.csv", _IMAGE_COLUMNS, (row["image"] for row in rows()))
        _write_csv(
            out / "truth" / "cells.csv", _CELL_COLUMNS, (c for row in rows() for c in row["cells"])
        )
        _write_csv(out / "truth" / "fields.csv", _FIELD_COLUMNS, (row["field"] for row in rows()))
        write_submission(
            out / "truth.csv",
            (
                SubmissionRow(row["image"][0], row["width"], row["height"], row["truth"])
                for row in rows()
            ),
        )
    counts = np.zeros(N_LOCATIONS, int)
    cells = in_truth = 0
    for row in rows():
        cells += len(row["cells"])
        in_truth += len(row["classes"])
        for locations in row["classes"]:
            counts[locations] += 1
    return DatasetSummary(fields, made, cells, in_truth, tuple(map(int, counts)))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
