import gzip
import json
import uuid

import numpy as np
import pyarrow.parquet as pq
import pytest
from shapely.geometry import shape

from hpacells.core.errors import InputError
from hpacells.core.locations import LOCATIONS
from hpacells.core.palette import STYLES, hex_to_rgb
from hpacells.export.config import ExportSettings
from hpacells.export.geojson import MEASUREMENTS
from hpacells.export.pixel_outlines import fill_rings
from hpacells.export.write import export_run
from hpacells.images.mask_files import read_masks, write_label_image


def rasterise(features, key, size):
    ids = np.zeros(size, np.int32)
    for feature in features:
        if key in feature:
            geometry = feature[key]
            one = geometry["type"] == "Polygon"
            polygons = [geometry["coordinates"]] if one else geometry["coordinates"]
            rings = [np.array(ring, float) for rings in polygons for ring in rings]
            mask, row, column = fill_rings(rings, size)
            box = ids[row : row + mask.shape[0], column : column + mask.shape[1]]
            box[mask] = int(feature["properties"]["name"])
    return ids


def iou_of_each(found, true):
    return [
        ((found == i) & (true == i)).sum() / ((found == i) | (true == i)).sum()
        for i in np.unique(true)[1:]
    ]


@pytest.mark.parametrize("gz", [False, True])
def test_masks_and_numbers_are_those_of_the_run(run_folder, gz):
    settings = ExportSettings(to="geojson", gz=True) if gz else ExportSettings(to="geojson")
    out = export_run(run_folder, settings, workers=2).out
    assert not list(out.glob("broken*"))
    path = out / ("plain.geojson.gz" if gz else "plain.geojson")
    content = gzip.decompress(path.read_bytes()) if gz else path.read_bytes()
    features = json.loads(content)["features"]
    masks = read_masks(run_folder / "masks", "plain", pixel_size_um=0.32)
    for key, ids in (("geometry", masks.cells), ("nucleusGeometry", masks.nuclei)):
        found = rasterise(features, key, ids.shape)
        assert min(iou_of_each(found, ids)) >= 0.98  # what the project asks for
        assert np.array_equal(found, ids)  # what holds
    rows = pq.read_table(run_folder / "cells.parquet", filters=[("fov_id", "=", "plain")])
    for feature, row in zip(features, rows.to_pylist(), strict=True):
        given = feature["properties"]["measurements"]
        assert list(given) == list(MEASUREMENTS)
        for name, value in given.items():
            kind = rows.schema.field(name).type.to_pandas_dtype()
            assert kind(value) == kind(row[name])


def test_every_geometry_is_valid_and_ids_are_unique(run_folder):
    out = export_run(run_folder, ExportSettings(to="geojson")).out
    ids = []
    for path in out.glob("*.geojson"):
        for feature in json.loads(path.read_text())["features"]:
            assert shape(feature["geometry"]).is_valid
            if "nucleusGeometry" in feature:
                assert shape(feature["nucleusGeometry"]).is_valid
            ids.append(uuid.UUID(feature["id"]))
    assert len(set(ids)) == len(ids) == 10


def test_the_class_is_the_highest_score_or_rejected(run_folder):
    out = export_run(run_folder, ExportSettings(to="geojson")).out
    features = json.loads((out / "plain.geojson").read_text())["features"]
    for feature in features:
        scores = list(feature["properties"]["measurements"].values())[: len(LOCATIONS)]
        top = int(np.argmax(scores))
        given = feature["properties"]["classification"]
        if feature["properties"]["name"] == "5":
            assert given["name"] == "Rejected"
        else:
            assert given["name"] == LOCATIONS[top].title
            assert tuple(given["color"]) == hex_to_rgb(STYLES[top].color)


def test_masks_that_were_changed_are_refused(run_folder):
    write_label_image(run_folder / "masks" / "plain_cells.png", np.ones((90, 130), np.int32))
    write_label_image(run_folder / "masks" / "plain_nuclei.png", np.zeros((90, 130), np.int32))
    with pytest.raises(InputError, match="other cell ids than the run's tables"):
        export_run(run_folder, ExportSettings(to="geojson"))
