"""The cells of a finished run as arrays: what a review chooses from and shows numbers of.

About 120 bytes a cell are in memory. Masks and images are not read here, embeddings not at all.
Rejected cells (debris, cut off) are left out: there is nothing to say of them.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hpacells.core.cell_table import (
    CELL_QUALITY_COLUMNS,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
    CellStatus,
)
from hpacells.core.errors import InputError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.locations import NEGATIVE
from hpacells.core.parquet import naming_damage
from hpacells.core.provenance import sha256_file
from hpacells.core.run_tables import open_table
from hpacells.predict.run_folder import CELLS_FILE, FIELDS_FILE, RUN_FILE, read_run

__all__ = ["ReviewCells", "propose_locations", "read_cells"]

_BOX = ("r0", "c0", "r1", "c1")
_PLAIN = ("fov_id", "cell_id", "status", *_BOX, "area_um2", "doubt", *PROBABILITY_COLUMNS)
_FIELD_COLUMNS = ["fov_id", "width", "height", "pixel_size_um", *METADATA_COLUMNS]
_AGAIN = "Make it again with 'hpacells run'."


@dataclass(frozen=True)
class ReviewCells:
    """The ok and border cells of a run, in the order of ``cells.parquet``.

    Parameters
    ----------
    run_folder
        The run.
    provenance
        Content of ``run.json``.
    digest
        Of ``run.json``: another one, another run.
    fov_ids
        ``(N,)`` str objects.
    cell_ids
        ``(N,)`` int32.
    scores
        ``(N, K)`` float32 cell scores.
    doubt
        ``(N,)`` float32.
    boxes
        ``(N, 4)`` int32, half-open: r0, c0, r1, c1.
    area_um2
        ``(N,)`` float32.
    is_border
        ``(N,)`` bool: cut by the edge of the picture.
    quality
        ``(N, Q)`` bool, in the order of ``CELL_QUALITY_COLUMNS``.
    fields
        fov_id → its size, pixel size and what tables say of it.
    """

    run_folder: Path
    provenance: dict[str, Any]
    digest: str
    fov_ids: npt.NDArray[np.object_]
    cell_ids: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    doubt: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.int32]
    area_um2: npt.NDArray[np.float32]
    is_border: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.bool_]
    fields: dict[str, dict[str, Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.cell_ids)

    @cached_property
    def row_of(self) -> dict[tuple[str, int], int]:
        """Row of each (fov_id, cell_id)."""
        keys = zip(self.fov_ids.tolist(), self.cell_ids.tolist(), strict=True)
        return {key: row for row, key in enumerate(keys)}

    @cached_property
    def top(self) -> npt.NDArray[np.int64]:
        """Class of each cell's highest score, ``(N,)``; ties: the first in the vocabulary."""
        return self.scores.argmax(axis=1)

    def flags(self, row: int) -> list[str]:
        """Name what looks wrong with a cell, in words."""
        named = zip(CELL_QUALITY_COLUMNS, self.quality[row].tolist(), strict=True)
        return [name.removeprefix("qc_").replace("_", " ") for name, is_set in named if is_set]


def propose_locations(scores: list[float], min_score: float) -> list[int]:
    """Give the locations that a cell's scores speak for, for an expert to accept or correct.

    Parameters
    ----------
    scores
        One per location, in the order of the vocabulary.
    min_score
        Locations from this score on are proposed, and the highest in any case. Negative stands
        alone, where it is the highest, or not at all.

    Examples
    --------
    >>> propose_locations([0.1, 0.7, 0.6] + [0.0] * 15 + [0.65], 0.5)
    [1, 2]
    """
    top = max(range(len(scores)), key=lambda i: (scores[i], -i))
    if top == NEGATIVE:
        return [NEGATIVE]
    return [i for i, s in enumerate(scores) if i == top or (s >= min_score and i != NEGATIVE)]


def read_cells(run_folder: Path) -> ReviewCells:
    """Read what a review needs of a finished run.

    Raises
    ------
    InputError
        When it is no run folder, not finished, has no cell to look at, or its tables are damaged
        or name fields that cannot be file names.
    """
    columns = [*_PLAIN, *CELL_QUALITY_COLUMNS]
    with open_table(run_folder / CELLS_FILE, columns) as file:
        provenance = read_run(run_folder)
        if provenance is None:
            raise InputError(
                f"{run_folder}: the run is not finished ({RUN_FILE} is missing). Repeat the "
                "command that made it: it continues."
            )
        with naming_damage(run_folder / CELLS_FILE, _AGAIN):
            cells = file.read(columns)
    cells = cells.filter(pc.not_equal(cells["status"], CellStatus.REJECTED.value))
    if not cells.num_rows:
        raise InputError(
            f"{run_folder}: expected cells to review, found none that counts (status ok or "
            "border). Look at its report, or run on other images."
        )
    fields = _read_fields(run_folder)
    strangers = set(cells["fov_id"].unique().to_pylist()) - set(fields)
    if strangers:
        raise InputError(
            f"{run_folder / CELLS_FILE}: field {min(strangers)} is not in {FIELDS_FILE}. The "
            f"tables were changed. {_AGAIN}"
        )
    return ReviewCells(
        run_folder,
        provenance,
        digest=sha256_file(run_folder / RUN_FILE)[:16],
        fov_ids=cells["fov_id"].to_numpy(),
        cell_ids=cells["cell_id"].to_numpy(),
        scores=_stack(cells, PROBABILITY_COLUMNS),
        doubt=cells["doubt"].to_numpy(),
        boxes=_stack(cells, _BOX),
        area_um2=cells["area_um2"].to_numpy(),
        is_border=pc.equal(cells["status"], CellStatus.BORDER.value).to_numpy(),
        quality=_stack(cells, CELL_QUALITY_COLUMNS),
        fields=fields,
    )


def _stack(cells: pa.Table, names: tuple[str, ...]) -> npt.NDArray[Any]:
    return np.stack([cells[name].to_numpy() for name in names], axis=1)


def _read_fields(run_folder: Path) -> dict[str, dict[str, Any]]:
    path = run_folder / FIELDS_FILE
    with open_table(path, FIELD_SCHEMA.names) as file, naming_damage(path, _AGAIN):
        rows = file.read(_FIELD_COLUMNS).to_pylist()
    for row in rows:
        fov_id = row["fov_id"]
        if "/" in fov_id or "\\" in fov_id or "\0" in fov_id or fov_id in (".", ".."):
            raise InputError(
                f"{path}: expected field ids without path separators, got {fov_id!r}. The table "
                f"was changed. {_AGAIN}"
            )
    return {row["fov_id"]: row for row in rows}
