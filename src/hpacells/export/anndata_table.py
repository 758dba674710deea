"""``cells.h5ad``: the cells as an AnnData file, for scanpy and what builds on it.

::

    X                            (N, 19) float32: cell scores; var: one row per location
    obs                          the other columns of cells.parquet, what is known of the field,
                                 and top_location (categorical; empty for a rejected cell)
    obsm["embedding"]            (N, D) float32
    obsm["spatial"]              (N, 2) float64: x, y of the middle of the cell's box, in µm
    uns["top_location_colors"]   one colour per category, in their order
    uns["locations"]             keys of the vocabulary, in class order
    uns["hpacells"]              model, segmenter, version

Scores and embeddings are written field by field; ``obs`` is gathered. Lost: masks, scores of whole
fields, failed fields.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from hpacells import __version__
from hpacells.core.cell_table import CELL_SCHEMA, PROBABILITY_COLUMNS
from hpacells.core.errors import MissingExtraError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.locations import LOCATION_KEYS, LOCATIONS, N_LOCATIONS
from hpacells.core.palette import STYLES
from hpacells.core.storage import atomic_path
from hpacells.export.config import ExportSettings
from hpacells.export.run_reader import FieldSource, FinishedRun, RunField

__all__ = ["write_anndata"]

_OBS_COLUMNS = [name for name in CELL_SCHEMA.names if name not in PROBABILITY_COLUMNS]
_OF_FIELD = (*METADATA_COLUMNS, "image_labels")
_REPEATED = ("fov_id", "status", "reason", *_OF_FIELD)
"""Text that stands in many rows: written as categories."""


def write_anndata(
    run: FinishedRun, fields: FieldSource, out: Path, settings: ExportSettings
) -> tuple[str, ...]:
    """Write the file.

    Parameters
    ----------
    run
        Says how many cells there are and how long an embedding is.
    fields
        Gives the fields; those without cells add no row.
    out
        Folder.
    settings
        Not needed; every format takes them.

    Raises
    ------
    MissingExtraError
        Without anndata.
    """
    del settings
    anndata, h5py = _import_libraries()
    obs: list[pa.Table] = []
    with (
        atomic_path(out / "cells.h5ad") as temporary,
        h5py.File(temporary, "w") as file,
    ):
        anndata.io.write_elem(file, "/", anndata.AnnData(shape=(0, 0)))
        del file["obsm"]
        obsm = file.create_group("obsm")
        obsm.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
        scores = _create(file, "X", (run.n_cells, N_LOCATIONS), np.float32)
        embedding = _create(obsm, "embedding", (run.n_cells, run.embedding_size), np.float32)
        spatial = _create(obsm, "spatial", (run.n_cells, 2), np.float64)
        at = 0
        for field in fields(with_embedding=True):
            rows = slice(at, at + field.cells.num_rows)
            if field.embedding is None:
                continue
            scores[rows], embedding[rows] = field.probabilities, field.embedding
            spatial[rows] = _middles_um(field)
            obs.append(_describe_cells(field))
            at = rows.stop
        write = anndata.io.write_elem
        write(file, "obs", _make_obs(obs))
        write(file, "var", _make_var())
        write(file, "uns", _describe_run(run))
    return ()


def _import_libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import anndata  # noqa: PLC0415  an extra, slow to import
        import anndata.io  # noqa: PLC0415
        import h5py  # noqa: PLC0415  anndata needs it
    except ImportError as error:
        raise MissingExtraError(
            "AnnData files are written by anndata, which is not installed. "
            "Install it with: pip install 'hpacells[export]'"
        ) from error
    return anndata, h5py


def _create(group: Any, name: str, shape: tuple[int, int], dtype: type[np.floating[Any]]) -> Any:
    """Make an array of AnnData's on-disk format, to be filled."""
    array = group.create_dataset(name, shape, dtype)
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return array


def _middles_um(field: RunField) -> Any:
    r0, c0, r1, c1 = (field.cells[name].to_numpy() for name in ("r0", "c0", "r1", "c1"))
    return np.stack([c0 + c1, r0 + r1], axis=1) / 2 * (field.row["pixel_size_um"] or np.nan)


def _describe_cells(field: RunField) -> pa.Table:
    n = field.cells.num_rows
    table = field.cells.select(_OBS_COLUMNS)
    for name in _OF_FIELD:
        table = table.append_column(name, pa.array([field.row[name]] * n, pa.string()))
    top = [None if k is None else LOCATION_KEYS[k] for k in field.top_locations]
    return table.append_column("top_location", pa.array(top, pa.string()))


def _make_obs(parts: list[pa.Table]) -> Any:
    import pandas as pd  # noqa: PLC0415  anndata needs it

    if not parts:
        columns = [(name, CELL_SCHEMA.field(name).type) for name in _OBS_COLUMNS]
        known = [(name, pa.string()) for name in (*_OF_FIELD, "top_location")]
        parts = [pa.schema([*columns, *known]).empty_table()]
    frame = pa.concat_tables(parts).to_pandas()
    frame.index = pd.Index(
        frame["fov_id"].astype(str) + "/" + frame["cell_id"].astype(str), dtype=object
    )
    for name in _REPEATED:
        frame[name] = pd.Categorical(frame[name])
    frame["top_location"] = pd.Categorical(frame["top_location"], categories=LOCATION_KEYS)
    return frame


def _make_var() -> Any:
    import pandas as pd  # noqa: PLC0415  anndata needs it

    content = {
        "class_id": [location.class_id for location in LOCATIONS],
        "title": [location.title for location in LOCATIONS],
        "color": [style.color for style in STYLES],
    }
    return pd.DataFrame(content, index=pd.Index(LOCATION_KEYS, dtype=object))


def _describe_run(run: FinishedRun) -> dict[str, Any]:
    origin = {"version": __version__}
    for name in ("model_id", "segmenter"):
        origin[name] = str(run.provenance.get(name))
    return {
        "locations": np.array(LOCATION_KEYS, dtype=object),
        "top_location_colors": np.array([style.color for style in STYLES], dtype=object),
        "hpacells": origin,
    }
