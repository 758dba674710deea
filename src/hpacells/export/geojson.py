"""``<fov_id>.geojson``: the cells of a field as QuPath objects.

Every cell of the masks is a feature with ``objectType`` ``cell``: its outline along the pixels'
edges as ``geometry``, its nucleus as ``nucleusGeometry`` (left out where it has none), 19
probabilities and the cell's measures as ``measurements``, and one class: the location of its
highest score, or ``Rejected``. ``name`` is the cell id; ``id`` is made of field and cell id, always
the same, so that a renamed cell is known again. Coordinates are pixels of the field's image.

Masks come back exactly. Lost: quality flags, what is known of the field, embeddings.
"""

import gzip
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.locations import LOCATIONS
from hpacells.core.palette import REJECTED_COLOR, STYLES, hex_to_rgb
from hpacells.core.storage import atomic_path
from hpacells.export.config import ExportSettings
from hpacells.export.pixel_outlines import Polygon, trace_pixel_edges
from hpacells.export.run_reader import FinishedRun, RunField

__all__ = ["MEASUREMENTS", "REJECTED_CLASS", "object_id", "open_geojson_writer"]

MEASUREMENTS = (
    *PROBABILITY_COLUMNS,
    "area_um2",
    "nucleus_area_um2",
    "protein_mean",
    "protein_total",
    "dna_total",
    "doubt",
)
"""Columns of the cells table that QuPath gets."""

REJECTED_CLASS = "Rejected"
_NAMESPACE = uuid.UUID("9d1f4b1e-6a0c-5d5e-9c3a-2f7a0c6b8e11")


def object_id(fov_id: str, cell_id: int) -> str:
    """Give the QuPath object id of a cell, always the same one.

    Examples
    --------
    >>> object_id("a", 1) == object_id("a", 1) != object_id("a", 2)
    True
    """
    return str(uuid.uuid5(_NAMESPACE, f"{fov_id}/{cell_id}"))


def open_geojson_writer(
    run: FinishedRun, settings: ExportSettings
) -> Callable[[RunField, Path], None]:
    """Give what writes a field's cells to a file.

    Parameters
    ----------
    run
        Not needed; every format takes it.
    settings
        ``gz``: compressed by gzip.
    """
    del run

    def write(field: RunField, path: Path) -> None:
        collection = {"type": "FeatureCollection", "features": _make_features(field)}
        text = json.dumps(collection, separators=(",", ":"), allow_nan=False).encode()
        with atomic_path(path) as temporary:
            temporary.write_bytes(gzip.compress(text, 6, mtime=0) if settings.gz else text)

    return write


def _make_features(field: RunField) -> list[dict[str, Any]]:
    masks = field.read_masks()
    boxes = find_objects(masks.cells)
    columns = {name: field.cells[name].to_pylist() for name in ("cell_id", *MEASUREMENTS)}
    features = []
    for i, (cell_id, top) in enumerate(zip(columns["cell_id"], field.top_locations, strict=True)):
        box = boxes[cell_id - 1]
        feature = {
            "type": "Feature",
            "id": object_id(field.fov_id, cell_id),
            "geometry": _geometry(masks.cells[box] == cell_id, box),
            "properties": {
                "objectType": "cell",
                "name": str(cell_id),
                "isLocked": False,
                "classification": _classify(top),
                "measurements": {name: _shortest(columns[name][i]) for name in MEASUREMENTS},
            },
        }
        nucleus = masks.nuclei[box] == cell_id
        if nucleus.any():
            feature["nucleusGeometry"] = _geometry(nucleus, box)
        features.append(feature)
    return features


def _geometry(mask: npt.NDArray[np.bool_], box: tuple[slice, slice]) -> dict[str, Any]:
    polygons: list[Polygon] = trace_pixel_edges(mask, row=box[0].start, column=box[1].start)
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _classify(top: int | None) -> dict[str, Any]:
    if top is None:
        return {"name": REJECTED_CLASS, "color": hex_to_rgb(REJECTED_COLOR)}
    return {"name": LOCATIONS[top].title, "color": hex_to_rgb(STYLES[top].color)}


def _shortest(value: float) -> float:
    """Give the shortest number that is the same float32 (totals stay float64)."""
    short = np.float32(value)
    return float(str(short)) if float(short) == value else value
