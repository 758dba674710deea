"""A crop store and a model to tables of scores, one field in memory at a time.

Rejected cells have no crop in a store: their scores are 0, their doubt 1, and they have no
embedding. (``predict.engine`` looks at rejected cells too.)
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hpacells.core.cell_table import (
    CELL_SCHEMA,
    EMBEDDING_SCHEMA,
    FIELD_SCHEMA,
    IMAGE_COLUMNS,
    CellStatus,
    CellTable,
    FieldStatus,
)
from hpacells.core.errors import ModelError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import installed_versions, sha256_file
from hpacells.core.storage import output_lock, write_json
from hpacells.crops.field_crops import FieldCrops
from hpacells.crops.store import CropStore
from hpacells.predict.config import RUN_FORMAT
from hpacells.predict.field import score_cells
from hpacells.predict.networks import Networks, open_classifier
from hpacells.predict.parquet_rows import ParquetRows
from hpacells.predict.run_folder import (
    CELLS_FILE,
    EMBEDDINGS_FILE,
    FIELDS_FILE,
    RUN_FILE,
    SETTINGS_FILE,
    check_owner,
    read_run,
)
from hpacells.predict.term_rows import TERMS_TABLE, TermRows
from hpacells.runtime.doubt import score_doubt
from hpacells.runtime.model_folder import SPEC_FILE, ModelFolder
from hpacells.runtime.postprocess import score_field
from hpacells.runtime.session import CellSession
from hpacells.runtime.terms import score_terms
from hpacells.runtime.variation_null import copy_null

__all__ = ["predict_store"]


def predict_store(
    store: CropStore,
    out: Path,
    model: ModelFolder,
    *,
    networks: Networks | None = None,
    threads: int = 1,
    progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """Classify the cells of a store; ``run.json`` comes last.

    Parameters
    ----------
    store
        Finished.
    out
        Gets ``cells.parquet``, ``fields.parquet``, ``embeddings.parquet`` and, where the model has
        terms, ``terms.parquet``.
    model
        Whose crops the store must hold.
    networks
        How its network is run; None: on ONNX Runtime.
    threads
        Cells classified at the same time.
    progress
        Told after each field.

    Returns
    -------
    dict
        The content of ``run.json``; where it was there already, nothing is rewritten.

    Raises
    ------
    ModelError
        When the store's crops are of another size or scale than the model's.
    OutputError
        When ``out`` holds something else.
    """
    _check_spec(store, model)
    networks = networks or Networks()
    settings = _describe(store, model, networks)
    check_owner(out, settings)
    with output_lock(out):
        check_owner(out, settings)
        earlier = read_run(out)
        if earlier is not None:
            return earlier
        write_json(out / SETTINGS_FILE, settings)
        copy_null(model.path, out)
        session = open_classifier(model, networks, threads=threads)
        counts = _write_scores(store, out, session, progress=progress)
        content = {**settings, "versions": installed_versions(), "counts": counts}
        write_json(out / RUN_FILE, content)
        return content


def _check_spec(store: CropStore, model: ModelFolder) -> None:
    # what stands outside the cell is the network's affair: a store keeps it, and the mask
    wanted, found = model.spec, store.spec
    if (found.crop_px, found.pixel_size_um) != (wanted.crop_px, wanted.pixel_size_um):
        raise ModelError(
            f"{store.path}: model {model.model_id} expects crops of {wanted.crop_px} px at "
            f"{wanted.pixel_size_um} µm; the store holds {found.crop_px} px at "
            f"{found.pixel_size_um} µm. Make another store: 'hpacells crop IMAGES MASKS OUT "
            "--model M'."
        )


def _describe(store: CropStore, model: ModelFolder, networks: Networks) -> dict[str, Any]:
    return {
        "format": RUN_FORMAT,
        "crops": str(store.path.resolve()),
        "crops_sha256": sha256_file(store.path / "fields.parquet"),
        "model_id": model.model_id,
        "model_sha256": sha256_file(model.path / SPEC_FILE),
        **networks.describe(),
    }


def _write_scores(
    store: CropStore, out: Path, session: CellSession, *, progress: ProgressCallback
) -> dict[str, int]:
    """Write the tables and count: fields = done + failed, cells = ok + border + rejected."""
    rows = {row["fov_id"]: row for row in store.fields_table().to_pylist()}
    counts: Counter[str] = Counter()
    with (
        ParquetRows(out / CELLS_FILE, CELL_SCHEMA) as cell_rows,
        ParquetRows(out / EMBEDDINGS_FILE, EMBEDDING_SCHEMA) as embedding_rows,
        ParquetRows(out / FIELDS_FILE, FIELD_SCHEMA) as field_rows,
        TermRows(out / TERMS_TABLE) as term_rows,
    ):
        parts = store.fields()
        for i, fov_id in enumerate(sorted(rows), start=1):
            row = rows[fov_id]
            counts[row["status"]] += 1
            known = {name: row[name] for name in _KEPT_COLUMNS}
            if row["status"] == FieldStatus.DONE:
                cells, embedding, scored = _score_part(next(parts), session)
                cell_rows.add(cells.table)
                embedding_rows.add(embedding)
                term_rows.add(embedding)
                counts.update({status.value: cells.count(status) for status in CellStatus})
                counts["cells"] += len(cells)
                known |= scored
            else:
                known |= {f"n_{status.value}": 0 for status in CellStatus}
            field_rows.add(pa.Table.from_pylist([known], schema=FIELD_SCHEMA))
            progress(i, len(rows), fov_id)
    names = [status.value for kind in (FieldStatus, CellStatus) for status in kind]
    return {"fields": len(rows), **{name: counts[name] for name in (*names, "cells")}}


_KEPT_COLUMNS = (
    "fov_id",
    "status",
    "reason",
    "width",
    "height",
    "pixel_size_um",
    *METADATA_COLUMNS,
    "image_labels",
)


def _score_part(
    part: FieldCrops, session: CellSession
) -> tuple[CellTable, pa.Table, dict[str, Any]]:
    """Give the scored cells, their embeddings and terms, and scores and counts of the field."""
    kept_logits, kept_embedding = session.run(part.crops, part.cell_masks)
    ids = part.cells.table["cell_id"].to_numpy()
    kept = np.isin(ids, part.cell_ids)
    logits = np.zeros((len(ids), N_LOCATIONS), np.float32)
    embedding = np.zeros((len(ids), kept_embedding.shape[1]), np.float32)
    logits[kept], embedding[kept] = kept_logits, kept_embedding
    scores = score_field(logits, embedding, part.cells, session.model)
    doubt = np.ones(len(ids), np.float32)
    doubt[kept] = score_doubt(
        session.model.spec.doubt, part.crops, part.cell_masks, kept_embedding, scores.cell[kept]
    )
    cells = score_cells(part.cells, np.where(kept[:, None], scores.cell, np.float32(0)), doubt)
    embeddings = pa.table(
        {
            "fov_id": pa.array([part.fov_id] * len(kept_embedding), pa.string()),
            "cell_id": pa.array(part.cell_ids, pa.int32()),
            "embedding": pa.array(list(kept_embedding), pa.list_(pa.float32())),
        },
        schema=EMBEDDING_SCHEMA,
    )
    terms = score_terms(session.model, kept_embedding)
    if terms is not None:
        for name in terms.column_names:
            embeddings = embeddings.append_column(name, terms[name])
    counted = {f"n_{status.value}": part.cells.count(status) for status in CellStatus}
    # the stains are not looked at here: what else there is to say of them stays unknown
    no_cells = part.cells.count(CellStatus.REJECTED) == len(part.cells)
    image = dict(zip(IMAGE_COLUMNS, scores.image.tolist(), strict=True))
    return cells, embeddings, {**counted, "qc_no_cells": no_cells, **image}
