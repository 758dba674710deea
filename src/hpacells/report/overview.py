"""What the page says of a run as a whole: counts, warnings, which fields are pictured.

The tables are read in pieces; what is kept is bounded by the settings, not by the run.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any

import numpy as np

from hpacells.core.cell_table import PROBABILITY_COLUMNS, CellStatus, FieldStatus
from hpacells.core.locations import N_LOCATIONS
from hpacells.report.config import ReportSettings
from hpacells.report.run_tables import (
    FieldRow,
    Variation,
    count_fields,
    iterate_associations,
    iterate_cells,
    iterate_fields,
    iterate_variation,
)

__all__ = ["RunOverview", "rank_field", "read_overview"]


@dataclass(frozen=True)
class RunOverview:
    """A run in numbers.

    Parameters
    ----------
    counts
        Fields ``done`` and ``failed``; cells ``ok``, ``border`` and ``rejected``; fields without
        a usable cell (``empty``) and with few ok cells (``few``), of those done, and per name of
        ``FIELD_QUALITY_COLUMNS`` those with that flag.
    flagged
        The first fields with a flag, sorted as in ``fields.parquet``.
    cells_by_location
        ok and border cells per location with their highest score there, in vocabulary order.
    listed
        Rows of the table of fields, done ones: the first of ``fields.parquet``, the most variable
        ones first.
    failed
        Rows of the table of failed fields.
    pictured
        Fields shown with picture and cells, the most variable ones first (``rank_field``).
    variation
        Scores of the listed and pictured fields, by fov_id.
    group_variation
        Scores per gene and per cell line.
    associations
        The strongest of what goes with variation, by q: rows of ``ASSOCIATION_SCHEMA``.
    """

    counts: Counter[str]
    flagged: tuple[FieldRow, ...]
    cells_by_location: tuple[int, ...]
    listed: tuple[FieldRow, ...]
    failed: tuple[FieldRow, ...]
    pictured: tuple[FieldRow, ...]
    variation: dict[str, Variation]
    group_variation: tuple[Variation, ...]
    associations: tuple[dict[str, Any], ...]

    @property
    def n_fields(self) -> int:
        """Fields of the run, done or failed."""
        return self.counts["done"] + self.counts["failed"]

    @property
    def has_q(self) -> bool:
        """Whether any variation score has a q: the model has a null of its error."""
        rows = (*self.variation.values(), *self.group_variation)
        return any(kind["q"] is not None for row in rows for kind in (row.spatial, row.intensity))


def read_overview(run_folder: Path, settings: ReportSettings) -> RunOverview:
    """Read a run folder's tables once each and keep what the page's head and table show.

    Parameters
    ----------
    run_folder
        With ``fields.parquet`` and ``cells.parquet``; ``variation.parquet`` where made.
    settings
        How many fields to list and to picture.

    Raises
    ------
    InputError
        When a table or a column is missing.
    """
    limit = settings.fields_per_page * settings.max_pages
    favourites = _choose_favourites(run_folder, settings, limit)
    counts: Counter[str] = Counter()
    listed: list[FieldRow] = []
    failed: list[FieldRow] = []
    first: list[FieldRow] = []
    chosen: list[FieldRow] = []
    flagged: list[FieldRow] = []
    for row in iterate_fields(run_folder):
        _count(counts, row, settings.few_cells)
        if row.flags and len(flagged) < settings.max_listed_fields:
            flagged.append(row)
        kept = failed if row.status is FieldStatus.FAILED else listed
        if len(kept) < settings.max_listed_fields:
            kept.append(row)
        if row.status is FieldStatus.DONE:
            if row.fov_id in favourites:
                chosen.append(row)
            elif len(first) < limit:
                first.append(row)
    chosen += first[: limit - len(chosen)]
    shown = {row.fov_id for row in (*listed, *chosen)}
    variation = list(_keep_variation(run_folder, shown, settings.max_listed_fields))
    scores = {row.row_id: row for row in variation if row.level == "field"}

    def place(row: FieldRow) -> tuple[tuple[float, float], str]:
        q, score = rank_field(scores.get(row.fov_id))
        return (-q, -score), row.fov_id

    return RunOverview(
        counts=counts,
        flagged=tuple(flagged),
        cells_by_location=_count_by_location(run_folder),
        listed=tuple(sorted(listed, key=place)),
        failed=tuple(failed),
        pictured=tuple(sorted(chosen, key=place)),
        variation=scores,
        group_variation=tuple(row for row in variation if row.level != "field"),
        associations=tuple(
            nsmallest(
                settings.max_associations,
                iterate_associations(run_folder),
                key=lambda row: row["q"],
            )
        ),
    )


def rank_field(variation: Variation | None) -> tuple[float, float]:
    """Say how variable a field is, for sorting: larger is more.

    Parameters
    ----------
    variation
        Of the field; None where unknown.

    Returns
    -------
    tuple
        Minus the spatial q (-1 where unknown), then the spatial score (-1 where unknown).
    """
    if variation is None or variation.spatial["score"] is None:
        return -1.0, -1.0
    q = variation.spatial["q"]
    return -1.0 if q is None else -q, variation.spatial["score"]


def _choose_favourites(run_folder: Path, settings: ReportSettings, limit: int) -> set[str]:
    """Name the fields that vary most, where there are more than can be pictured."""
    if count_fields(run_folder) <= limit:
        return set()
    rankable = (
        (rank_field(row), row.row_id)
        for row in iterate_variation(run_folder)
        if row.level == "field"
        and row.n_cells >= settings.few_cells
        and row.spatial["score"] is not None
    )
    return {fov_id for _, fov_id in nlargest(limit, rankable)}


def _count(counts: Counter[str], row: FieldRow, few_cells: int) -> None:
    counts[row.status.value] += 1
    counts["ok"] += row.n_ok
    counts["border"] += row.n_border
    counts["rejected"] += row.n_rejected
    counts.update(row.flags)
    if row.status is FieldStatus.DONE:
        counts["empty"] += row.n_cells == 0
        counts["few"] += row.n_cells > 0 and row.n_ok < few_cells


def _keep_variation(run_folder: Path, shown: set[str], limit: int) -> Iterator[Variation]:
    n_groups = 0
    for row in iterate_variation(run_folder):
        if row.level == "field":
            if row.row_id in shown:
                yield row
        elif n_groups < limit:
            n_groups += 1
            yield row


def _count_by_location(run_folder: Path) -> tuple[int, ...]:
    totals = np.zeros(N_LOCATIONS, np.int64)
    for _, cells in iterate_cells(run_folder):
        counted = cells["status"].to_numpy() != CellStatus.REJECTED.value
        scores = np.column_stack([cells[name].to_numpy() for name in PROBABILITY_COLUMNS])
        totals += np.bincount(scores[counted].argmax(axis=1), minlength=N_LOCATIONS)
    return tuple(totals.tolist())
