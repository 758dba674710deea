"""Whether what differs between cells goes with nucleus size or DNA content (the cell cycle).

*Intensity*: Spearman's rank correlation of the protein's mean with the covariate, -1 to 1.
*Spatial*: the share of the variance of the cells' distributions (square roots, as Hellinger's
distance takes them) that runs along the covariate's ranks, 0 to 1: a redundancy analysis.
A gene's or cell line's value is the mean of its fields', weighted by cells.

p by permutation of the covariate among the cells *of a field* (two-sided for intensity), with the
observed order counted among the permutations; q by Benjamini and Hochberg within a level, kind and
covariate. This permutation tests the association only: it says nothing about whether the cells
differ (``variation.null`` does).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import false_discovery_control, rankdata

from hpacells.core.storage import atomic_path
from hpacells.variation.config import VariationConfig
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.measures import location_distributions
from hpacells.variation.null import KINDS
from hpacells.variation.run_cells import LEVELS, RunCells, open_run
from hpacells.variation.scores import field_generator

__all__ = [
    "ASSOCIATIONS_FILE",
    "ASSOCIATION_SCHEMA",
    "COVARIATES",
    "find_associations",
    "write_associations",
]

ASSOCIATIONS_FILE = "variation_associations.parquet"
COVARIATES = ("nucleus_area_um2", "dna_total")
ASSOCIATION_SCHEMA = pa.schema(
    [
        pa.field("level", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("n_cells", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("covariate", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
    ]
)
"""``value``: rank correlation (intensity) or share of variance (spatial)."""

Floats = npt.NDArray[np.float64]
Key = tuple[str, str, str, str]
"""Level, id, kind, covariate."""


@dataclass
class _Sum:
    """Of cells, and of the statistics of the observed order (first) and its permutations."""

    n_cells: int
    statistics: Floats


def write_associations(run_folder: Path, config: VariationConfig | None = None) -> pa.Table:
    """Test the associations of a run folder and write ``variation_associations.parquet``.

    Raises
    ------
    InputError, TableError
        As ``variation.scores.write_variation``.
    """
    table = find_associations(open_run(run_folder), config or VariationConfig())
    with atomic_path(run_folder / ASSOCIATIONS_FILE) as temporary:
        pq.write_table(table, temporary)
    return table


def find_associations(run: RunCells, config: VariationConfig) -> pa.Table:
    """Test the associations of each field, gene and cell line.

    Parameters
    ----------
    run
        Fields and cells.
    config
        Of which ``min_cells``, ``n_permutations`` and ``seed`` are used.

    Returns
    -------
    pyarrow.Table
        ``ASSOCIATION_SCHEMA``, by level, id, kind and covariate; no row where the cells are too
        few, or do not differ in the covariate or in what is told.
    """
    sums: dict[Key, _Sum] = {}
    for fov_id, cells in run.done_fields():
        for kind in KINDS:
            for covariate in COVARIATES:
                rng = field_generator(config.seed, fov_id, covariate)
                n, statistics = _permuted(cells, kind, covariate, config=config, rng=rng)
                if n:
                    for level, name in [("field", fov_id), *run.groups[fov_id]]:
                        key = (level, name, kind, covariate)
                        total = sums.setdefault(key, _Sum(0, np.zeros_like(statistics)))
                        total.n_cells += n
                        total.statistics += n * statistics
    order = sorted(sums, key=lambda key: (LEVELS.index(key[0]), *key[1:]))
    rows = [_row(key, sums[key]) for key in order]
    _add_q(rows)
    return pa.Table.from_pylist(rows, schema=ASSOCIATION_SCHEMA)


def _permuted(
    cells: FieldCells,
    kind: str,
    covariate: str,
    *,
    config: VariationConfig,
    rng: np.random.Generator,
) -> tuple[int, Floats]:
    """Give the cells used and ``(1 + B,)`` statistics; 0 cells where nothing is defined."""
    known = cells.nucleus_area_um2 > 0
    if kind == "spatial":
        known = known & cells.has_place
    of_cells = cells.take(np.flatnonzero(known))
    n = len(of_cells)
    if n < config.min_cells:
        return 0, np.zeros(0)
    ranks = rankdata(getattr(of_cells, covariate))
    if kind == "spatial":
        values = np.sqrt(location_distributions(of_cells.probabilities))
    else:
        values = rankdata(of_cells.protein)[:, None]
    ranks, values = ranks - ranks.mean(), values - values.mean(axis=0)
    size = float(np.sqrt((ranks**2).sum() * (values**2).sum()))
    if size < 1e-9:
        return 0, np.zeros(0)
    orders = np.tile(ranks, (1 + config.n_permutations, 1))
    orders[1:] = rng.permuted(orders[1:], axis=1)
    along = orders @ values / size
    return n, along[:, 0] if kind == "intensity" else (along**2).sum(axis=1)


def _row(key: Key, total: _Sum) -> dict[str, Any]:
    level, name, kind, covariate = key
    sizes = np.abs(total.statistics)
    p = float((sizes >= sizes[0] - 1e-12).mean())
    value = float(total.statistics[0] / total.n_cells)
    told = {"n_cells": total.n_cells, "kind": kind, "covariate": covariate, "value": value, "p": p}
    return {"level": level, "id": name, **told}


def _add_q(rows: list[dict[str, Any]]) -> None:
    families: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault((row["level"], row["kind"], row["covariate"]), []).append(row)
    for family in families.values():
        q = false_discovery_control([row["p"] for row in family])
        for row, value in zip(family, q, strict=True):
            row["q"] = float(value)
