"""``profiles.parquet``: one row per cell with the columns that pycytominer looks for.

``Metadata_…`` says which cell it is and what is known of it; ``Cells_…`` and ``Nuclei_…`` are
features: areas in µm², intensities, the 19 scores (``Cells_Location_<location>``), and the
embedding (``Cells_Embedding_<i>``). Rejected cells are there too: ``Metadata_status`` tells them.
Lost: masks, scores of whole fields.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.cell_table import CELL_SCHEMA, PROBABILITY_COLUMNS
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.storage import atomic_path
from hpacells.export.config import ExportSettings
from hpacells.export.run_reader import FieldSource, FinishedRun, RunField

__all__ = ["FEATURES", "write_profiles"]

FEATURES = {
    "area_um2": "Cells_AreaShape_Area_um2",
    "nucleus_area_um2": "Nuclei_AreaShape_Area_um2",
    "protein_mean": "Cells_Intensity_MeanIntensity_Protein",
    "protein_total": "Cells_Intensity_IntegratedIntensity_Protein",
    "dna_total": "Nuclei_Intensity_IntegratedIntensity_DNA",
    "doubt": "Cells_Location_doubt",
    **{name: f"Cells_Location_{name.removeprefix('p_')}" for name in PROBABILITY_COLUMNS},
}
"""Column of the cells table to column of the profiles."""

_OF_FIELD = {
    **{name: f"Metadata_{name}" for name in METADATA_COLUMNS},
    "plate": "Metadata_Plate",
    "well": "Metadata_Well",
    "sample": "Metadata_Site",
    "pixel_size_um": "Metadata_pixel_size_um",
    "image_labels": "Metadata_image_labels",
}


def write_profiles(
    run: FinishedRun, fields: FieldSource, out: Path, settings: ExportSettings
) -> tuple[str, ...]:
    """Write the table, one field at a time.

    Parameters
    ----------
    run
        Says how long an embedding is.
    fields
        Gives the fields; those without cells add no row.
    out
        Folder.
    settings
        Not needed; every format takes them.
    """
    del settings
    schema = _schema(run.embedding_size)
    with (
        atomic_path(out / "profiles.parquet") as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
    ):
        for field in fields(with_embedding=True):
            if field.cells.num_rows:
                writer.write_table(_rows(field, schema))
    return ()


def _schema(embedding_size: int) -> pa.Schema:
    cells = [
        pa.field(FEATURES.get(column.name, f"Metadata_{column.name}"), column.type)
        for column in CELL_SCHEMA
    ]
    known = [
        pa.field(title, pa.float64() if name == "pixel_size_um" else pa.string())
        for name, title in _OF_FIELD.items()
    ]
    embedding = [pa.field(f"Cells_Embedding_{i}", pa.float32()) for i in range(embedding_size)]
    # what pycytominer takes for metadata stands first
    return pa.schema(sorted([*known, *cells], key=_is_feature) + embedding)


def _is_feature(column: pa.Field) -> bool:
    return not column.name.startswith("Metadata_")


def _rows(field: RunField, schema: pa.Schema) -> pa.Table:
    n = field.cells.num_rows
    columns = {
        FEATURES.get(name, f"Metadata_{name}"): field.cells[name] for name in CELL_SCHEMA.names
    }
    for name, title in _OF_FIELD.items():
        columns[title] = pa.array([field.row[name]] * n, schema.field(title).type)
    if field.embedding is not None:
        for i in range(field.embedding.shape[1]):
            columns[f"Cells_Embedding_{i}"] = pa.array(field.embedding[:, i])
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)
