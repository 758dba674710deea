"""The tables of a run folder: their columns, and the checks a table passes at birth.

One place decides the columns of ``cells.parquet``, ``fields.parquet``, ``embeddings.parquet``
and ``variation.parquet`` (DESIGN: run folder). No column ever holds NaN; what is unknown is null.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hpacells.core.errors import InputError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.locations import LOCATION_KEYS

__all__ = [
    "CELL_MEASURE_SCHEMA",
    "CELL_QUALITY_COLUMNS",
    "CELL_SCHEMA",
    "EMBEDDING_SCHEMA",
    "FIELD_QUALITY_COLUMNS",
    "FIELD_SCHEMA",
    "IMAGE_COLUMNS",
    "PROBABILITY_COLUMNS",
    "VARIATION_SCHEMA",
    "CellStatus",
    "CellTable",
    "FieldStatus",
]


class CellStatus(StrEnum):
    """What became of a mask id."""

    OK = "ok"
    BORDER = "border"
    REJECTED = "rejected"


class FieldStatus(StrEnum):
    """What became of an input field."""

    DONE = "done"
    FAILED = "failed"


PROBABILITY_COLUMNS = tuple(f"p_{key}" for key in LOCATION_KEYS)
IMAGE_COLUMNS = tuple(f"image_{key}" for key in LOCATION_KEYS)

CELL_QUALITY_COLUMNS = (
    "qc_cut_by_border",
    "qc_area_outlier",
    "qc_out_of_focus",
    "qc_saturated",
    "qc_no_nucleus",
    "qc_suspected_merge",
)
"""What may be wrong with a cell; true where it is (``segment.quality`` has the rules)."""

FIELD_QUALITY_COLUMNS = ("qc_no_cells", "qc_constant_stain", "qc_swapped_stains")
"""The same for a field; null where nobody looked."""


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


CELL_MEASURE_SCHEMA = pa.schema(
    [
        _required("fov_id", pa.string()),
        _required("cell_id", pa.int32()),
        _required("status", pa.string()),
        pa.field("reason", pa.string()),
        _required("r0", pa.int32()),
        _required("c0", pa.int32()),
        _required("r1", pa.int32()),
        _required("c1", pa.int32()),
        _required("area_um2", pa.float32()),
        _required("nucleus_area_um2", pa.float32()),
        _required("protein_mean", pa.float32()),
        _required("protein_total", pa.float64()),
        _required("dna_total", pa.float64()),
        _required("touches_border", pa.bool_()),
        _required("chance_inside", pa.float32()),
        *[_required(name, pa.bool_()) for name in CELL_QUALITY_COLUMNS],
    ]
)
"""A cell before it is classified. ``protein_mean``: grey value on the 8-bit scale, mean over the
cell; ``protein_total``/``dna_total``: sums of the 8-bit-scale grey values times the area of a pixel
in µm², over the cell / over its nucleus. ``chance_inside``: that at least half of the cell is
inside the frame; 1 where the frame does not cut it."""

CELL_SCHEMA = pa.schema(
    [
        *CELL_MEASURE_SCHEMA,
        _required("doubt", pa.float32()),
        *[_required(name, pa.float32()) for name in PROBABILITY_COLUMNS],
    ]
)

FIELD_SCHEMA = pa.schema(
    [
        _required("fov_id", pa.string()),
        _required("status", pa.string()),
        pa.field("reason", pa.string()),
        _required("width", pa.int32()),
        _required("height", pa.int32()),
        pa.field("pixel_size_um", pa.float64()),
        _required("n_ok", pa.int32()),
        _required("n_border", pa.int32()),
        _required("n_rejected", pa.int32()),
        *[pa.field(name, pa.bool_()) for name in FIELD_QUALITY_COLUMNS],
        *[pa.field(name, pa.float32()) for name in IMAGE_COLUMNS],
        *[pa.field(name, pa.string()) for name in METADATA_COLUMNS],
        pa.field("image_labels", pa.string()),
    ]
)
"""A field. ``reason``: why it failed, or what its ``qc_`` flags say. The ``image_`` scores of a
failed field are null, those of a field without cells 0."""

EMBEDDING_SCHEMA = pa.schema(
    [
        _required("fov_id", pa.string()),
        _required("cell_id", pa.int32()),
        _required("embedding", pa.list_(pa.float32())),
    ]
)

_VARIATION_NUMBERS = ("score", "effect", "low", "high", "p", "q")
VARIATION_SCHEMA = pa.schema(
    [
        _required("level", pa.string()),
        _required("id", pa.string()),
        _required("n_cells", pa.int32()),
        *[
            pa.field(f"{kind}_{number}", pa.float64())
            for kind in ("spatial", "intensity")
            for number in _VARIATION_NUMBERS
        ],
    ]
)


@dataclass(frozen=True)
class CellTable:
    """Cells of one field, one row per mask id, ascending; rejected ones with a reason.

    Parameters
    ----------
    table
        With the columns of ``CELL_MEASURE_SCHEMA``, or of ``CELL_SCHEMA`` once classified.

    Raises
    ------
    InputError
        When a column is missing, a number is not finite, an id stands twice, or a cell is
        rejected without a reason.
    """

    table: pa.Table

    def __post_init__(self) -> None:
        schema = CELL_SCHEMA if "doubt" in self.table.column_names else CELL_MEASURE_SCHEMA
        if self.table.schema.names != schema.names:
            raise InputError(
                f"cells table: expected columns {schema.names}, got {self.table.schema.names}"
            )
        for column in schema:
            if pa.types.is_floating(column.type):
                values = self.table[column.name].to_numpy()
                if not np.isfinite(values).all():
                    raise InputError(f"cells table: column {column.name} holds NaN or infinity")
        ids = self.table["cell_id"].to_numpy()
        if (np.diff(ids) <= 0).any():
            raise InputError("cells table: cell ids must ascend and stand once")
        rejected = pc.equal(self.table["status"], CellStatus.REJECTED.value)
        unexplained = pc.and_(rejected, pc.is_null(self.table["reason"]))
        if pc.any(unexplained).as_py():
            raise InputError("cells table: a rejected cell has no reason")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def count(self, status: CellStatus) -> int:
        """Count the cells of one status."""
        return int(pc.sum(pc.equal(self.table["status"], status.value)).as_py() or 0)
