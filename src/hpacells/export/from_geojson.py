"""QuPath's GeoJSON back to masks and classes.

A cell is known by its object id, or else by its name, the cell id; any other object is a new cell.
A redrawn outline takes its pixels from the others. ``nucleusGeometry`` is read of ``cell`` objects;
of others (annotations) the run's nucleus stays. Points and lines are refused. Any polygons are
read; coordinates are pixels of the field's image.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import InputError
from hpacells.core.locations import LOCATIONS
from hpacells.core.masks import CellMasks
from hpacells.export.geojson import REJECTED_CLASS, object_id
from hpacells.export.pixel_outlines import fill_rings

__all__ = ["EditedObjects", "read_geojson"]

MAX_BYTES = 1_000_000_000
_CLASS_OF = {location.title.casefold(): location.class_id for location in LOCATIONS}

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class EditedObjects:
    """What a file says of a field.

    Parameters
    ----------
    cells, nuclei
        ``(H, W)`` int32 ids.
    classes
        Cell id to its class ids, empty for ``Rejected``; cells without a class are missing.
    """

    cells: Ids
    nuclei: Ids
    classes: dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class _Shape:
    cell_id: int
    filled: npt.NDArray[np.bool_]
    row: int
    column: int

    def box(self, plane: Ids) -> Ids:
        """Give the part of a plane where the shape lies."""
        height, width = self.filled.shape
        return plane[self.row : self.row + height, self.column : self.column + width]


def read_geojson(path: Path, fov_id: str, run_masks: CellMasks) -> EditedObjects:
    """Read a field's objects.

    Parameters
    ----------
    path
        ``.geojson`` or ``.json``, or the same with ``.gz``.
    fov_id
        The field.
    run_masks
        Of the run.

    Raises
    ------
    InputError
        When the file is no GeoJSON of polygons, a cell stands twice, or a class is unknown.
    """
    features = _load_features(path)
    owners = _assign_ids(features, fov_id, run_masks, path)
    shape = run_masks.cells.shape
    cells = [
        _fill(feature.get("geometry"), cell_id, shape, path)
        for feature, cell_id in zip(features, owners, strict=True)
    ]
    nuclei = run_masks.nuclei.copy()
    redrawn_nuclei = []
    for feature, cell_id in zip(features, owners, strict=True):
        if _property(feature, "objectType") == "cell":
            nuclei[nuclei == cell_id] = 0
            if feature.get("nucleusGeometry"):
                redrawn_nuclei.append(_fill(feature["nucleusGeometry"], cell_id, shape, path))
    classes = {
        cell_id: found
        for feature, cell_id in zip(features, owners, strict=True)
        if (found := _read_classes(feature, cell_id, path)) is not None
    }
    painted = _paint(cells, run_masks.cells)
    for nucleus in redrawn_nuclei:
        box, inside = nucleus.box(nuclei), nucleus.box(painted) == nucleus.cell_id
        box[nucleus.filled & inside] = nucleus.cell_id
    return EditedObjects(painted, nuclei, classes)


def _paint(shapes: list[_Shape], before: Ids) -> Ids:
    """Draw cells: untouched ones first, then the redrawn; of those the first keeps its pixels."""
    image = np.zeros_like(before)
    is_same = [
        np.array_equal(shape.box(before) == shape.cell_id, shape.filled)
        and np.count_nonzero(before == shape.cell_id) == np.count_nonzero(shape.filled)
        for shape in shapes
    ]
    untouched = [shape for shape, same in zip(shapes, is_same, strict=True) if same]
    redrawn = [shape for shape, same in zip(shapes, is_same, strict=True) if not same]
    for shape in [*untouched, *reversed(redrawn)]:
        shape.box(image)[shape.filled] = shape.cell_id
    return image


def _load_features(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: more than {MAX_BYTES} bytes unpacked. Export it by field.")
        document = json.loads(content)
    except (ValueError, RecursionError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: expected GeoJSON ({error}). Export it again.") from error
    features = document.get("features") if isinstance(document, dict) else document
    if not isinstance(features, list) or not all(isinstance(item, dict) for item in features):
        raise InputError(
            f"{path}: expected a FeatureCollection or a list of features, got something else. "
            "In QuPath: File, Export objects as GeoJSON."
        )
    return features


def _assign_ids(
    features: list[dict[str, Any]], fov_id: str, run_masks: CellMasks, path: Path
) -> list[int]:
    known = {object_id(fov_id, i): i for i in run_masks.cell_ids.tolist()}
    names = {str(i): i for i in known.values()}
    found = [
        known.get(str(feature.get("id"))) or names.get(str(_property(feature, "name")))
        for feature in features
    ]
    twice = sorted({i for i in found if i is not None and found.count(i) > 1})
    if twice:
        raise InputError(
            f"{path}: cell {', '.join(map(str, twice))} stands several times. Clear the name of "
            "each object that is a new cell, or merge the objects."
        )
    free = max([0, *known.values()])
    new_ids = iter(range(free + 1, free + 1 + len(features)))
    return [next(new_ids) if cell_id is None else cell_id for cell_id in found]


def _property(feature: dict[str, Any], name: str) -> Any:
    properties = feature.get("properties")
    return properties.get(name) if isinstance(properties, dict) else None


def _fill(geometry: Any, cell_id: int, shape: tuple[int, ...], path: Path) -> _Shape:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(
            f"{path}: cell {cell_id}: expected a Polygon or MultiPolygon, got {kind}. Delete that "
            "object or draw it as an area."
        )
    try:
        polygons = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
        rings = [np.array(ring, np.float64)[:, :2] for rings in polygons for ring in rings]
        whole = all(len(ring) >= 3 and np.isfinite(ring).all() for ring in rings) and rings
    except (KeyError, TypeError, ValueError, IndexError):
        whole = False
    if not whole:
        raise InputError(f"{path}: cell {cell_id}: its coordinates are damaged. Export it again.")
    return _Shape(cell_id, *fill_rings(rings, (shape[0], shape[1])))


def _read_classes(feature: dict[str, Any], cell_id: int, path: Path) -> tuple[int, ...] | None:
    given = _property(feature, "classification")
    if not isinstance(given, dict):
        return None
    names = given.get("names") or str(given.get("name", "")).split(":")
    names = [str(name).strip() for name in names if str(name).strip()]
    if not names:
        return None
    if [name.casefold() for name in names] == [REJECTED_CLASS.casefold()]:
        return ()
    unknown = [name for name in names if name.casefold() not in _CLASS_OF]
    if unknown:
        raise InputError(
            f"{path}: cell {cell_id}: unknown class {', '.join(unknown)}. Expected {REJECTED_CLASS}"
            f" or, several joined by ':', {', '.join(location.title for location in LOCATIONS)}."
        )
    return tuple(sorted({_CLASS_OF[name.casefold()] for name in names}))
