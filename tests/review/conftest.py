"""A finished run drawn by hand: two fields of four cells, one with HTML in its name, one image."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import (
    CELL_QUALITY_COLUMNS,
    CELL_SCHEMA,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
)
from hpacells.core.channels import CHANNELS
from hpacells.core.corrections import Action
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import write_label_image
from hpacells.predict.field import digest_input
from hpacells.review.cells import read_cells
from hpacells.review.session import ReviewSession
from hpacells.review.words import Word, open_words

HOSTILE = "<img src=x onerror=alert(1)>"
SHAPE = (120, 200)
RADIUS = 20
CENTRES = [(25 + 50 * i, 60) for i in range(4)]
START = datetime(2026, 5, 1, tzinfo=UTC)


def make_cell(fov_id, cell_id, *, doubt, top, status="ok"):
    row = dict.fromkeys(CELL_SCHEMA.names, 0)
    row |= dict.fromkeys(PROBABILITY_COLUMNS, 0.01) | dict.fromkeys(CELL_QUALITY_COLUMNS, False)
    x, y = CENTRES[cell_id - 1]
    box = {"r0": y - RADIUS, "c0": x - RADIUS, "r1": y + RADIUS + 1, "c1": x + RADIUS + 1}
    return (
        row
        | box
        | {
            "fov_id": fov_id,
            "cell_id": cell_id,
            "status": status,
            "reason": "debris" if status == "rejected" else None,
            "area_um2": 8.0,
            "touches_border": False,
            "qc_saturated": cell_id == 2,
            "doubt": doubt,
            PROBABILITY_COLUMNS[top]: 0.9,
            PROBABILITY_COLUMNS[7]: 0.6,
        }
    )


def make_field(fov_id, **known):
    row = dict.fromkeys(FIELD_SCHEMA.names)
    row |= {"fov_id": fov_id, "status": "done", "width": SHAPE[1], "height": SHAPE[0]}
    return row | {"pixel_size_um": 0.08, "n_ok": 3, "n_border": 0, "n_rejected": 1} | known


def draw_pixels():
    rows, columns = np.indices(SHAPE)
    return [((rows * k + columns) % 256).astype(np.uint8) for k in range(1, len(CHANNELS) + 1)]


def write_run(folder, cells, fields):
    """Tables and masks, but no ``run.json``."""
    folder.mkdir(parents=True)
    cells = sorted(cells, key=lambda row: (row["fov_id"], row["cell_id"]))
    pq.write_table(pa.Table.from_pylist(cells, CELL_SCHEMA), folder / "cells.parquet")
    pq.write_table(pa.Table.from_pylist(fields, FIELD_SCHEMA), folder / "fields.parquet")
    ids = np.zeros(SHAPE, np.uint16)
    for i, centre in enumerate(CENTRES, start=1):
        cv2.circle(ids, centre, RADIUS, i, -1)
    for field in fields:
        write_label_image(folder / "masks" / f"{field['fov_id']}_cells.png", ids)


def finish(folder, **provenance):
    (folder / "run.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder


@pytest.fixture
def run_folder(tmp_path):
    """Least certain first: plain 1, plain 2, hostile 1, hostile 2, plain 3, hostile 3."""
    images = tmp_path / "images"
    images.mkdir()
    for fov_id in ("plain", HOSTILE):
        for channel, plane in zip(CHANNELS, draw_pixels(), strict=True):
            cv2.imwrite(str(images / f"{fov_id}_{channel.value}.png"), plane)
    doubts = {("plain", 1): 0.9, ("plain", 2): 0.8, (HOSTILE, 1): 0.7, (HOSTILE, 2): 0.6}
    doubts |= {("plain", 3): 0.2, (HOSTILE, 3): 0.1}
    cells = [
        make_cell(fov_id, cell_id, doubt=doubts[fov_id, cell_id], top=cell_id)
        for fov_id, cell_id in doubts
    ]
    cells += [
        make_cell(fov_id, 4, doubt=1.0, top=0, status="rejected") for fov_id in ("plain", HOSTILE)
    ]
    fields = [make_field(HOSTILE, gene="<b>ACTB</b>"), make_field("plain")]
    folder = tmp_path / "run"
    write_run(folder, cells, fields)
    records = discover_fields(images, pixel_size_um=0.08)
    digests = {record.fov_id: digest_input(record) for record in records}
    return finish(folder, images=str(images), inputs_sha256=digests, pixel_size_um=0.08)


@pytest.fixture
def session(run_folder):
    store = open_words(run_folder)
    yield ReviewSession(read_cells(run_folder), store)
    store.close()


@pytest.fixture
def say():
    """Makes words: a fresh key and a later time each."""
    made = 0

    def make(cell, who="anna", action=Action.ACCEPT, locations=None, **rest):
        nonlocal made
        made += 1
        if locations is None and action in (Action.ACCEPT, Action.CORRECT):
            locations = (1,)
        values = {
            "key": str(UUID(int=made)),
            "fov_id": cell[0],
            "cell_id": cell[1],
            "who": who,
            "action": action,
            "locations": locations,
            "comment": None,
            "when": START + timedelta(minutes=made),
        }
        return Word(**(values | rest))

    return make
