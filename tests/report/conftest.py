"""A run folder drawn by hand: five fields, one hostile id, one failed, one without cells."""

import json
from types import SimpleNamespace

import cv2
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
    VARIATION_SCHEMA,
)
from hpacells.core.locations import N_LOCATIONS
from hpacells.variation.associations import ASSOCIATION_SCHEMA, ASSOCIATIONS_FILE
from hpacells.variation.outliers import OUTLIER_SCHEMA, OUTLIERS_FILE

HOSTILE = "<script>alert('x')<b>&\"quoted\""
FULL_SHAPE = (120, 200)
PREVIEW_SHAPE = (120, 200)  # smaller than a preview can be: at its own size
STRIP_STEP = 120


def middle_of(cell_id):
    """(x, y) of a cell's disc."""
    return 25 + 50 * ((cell_id - 1) % 4), 30 + 55 * ((cell_id - 1) // 4)


def draw_cells(n_cells):
    """(H, W) uint16: n discs in a row, ids 1 … n."""
    cells = np.zeros(FULL_SHAPE, np.uint16)
    for i in range(n_cells):
        cv2.circle(cells, middle_of(i + 1), 20, i + 1, -1)
    return cells


def make_cell(fov_id, cell_id, *, status="ok", top=2, score=0.9):
    row = dict.fromkeys(CELL_SCHEMA.names, 0)
    row |= dict.fromkeys(PROBABILITY_COLUMNS, 0.01) | dict.fromkeys(CELL_QUALITY_COLUMNS, False)
    row |= {
        "fov_id": fov_id,
        "cell_id": cell_id,
        "status": status,
        "reason": "more than half outside the frame" if status == "rejected" else None,
        "r0": middle_of(cell_id)[1] - 20,
        "c0": middle_of(cell_id)[0] - 20,
        "r1": middle_of(cell_id)[1] + 21,
        "c1": middle_of(cell_id)[0] + 21,
        "area_um2": 1000.5,
        "doubt": 1 - score,
        "touches_border": status != "ok",
        PROBABILITY_COLUMNS[top]: score,
        PROBABILITY_COLUMNS[(top + 5) % N_LOCATIONS]: 0.4,
    }
    return row


def make_field(fov_id, *, n_ok=0, n_border=0, n_rejected=0, reason=None, **known):
    row = dict.fromkeys(FIELD_SCHEMA.names)
    failed = reason is not None
    row |= {
        "fov_id": fov_id,
        "status": "failed" if failed else "done",
        "reason": reason,
        "width": 0 if failed else FULL_SHAPE[1],
        "height": 0 if failed else FULL_SHAPE[0],
        "pixel_size_um": None if failed else 0.08,
        "n_ok": n_ok,
        "n_border": n_border,
        "n_rejected": n_rejected,
    }
    if not failed:
        row |= dict.fromkeys(IMAGE_COLUMNS, 0.02) | {IMAGE_COLUMNS[2]: 0.8}
    return row | known


def make_variation(fov_id, n_cells, score, level="field"):
    row = dict.fromkeys(VARIATION_SCHEMA.names)
    row |= {"level": level, "id": fov_id, "n_cells": n_cells}
    return row | {"spatial_score": score, "spatial_low": 0.1, "spatial_high": 0.6}


def write_run(folder, fields, cells, variation=None):
    """Write tables with the core schemas, and the masks and previews of fields that have cells."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    for kind in ("composite", "stains"):
        (folder / "previews" / kind).mkdir(parents=True, exist_ok=True)
    cells = sorted(cells, key=lambda row: (row["fov_id"], row["cell_id"]))
    fields = sorted(fields, key=lambda row: row["fov_id"])
    pq.write_table(pa.Table.from_pylist(fields, FIELD_SCHEMA), folder / "fields.parquet")
    pq.write_table(pa.Table.from_pylist(cells, CELL_SCHEMA), folder / "cells.parquet")
    if variation is not None:
        table = pa.Table.from_pylist(variation, VARIATION_SCHEMA)
        pq.write_table(table, folder / "variation.parquet")
    for field in fields:
        if field["status"] == "done":
            mask = draw_cells(sum(row["fov_id"] == field["fov_id"] for row in cells))
            _write(folder / "masks" / f"{field['fov_id']}_cells.png", mask)
            rows, columns = np.indices(PREVIEW_SHAPE)
            grey = ((rows * 3 + columns * 2) % 256).astype(np.uint8)
            strip = np.zeros((4, STRIP_STEP, PREVIEW_SHAPE[1]), np.uint8)
            for plane, drawn in zip(strip, (grey, 255 - grey, grey[::-1], grey // 2), strict=True):
                plane[: len(drawn)] = drawn
            for kind, image in (("composite", strip[:3].transpose(1, 2, 0)), ("stains", strip)):
                flat = image if kind == "composite" else image.reshape(-1, PREVIEW_SHAPE[1])
                _write(folder / "previews" / kind / f"{field['fov_id']}.jpg", flat)
    keys = [{"fov_id": row["fov_id"], "cell_id": row["cell_id"]} for row in cells]
    rows = [key | {"embedding": [i % 3, i % 5, 1, i]} for i, key in enumerate(keys)]
    pq.write_table(pa.Table.from_pylist(rows, EMBEDDING_SCHEMA), folder / "embeddings.parquet")
    return folder


def _write(path, image):
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def write_extra_variation(folder):
    """Two outlier marks on cell 3 of ``plain``, and associations."""
    outliers = [("plain", 3, "intensity", 1.2, -3.96), ("plain", 3, "spatial", 0.5, 4.2)]
    rows = [dict(zip(OUTLIER_SCHEMA.names, row, strict=True)) for row in outliers]
    pq.write_table(pa.Table.from_pylist(rows, OUTLIER_SCHEMA), folder / OUTLIERS_FILE)
    associations = [
        ("field", "plain", 6, "intensity", "dna_total", -0.81, 0.002, 0.031),
        ("gene", "<b>ACTB</b>", 6, "spatial", "nucleus_area_um2", 0.07, 0.4, 0.6),
    ]
    rows = [dict(zip(ASSOCIATION_SCHEMA.names, row, strict=True)) for row in associations]
    pq.write_table(pa.Table.from_pylist(rows, ASSOCIATION_SCHEMA), folder / ASSOCIATIONS_FILE)


@pytest.fixture(scope="session")
def tables():
    """The functions above, for tests that draw their own run folder."""
    return SimpleNamespace(
        HOSTILE=HOSTILE,
        make_cell=make_cell,
        make_field=make_field,
        make_variation=make_variation,
        write_extra_variation=write_extra_variation,
        write_run=write_run,
    )


@pytest.fixture
def run_folder(tmp_path):
    fields = [
        make_field("plain", n_ok=5, n_border=1, n_rejected=1, gene="ACTB", image_labels="2|7"),
        make_field(HOSTILE, n_ok=2, cell_line="<i>U-2 OS</i>"),
        make_field("empty"),
        make_field("broken", reason="expected 4 stains, <yellow> is missing"),
    ]
    cells = [make_cell("plain", i, top=i) for i in range(1, 6)]
    cells += [make_cell("plain", 6, status="border", top=18)]
    cells += [make_cell("plain", 7, status="rejected", top=18)]
    cells += [make_cell(HOSTILE, i, score=0.2) for i in (1, 2)]
    variation = [
        make_variation("plain", 6, 0.41),
        make_variation(HOSTILE, 2, None),
        make_variation("ACTB", 6, 0.41, "gene"),
    ]
    folder = write_run(tmp_path / "run", fields, cells, variation)
    provenance = {
        "model_id": "sim-nfnet",
        "model_description": "Taught by simulated fields.",
        "segmenter": "watershed",
    }
    (folder / "run.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder
