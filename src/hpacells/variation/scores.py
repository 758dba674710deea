"""Variation scores of fields, genes and cell lines, from the tables of a run folder.

- A *field's* score is that of the cells that count (``variation.field_cells``: whole, no quality
  flag); null below ``min_cells`` of them. Its interval draws cells with replacement.
- *effect* and *p* of a field compare its cells with the model's null (``variation.null``): how many
  doublings above what classifier error and ordinary scatter make of such cells, and how often they
  make as much. Both are null where the model has no null.
- A *gene's* or *cell line's* score, replicates and effect are the means over its fields, weighted
  by their cells: differences between fields do not count as differences between cells. Its interval
  speaks of the cells, not of other fields of the same gene. Its p joins those of its fields by the
  Cauchy combination, which holds when they depend on each other, as fields of one antibody do.
- *q* is p after the false-discovery correction of Benjamini and Hochberg over the rows of one
  level, spatial and intensity apart.

The cells table is read in batches; kept are one field's cells, and per field and group a score
and the sums of its replicates.

References
----------
Y. Liu and J. Xie, "Cauchy combination test", J. Am. Stat. Assoc. 115 (2020),
doi:10.1080/01621459.2018.1554485.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import false_discovery_control

from hpacells.core.cell_table import VARIATION_SCHEMA
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import atomic_path
from hpacells.runtime.variation_null import FoundNull, VariationNull, find_null
from hpacells.variation.config import VariationConfig
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.measures import (
    bootstrap_counts,
    intensity_variation,
    location_distributions,
    spatial_variation,
)
from hpacells.variation.null import KINDS, Judged, describe_field, judge_field
from hpacells.variation.run_cells import LEVELS, RunCells, open_run, run_of_tables

__all__ = ["NOTES_KEY", "field_generator", "score_variation", "write_variation"]

NOTES_KEY = b"hpacells.variation"
"""Metadata of the table, JSON: ``negative_only_cells`` (left out of spatial scores), ``min_cells``,
and ``no_p``: why p and q, or those of one kind, are null, or an empty text."""

_NO_EMBEDDINGS = (
    "No p and q of intensity: the model's null judges by embeddings, and embeddings.parquet is "
    "missing."
)
_NO_NULL = FoundNull(None, "No p and q: no measurement-error null was given.")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Measured:
    """One kind of variation of one field: score, replicates ``(B,)``, cells behind it."""

    score: float
    replicates: Floats
    n_cells: int
    judged: Judged | None


@dataclass
class _Group:
    """What the fields of a gene or cell line say."""

    n_cells: int = 0
    weight: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    score: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    replicates: dict[str, Floats | float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    judged: dict[str, list[tuple[int, Judged]]] = field(
        default_factory=lambda: {kind: [] for kind in KINDS}
    )

    def add(self, n_cells: int, measured: dict[str, _Measured]) -> None:
        self.n_cells += n_cells
        for kind, values in measured.items():
            self.weight[kind] += values.n_cells
            self.score[kind] += values.n_cells * values.score
            self.replicates[kind] = self.replicates[kind] + values.n_cells * values.replicates
            if values.judged is not None:
                self.judged[kind].append((values.n_cells, values.judged))


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
        As written; see ``score_variation``. The null is the one that ``find_null`` finds.

    Raises
    ------
    InputError
        When a table is missing.
    TableError
        When a table is damaged or lacks a column, or the two do not fit together.
    ModelError
        When the null is malformed.
    """
    run = open_run(run_folder)
    table = _score(run, config or VariationConfig(), find_null(run_folder), progress)
    with atomic_path(run_folder / "variation.parquet") as temporary:
        pq.write_table(table, temporary)
    progress(len(run.known), len(run.known), "written")
    return table


def score_variation(
    cells: pa.Table,
    fields: pa.Table,
    config: VariationConfig | None = None,
    *,
    null: VariationNull | None = None,
) -> pa.Table:
    """Score the variation between the cells of each field, gene and cell line.

    Parameters
    ----------
    cells
        With the columns of ``CELL_SCHEMA``, sorted by fov_id, and ``embedding`` where the null
        asks for it.
    fields
        With the columns of ``FIELD_SCHEMA``.
    config
        Settings; the defaults when None.
    null
        Of the model that scored the cells; without one effect, p and q are null.

    Returns
    -------
    pyarrow.Table
        ``VARIATION_SCHEMA``: one row per done field, per gene and per cell line, ids ascending
        within each level. Rows do not depend on each other but through ``_q``.

    Raises
    ------
    TableError
        When a table lacks a column, the cells are not sorted, or cells stand in no field.
    """
    run = run_of_tables(cells, fields)
    found = _NO_NULL if null is None else FoundNull(null)
    return _score(run, config or VariationConfig(), found, silent)


