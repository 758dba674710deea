"""The cells that stand out in their field: the ones to look at first.

*Spatial*: the Hellinger distance of a cell's location distribution from the mean of its field.
*Intensity*: the logarithm of its corrected amount (``measures.corrected_amounts``) minus the
field's median. Both are told as a robust z, distance from the field's median in units of its median
absolute deviation (times 1.4826; at least a floor, or cells that are all alike would be full of
outliers). A cell is named from 3.5 on (Iglewicz and Hoaglin 1993), spatially only upwards.

An outlier is an invitation to look: a mitotic cell, a cell that was cut wrongly, a rare state.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.storage import atomic_path
from hpacells.variation.config import VariationConfig
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.measures import corrected_amounts, location_distributions
from hpacells.variation.run_cells import RunCells, open_run

__all__ = ["OUTLIERS_FILE", "OUTLIER_SCHEMA", "find_outliers", "write_outliers"]

OUTLIERS_FILE = "variation_outliers.parquet"
OUTLIER_SCHEMA = pa.schema(
    [
        pa.field("fov_id", pa.string(), nullable=False),
        pa.field("cell_id", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("z", pa.float64(), nullable=False),
    ]
)
"""``kind``: spatial or intensity; ``value``: distance, or log amount minus the field's median."""

_FROM_Z: Final = 3.5
_LEAST_SPREAD: Final = {"spatial": 0.05, "intensity": 0.15}
_NORMAL_MAD: Final = 1.4826

Floats = npt.NDArray[np.float64]


def write_outliers(run_folder: Path, config: VariationConfig | None = None) -> pa.Table:
    """Find the outlier cells of a run folder and write ``variation_outliers.parquet``.

    Raises
    ------
    InputError, TableError
        As ``variation.scores.write_variation``.
    """
    table = find_outliers(open_run(run_folder), config or VariationConfig())
    with atomic_path(run_folder / OUTLIERS_FILE) as temporary:
        pq.write_table(table, temporary)
    return table


def find_outliers(run: RunCells, config: VariationConfig) -> pa.Table:
    """Find the cells that stand out in their field.

    Parameters
    ----------
    run
        Fields and cells.
    config
        Of which ``min_cells`` is used.

    Returns
    -------
    pyarrow.Table
        ``OUTLIER_SCHEMA``, by fov_id, cell_id and kind.
    """
    rows: list[dict[str, Any]] = []
    for fov_id, cells in run.done_fields():
        found = [*_spatial(cells, config.min_cells), *_intensity(cells, config.min_cells)]
        found.sort(key=lambda row: (row["cell_id"], row["kind"]))
        rows += [{"fov_id": fov_id, **row} for row in found]
    return pa.Table.from_pylist(rows, schema=OUTLIER_SCHEMA)


def _spatial(cells: FieldCells, min_cells: int) -> list[dict[str, Any]]:
    places = location_distributions(cells.probabilities)
    if len(places) < min_cells:
        return []
    roots = np.sqrt(places)
    distances = np.sqrt(((roots - np.sqrt(places.mean(axis=0))) ** 2).sum(axis=1) / 2)
    z = _robust_z(distances, _LEAST_SPREAD["spatial"])
    return _rows("spatial", cells.cell_ids[cells.has_place], distances, z, z >= _FROM_Z)


def _intensity(cells: FieldCells, min_cells: int) -> list[dict[str, Any]]:
    if len(cells) < min_cells or not cells.protein.any():
        return []
    amounts = np.log(corrected_amounts(cells))
    z = _robust_z(amounts, _LEAST_SPREAD["intensity"])
    above = amounts - np.median(amounts)
    return _rows("intensity", cells.cell_ids, above, z, np.abs(z) >= _FROM_Z)


def _robust_z(values: Floats, least: float) -> Floats:
    away = values - np.median(values)
    return np.asarray(away / max(_NORMAL_MAD * float(np.median(np.abs(away))), least))


def _rows(
    kind: str,
    cell_ids: npt.NDArray[np.int64],
    values: Floats,
    z: Floats,
    chosen: npt.NDArray[np.bool_],
) -> list[dict[str, Any]]:
    return [
        {
            "cell_id": int(cell_ids[i]),
            "kind": kind,
            "value": float(values[i]),
            "z": float(z[i]),
        }
        for i in np.flatnonzero(chosen)
    ]
