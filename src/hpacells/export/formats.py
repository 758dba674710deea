"""The formats a run folder can be written as: what each one is, and what writes it.

A format is either a file per field or a set of tables of the whole run. Libraries that only one
format needs are imported when it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpacells.export.anndata_table import write_anndata
from hpacells.export.coco import write_coco
from hpacells.export.config import ExportFormat, ExportSettings
from hpacells.export.csv_tables import write_csv_tables
from hpacells.export.geojson import open_geojson_writer
from hpacells.export.imagej import open_imagej_writer
from hpacells.export.kaggle import write_kaggle
from hpacells.export.ome_zarr import open_zarr_writer
from hpacells.export.profiles import write_profiles
from hpacells.export.run_reader import FieldSource, FinishedRun, RunField

__all__ = ["FORMATS", "FieldFormat", "RunFormat"]


@dataclass(frozen=True)
class FieldFormat:
    """One file (or Zarr folder) per usable field.

    Parameters
    ----------
    what
        One line of help.
    suffix
        Of the file's name after the fov_id.
    open_writer
        Makes what writes one field to a path, whole or not at all; it is called in threads.
    """

    what: str
    suffix: Callable[[ExportSettings], str]
    open_writer: Callable[[FinishedRun, ExportSettings], Callable[[RunField, Path], None]]


@dataclass(frozen=True)
class RunFormat:
    """Tables of the whole run.

    Parameters
    ----------
    what
        One line of help.
    write
        Writes into a folder, each file whole or not at all; gives notes for the user.
    """

    what: str
    write: Callable[[FinishedRun, FieldSource, Path, ExportSettings], tuple[str, ...]]


FORMATS: dict[ExportFormat, FieldFormat | RunFormat] = {
    ExportFormat.KAGGLE: RunFormat("submission.csv of the competition", write_kaggle),
    ExportFormat.CSV: RunFormat("cells.csv and fields.csv", write_csv_tables),
    ExportFormat.GEOJSON: FieldFormat(
        "QuPath cells with nuclei and scores, a file per field",
        lambda settings: ".geojson.gz" if settings.gz else ".geojson",
        open_geojson_writer,
    ),
    ExportFormat.OME_ZARR: FieldFormat(
        "image and masks as OME-Zarr for napari, a .zarr per field",
        lambda _: ".zarr",
        open_zarr_writer,
    ),
    ExportFormat.ANNDATA: RunFormat("scanpy's cells.h5ad", write_anndata),
    ExportFormat.COCO: RunFormat("instances.json with RLE masks", write_coco),
    ExportFormat.PROFILES: RunFormat("profiles.parquet for pycytominer", write_profiles),
    ExportFormat.IMAGEJ: FieldFormat(
        "ImageJ ROI set, a file per field", lambda _: ".zip", open_imagej_writer
    ),
}