def field_generator(seed: int, fov_id: str, purpose: str = "") -> np.random.Generator:
    """Give a field a generator of its own, whatever other fields there are."""
    digest = hashlib.sha256(f"{seed}:{fov_id}{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _score(
    run: RunCells, config: VariationConfig, found: FoundNull, progress: ProgressCallback
) -> pa.Table:
    rows = {("field", fov_id): _empty_row("field", fov_id) for fov_id in run.groups}
    groups = {key: _Group() for keys in run.groups.values() for key in keys}
    negative_only = 0
    learned = found.null is not None and bool(found.null.amount_weights)
    no_p = found.why if run.has_embeddings or not learned else _NO_EMBEDDINGS
    for count, (fov_id, cells) in enumerate(run.done_fields(embedded=learned), start=1):
        measured = _measure_field(fov_id, cells, config, found.null)
        negative_only += int((~cells.has_place).sum())
        row = rows["field", fov_id]
        row["n_cells"] = len(cells)
        for kind, values in measured.items():
            _fill(row, kind, values.score, values.replicates, config)
            if values.judged is not None:
                row |= {f"{kind}_effect": values.judged.effect, f"{kind}_p": values.judged.p}
        for key in run.groups[fov_id]:
            groups[key].add(len(cells), measured)
        progress(count, len(run.known), fov_id)
    rows |= {key: _group_row(*key, group, config) for key, group in groups.items()}
    _add_q(list(rows.values()))
    ordered = sorted(rows, key=lambda key: (LEVELS.index(key[0]), key[1]))
    notes = {
        "negative_only_cells": negative_only,
        "min_cells": config.min_cells,
        "no_p": no_p,
    }
    table = pa.Table.from_pylist([rows[key] for key in ordered], schema=VARIATION_SCHEMA)
    return table.replace_schema_metadata({NOTES_KEY: json.dumps(notes).encode()})


def _measure_field(
    fov_id: str, cells: FieldCells, config: VariationConfig, null: VariationNull | None
) -> dict[str, _Measured]:
    """Measure what is defined of one field."""
    rng = field_generator(config.seed, fov_id)
    statistics: dict[str, float] = {}
    features = np.zeros(0)
    if null and len(cells):
        statistics, features = describe_field(cells, null.amount_weights)
    measured = {}
    for kind, measure, values in (
        ("spatial", spatial_variation, location_distributions(cells.probabilities)),
        ("intensity", intensity_variation, cells.protein),
    ):
        n = len(values)
        if n < config.min_cells:
            continue
        score = float(measure(values, np.ones((1, n), np.int64))[0])
        if np.isnan(score):
            continue
        replicates = measure(values, bootstrap_counts(rng, n, config.n_replicates))
        replicates = np.clip(np.nan_to_num(replicates, nan=score) * n / (n - 1), 0.0, 1.0)
        judged = None
        if null and kind in statistics:
            judged = judge_field(null, kind, statistics[kind], features)
        measured[kind] = _Measured(score, replicates, n, judged)
    return measured


def _group_row(level: str, name: str, group: _Group, config: VariationConfig) -> dict[str, Any]:
    row = _empty_row(level, name)
    row["n_cells"] = group.n_cells
    for kind, weight in group.weight.items():
        if weight:
            replicates = np.asarray(group.replicates[kind]) / weight
            _fill(row, kind, group.score[kind] / weight, replicates, config)
        if group.judged[kind]:
            n = np.array([n for n, _ in group.judged[kind]], np.float64)
            effects = np.array([each.effect for _, each in group.judged[kind]])
            p = np.array([each.p for _, each in group.judged[kind]])
            row |= {f"{kind}_effect": float(n @ effects / n.sum()), f"{kind}_p": _join_p(p, n)}
    return row


def _join_p(p: Floats, weights: Floats) -> float:
    """Cauchy combination; of a single p, itself."""
    if len(p) == 1:
        return float(p[0])
    bounded = np.minimum(p, 1 - 1e-6)  # a p of exactly 1 would outweigh all others
    total = weights @ np.tan((0.5 - bounded) * np.pi) / weights.sum()
    return float(0.5 - np.arctan(total) / np.pi)


def _empty_row(level: str, name: str) -> dict[str, Any]:
    return {"level": level, "id": name, "n_cells": 0}


def _fill(
    row: dict[str, Any], kind: str, score: float, replicates: Floats, config: VariationConfig
) -> None:
    tails = [(1 - config.level) / 2, (1 + config.level) / 2]
    low, high = np.quantile(replicates, tails)
    row |= {f"{kind}_score": score, f"{kind}_low": float(low), f"{kind}_high": float(high)}


def _add_q(rows: list[dict[str, Any]]) -> None:
    """Correct p for the number of rows of its level."""
    for kind in KINDS:
        for level in LEVELS:
            judged = [row for row in rows if row["level"] == level and f"{kind}_p" in row]
            if judged:
                q = false_discovery_control([row[f"{kind}_p"] for row in judged])
                for row, value in zip(judged, q, strict=True):
                    row[f"{kind}_q"] = float(value)
