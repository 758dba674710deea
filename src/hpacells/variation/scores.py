"""Variation scores of fields, genes and cell lines, from the tables of a run folder.

- A *field's* score is that of its ok cells (rejected and border cells are excluded); null below
  ``min_cells`` cells. Its interval draws cells with replacement.
- A *gene's* or *cell line's* score is the mean of its fields' scores, weighted by their cells, and
  so is each replicate: differences between fields do not count as differences between cells. Its
  interval speaks of the cells, not of other fields of the same gene.
- *effect* is the score minus the median score of the run's fields.
- *p* and *q* are null: they need a null of the classifier's own error on uniform fields. Until
  then a high score may be classifier error, above all with few cells.

The cells table is read in batches; kept are one field's cells, and per field and group a score
and the sums of its replicates.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpacells.core.cell_table import PROBABILITY_COLUMNS, VARIATION_SCHEMA, CellStatus, FieldStatus
from hpacells.core.errors import InputError, TableError
from hpacells.core.parquet import naming_damage, open_parquet
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import atomic_path
from hpacells.variation.config import VariationConfig
from hpacells.variation.measures import (
    bootstrap_counts,
    intensity_variation,
    location_distributions,
    spatial_variation,
)

__all__ = ["NEGATIVE_ONLY_KEY", "score_variation", "write_variation"]

NEGATIVE_ONLY_KEY = b"hpacells.variation"
"""Metadata of the table: JSON with ``negative_only_cells`` (left out of spatial scores)."""

_GROUP_LEVELS = ("gene", "cell_line")
_FIELD_COLUMNS = ("fov_id", "status", *_GROUP_LEVELS)
_CELL_COLUMNS = ("fov_id", "status", "protein_mean", *PROBABILITY_COLUMNS)
_KINDS = ("spatial", "intensity")
_BATCH_ROWS = 16_384

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Measured:
    """One kind of variation of one field: score, replicates ``(B,)``, cells behind it."""

    score: float
    replicates: Floats
    n_cells: int


@dataclass
class _Group:
    """Sums over the fields of a gene or cell line."""

    n_cells: int = 0
    weight: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    score: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0.0))
    replicates: dict[str, Floats | float] = field(
        default_factory=lambda: dict.fromkeys(_KINDS, 0.0)
    )

    def add(self, n_cells: int, measured: dict[str, _Measured]) -> None:
        self.n_cells += n_cells
        for kind, values in measured.items():
            self.weight[kind] += values.n_cells
            self.score[kind] += values.n_cells * values.score
            self.replicates[kind] = self.replicates[kind] + values.n_cells * values.replicates


def write_variation(
    run_folder: Path,
    config: VariationConfig | None = None,
    *,
    progress: ProgressCallback = silent,
) -> pa.Table:
    """Score the variation of a run folder and write its ``variation.parquet``.

    Parameters
    ----------
    run_folder
        With ``cells.parquet`` (sorted by fov_id) and ``fields.parquet``.
    config
        Settings; the defaults when None.
    progress
        Told of each field.

    Returns
    -------
    pyarrow.Table
        As written; see ``score_variation``.

    Raises
    ------
    InputError
        When a table is missing.
    TableError
        When a table is damaged or lacks a column, or the two do not fit together.
    """
    paths = [run_folder / name for name in ("cells.parquet", "fields.parquet")]
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path}: expected a run folder's table, found none. Make it with 'hpacells run'."
            )
    files = []
    for path in paths:
        with naming_damage(path, "Make the run again in another folder."):
            files.append(open_parquet(path))
    cells, fields = files
    _check_columns(cells.schema_arrow, _CELL_COLUMNS, str(paths[0]))
    _check_columns(fields.schema_arrow, _FIELD_COLUMNS, str(paths[1]))
    batches = cells.iter_batches(_BATCH_ROWS, columns=list(_CELL_COLUMNS))
    columns = fields.read(list(_FIELD_COLUMNS))
    table = _score(batches, columns, config or VariationConfig(), progress)
    with atomic_path(run_folder / "variation.parquet") as temporary:
        pq.write_table(table, temporary)
    progress(len(columns), len(columns), "written")
    return table


def score_variation(
    cells: pa.Table, fields: pa.Table, config: VariationConfig | None = None
) -> pa.Table:
    """Score the variation between the cells of each field, gene and cell line.

    Parameters
    ----------
    cells
        With the columns of ``CELL_SCHEMA``, sorted by fov_id.
    fields
        With the columns of ``FIELD_SCHEMA``.
    config
        Settings; the defaults when None.

    Returns
    -------
    pyarrow.Table
        ``VARIATION_SCHEMA``: one row per done field, per gene and per cell line, ids ascending
        within each level. Rows do not depend on each other but through ``_effect``.

    Raises
    ------
    TableError
        When a table lacks a column, the cells are not sorted, or cells stand in no field.
    """
    _check_columns(cells.schema, _CELL_COLUMNS, "cells table")
    _check_columns(fields.schema, _FIELD_COLUMNS, "fields table")
    batches = cells.select(list(_CELL_COLUMNS)).to_batches(_BATCH_ROWS)
    return _score(batches, fields, config or VariationConfig(), silent)


def _score(
    batches: Iterable[pa.RecordBatch],
    fields: pa.Table,
    config: VariationConfig,
    progress: ProgressCallback,
) -> pa.Table:
    done = fields.filter(pc.equal(fields["status"], FieldStatus.DONE.value)).sort_by("fov_id")
    known = set(fields["fov_id"].to_pylist())
    groups_of = {
        row["fov_id"]: [(level, row[level]) for level in _GROUP_LEVELS if row[level] is not None]
        for row in done.select(["fov_id", *_GROUP_LEVELS]).to_pylist()
    }
    rows = {("field", fov_id): _empty_row("field", fov_id) for fov_id in groups_of}
    groups = {key: _Group() for keys in groups_of.values() for key in keys}
    negative_only = 0
    for count, (fov_id, cells) in enumerate(_by_field(batches), start=1):
        if fov_id not in known:
            raise TableError(f"cells table: field {fov_id} is not in the fields table")
        if fov_id not in groups_of:
            continue
        measured, n_cells, n_negative = _measure_field(fov_id, cells, config)
        negative_only += n_negative
        row = rows["field", fov_id]
        row["n_cells"] = n_cells
        for kind, values in measured.items():
            _fill(row, kind, values.score, values.replicates, config)
        for key in groups_of[fov_id]:
            groups[key].add(n_cells, measured)
        progress(count, len(known), fov_id)
    rows |= {key: _group_row(*key, group, config) for key, group in groups.items()}
    _add_effects(list(rows.values()))
    levels = ("field", *_GROUP_LEVELS)
    ordered = sorted(rows, key=lambda key: (levels.index(key[0]), key[1]))
    notes = json.dumps({"negative_only_cells": negative_only, "min_cells": config.min_cells})
    table = pa.Table.from_pylist([rows[key] for key in ordered], schema=VARIATION_SCHEMA)
    return table.replace_schema_metadata({NEGATIVE_ONLY_KEY: notes.encode()})


def _group_row(level: str, name: str, group: _Group, config: VariationConfig) -> dict[str, Any]:
    row = _empty_row(level, name)
    row["n_cells"] = group.n_cells
    for kind, weight in group.weight.items():
        if weight:
            replicates = np.asarray(group.replicates[kind]) / weight
            _fill(row, kind, group.score[kind] / weight, replicates, config)
    return row


def _by_field(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
    """Cut sorted batches into fields; a field may run over several batches."""
    current: str | None = None
    parts: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        runs = pc.run_end_encode(batch["fov_id"])
        start = 0
        for end, fov_id in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            if current is not None and fov_id != current:
                if fov_id < current:
                    raise TableError(
                        f"cells table: expected it sorted by fov_id, got {fov_id} after {current}"
                    )
                yield current, pa.Table.from_batches(parts)
                parts = []
            current = fov_id
            parts.append(batch.slice(start, end - start))
            start = end
    if current is not None:
        yield current, pa.Table.from_batches(parts)


def _measure_field(
    fov_id: str, cells: pa.Table, config: VariationConfig
) -> tuple[dict[str, _Measured], int, int]:
    """Measure one field: what is defined of it, its ok cells, and those of Negative alone."""
    ok = cells.filter(pc.equal(cells["status"], CellStatus.OK.value))
    columns = [ok[name].to_numpy() for name in PROBABILITY_COLUMNS]
    distributions = location_distributions(np.stack(columns, axis=1))
    amounts = ok["protein_mean"].to_numpy().astype(np.float64)
    digest = hashlib.sha256(f"{config.seed}:{fov_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    measured = {}
    for kind, measure, values in (
        ("spatial", spatial_variation, distributions),
        ("intensity", intensity_variation, amounts),
    ):
        n = len(values)
        if n < config.min_cells:
            continue
        score = float(measure(values, np.ones((1, n), np.int64))[0])
        if np.isnan(score):
            continue
        replicates = measure(values, bootstrap_counts(rng, n, config.n_replicates))
        replicates = np.clip(np.nan_to_num(replicates, nan=score) * n / (n - 1), 0.0, 1.0)
        measured[kind] = _Measured(score, replicates, n)
    return measured, ok.num_rows, ok.num_rows - len(distributions)


def _empty_row(level: str, name: str) -> dict[str, Any]:
    return {"level": level, "id": name, "n_cells": 0}


def _fill(
    row: dict[str, Any], kind: str, score: float, replicates: Floats, config: VariationConfig
) -> None:
    tails = [(1 - config.level) / 2, (1 + config.level) / 2]
    low, high = np.quantile(replicates, tails)
    row |= {f"{kind}_score": score, f"{kind}_low": float(low), f"{kind}_high": float(high)}


def _add_effects(rows: list[dict[str, Any]]) -> None:
    for kind in _KINDS:
        name = f"{kind}_score"
        scores = [row[name] for row in rows if row["level"] == "field" and name in row]
        if scores:
            median = float(np.median(np.array(scores, np.float64)))
            for row in rows:
                if name in row:
                    row[f"{kind}_effect"] = row[name] - median


def _check_columns(schema: pa.Schema, wanted: tuple[str, ...], where: str) -> None:
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise TableError(
            f"{where}: expected the columns of a run folder's table, {', '.join(missing)} "
            "missing. Has 'hpacells run' or 'hpacells predict' written it?"
        )
