"""A finished run folder drawn by hand: awkward masks, a hostile id, an empty and a failed field."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import (
    CELL_QUALITY_COLUMNS,
    CELL_SCHEMA,
    EMBEDDING_SCHEMA,
    FIELD_SCHEMA,
    IMAGE_COLUMNS,
    PROBABILITY_COLUMNS,
)
from hpacells.core.mask_parts import keep_largest_parts
from hpacells.core.masks import CellMasks
from hpacells.core.submission import (
    SubmissionRow,
    encode_cells,
    format_predictions,
    write_submission,
)
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import write_masks
from hpacells.predict.field import digest_input

SHAPE = (90, 130)
HOSTILE = 'a,b "c" <d>'
EMBEDDING = 5


def draw_masks(seed=3):
    """Cells 2, 3, 5, 9, 700: holes, corners only, one pixel, noise, the frame's edge."""
    rng = np.random.default_rng(seed)
    cells = np.zeros(SHAPE, np.int32)
    cells[5:20, 5:30] = 2
    cells[8:10, 10:14] = 0
    cells[10:12, 14:16] = 0  # the two holes touch by a corner
    for i in range(6):
        cells[30 + i, 40 + i] = 3
    cells[34, 60] = 5
    noise = np.where(rng.random((40, 40)) < 0.62, 9, 0).astype(np.int32)
    cells[45:85, 20:60] = keep_largest_parts(noise)
    cells[60:90, 100:130] = 700
    nuclei = np.zeros(SHAPE, np.int32)
    nuclei[12:16, 18:24] = 2
    nuclei[70:76, 110:118] = 700
    nuclei[80:84, 104:107] = 700  # two nuclei of one cell
    nuclei[50:60, 25:45] = cells[50:60, 25:45]
    return CellMasks(cells, nuclei, "drawn", 0.32)


def _cell_rows(fov_id, masks, rng):
    rows = []
    for cell_id in masks.cell_ids.tolist():
        ys, xs = np.nonzero(masks.cells == cell_id)
        row = dict.fromkeys(CELL_SCHEMA.names, 0) | dict.fromkeys(CELL_QUALITY_COLUMNS, False)
        row |= {
            "fov_id": fov_id,
            "cell_id": cell_id,
            "status": {5: "rejected", 700: "border"}.get(cell_id, "ok"),
            "reason": "debris" if cell_id == 5 else None,
            "r0": ys.min(), "c0": xs.min(), "r1": ys.max() + 1, "c1": xs.max() + 1,
            "area_um2": np.float32(len(ys) * 0.32**2),
            "nucleus_area_um2": np.float32((masks.nuclei == cell_id).sum() * 0.32**2),
            "protein_mean": np.float32(rng.uniform(0, 255)),
            "protein_total": rng.uniform(0, 1e5),
            "dna_total": rng.uniform(0, 1e5),
            "touches_border": cell_id == 700,
            "doubt": np.float32(rng.random()),
        }  # fmt: skip
        row |= {name: np.float32(rng.random()) for name in PROBABILITY_COLUMNS}
        rows.append(row)
    return rows


def _field_row(fov_id, rows, **known):
    row = dict.fromkeys(FIELD_SCHEMA.names)
    row |= {"fov_id": fov_id, "status": "done", "height": SHAPE[0], "width": SHAPE[1]}
    row |= {"pixel_size_um": 0.32} | dict.fromkeys(IMAGE_COLUMNS, 0.25)
    for status in ("ok", "border", "rejected"):
        row[f"n_{status}"] = sum(cell["status"] == status for cell in rows)
    return row | known


def write_run(folder: Path, images: Path | None = None, fov_ids=("plain", HOSTILE)) -> Path:
    """Write the run folder: fields with cells as named, one empty, one failed."""
    rng = np.random.default_rng(0)
    cells, fields, submitted = [], [], []
    for i, fov_id in enumerate(fov_ids):
        masks = draw_masks(seed=i)
        write_masks(folder / "masks", fov_id, masks)
        rows = _cell_rows(fov_id, masks, rng)
        cells += rows
        fields.append(_field_row(fov_id, rows, gene="ACTB", cell_line="U-2 OS", well="B2"))
        texts = encode_cells(masks.cells)
        triples = [(0, 0.5, texts[row["cell_id"]]) for row in rows if row["status"] != "rejected"]
        submitted.append(SubmissionRow(fov_id, SHAPE[1], SHAPE[0], format_predictions(triples)))
    nothing = np.zeros(SHAPE, np.int32)
    write_masks(folder / "masks", "empty", CellMasks(nothing, nothing, "drawn", 0.32))
    fields.append(_field_row("empty", []))
    submitted.append(SubmissionRow("empty", SHAPE[1], SHAPE[0], ""))
    broken = _field_row("broken", []) | dict.fromkeys(IMAGE_COLUMNS)
    broken |= {"status": "failed", "reason": "no yellow", "height": 0, "width": 0}
    fields.append(broken | {"pixel_size_um": None})
    submitted.append(SubmissionRow("broken", 0, 0, ""))
    _write_tables(folder, cells, fields, rng)
    write_submission(folder / "submission.csv", sorted(submitted, key=lambda row: row.fov_id))
    provenance = {"images": str(images), "inputs_sha256": {}, "model_id": "tiny-1@0"}
    (folder / "run.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder


def _write_tables(folder, cells, fields, rng):
    cells.sort(key=lambda row: (row["fov_id"], row["cell_id"]))
    fields.sort(key=lambda row: row["fov_id"])
    embeddings = [
        {key: row[key] for key in ("fov_id", "cell_id")}
        | {"embedding": rng.normal(size=EMBEDDING).astype(np.float32)}
        for row in cells
    ]
    for name, rows, schema in (
        ("cells", cells, CELL_SCHEMA),
        ("fields", fields, FIELD_SCHEMA),
        ("embeddings", embeddings, EMBEDDING_SCHEMA),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Two fields of five cells, an empty one, a failed one."""
    return write_run(tmp_path / "run")


@pytest.fixture
def pictured_run(tmp_path, write_quadruplet):
    """A run whose images are there."""
    images = tmp_path / "images"
    for i, fov_id in enumerate(("empty", "plain")):
        write_quadruplet(images, fov_id, seed=i, shape=SHAPE, pixel_size_um=0.32)
    run = write_run(tmp_path / "run", images, fov_ids=("plain",))
    records = discover_fields(images, pixel_size_um=0.32)
    provenance = json.loads((run / "run.json").read_text()) | {"pixel_size_um": 0.32}
    provenance["inputs_sha256"] = {record.fov_id: digest_input(record) for record in records}
    (run / "run.json").write_text(json.dumps(provenance))
    return run
