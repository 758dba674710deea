import numpy as np
import ome_zarr.io
import ome_zarr.reader
import ome_zarr_models
import pyarrow.parquet as pq
import pytest
import zarr

from hpacells.core.errors import InputError
from hpacells.core.palette import REJECTED_COLOR, STYLES, hex_to_rgb
from hpacells.export.config import ExportSettings
from hpacells.export.geojson import MEASUREMENTS
from hpacells.export.ome_zarr import _halve_ids, _halve_image, _place
from hpacells.export.write import export_run
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_masks
from hpacells.images.read import read_field

ZARR_FORMAT = {"0.4": 2, "0.5": 3}


def read_nodes(path):
    """By ome-zarr's reader: path of each node to its levels."""
    location = ome_zarr.io.parse_url(str(path))
    return {node.zarr.basename(): node for node in ome_zarr.reader.Reader(location)() if node.data}


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_the_published_reader_gives_pixels_and_masks_of_the_run(pictured_run, tmp_path, ngff):
    out = export_run(pictured_run, ExportSettings(to="ome-zarr", ngff=ngff)).out
    nodes = read_nodes(out / "plain.zarr")
    records = discover_fields(tmp_path / "images", pixel_size_um=0.32)
    pixels = read_field(records[1]).pixels
    assert np.array_equal(np.asarray(nodes["plain.zarr"].data[0]), pixels)
    masks = read_masks(pictured_run / "masks", "plain", pixel_size_um=0.32)
    for name, ids in (("cells", masks.cells), ("nuclei", masks.nuclei)):
        assert np.array_equal(np.asarray(nodes[name].data[0]), ids)
    meta = nodes["plain.zarr"].metadata
    assert meta["coordinateTransformations"][0][0]["scale"] == [1.0, 0.32, 0.32]
    assert meta["channel_names"] == ["microtubules", "protein", "nucleus", "endoplasmic reticulum"]


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_the_published_schemas_accept_it(pictured_run, ngff):
    out = export_run(pictured_run, ExportSettings(to="ome-zarr", ngff=ngff)).out
    for fov_id in ("plain", "empty"):
        for part in ("", "labels", "labels/cells", "labels/nuclei"):
            group = zarr.open_group(out / f"{fov_id}.zarr" / part, mode="r")
            assert group.metadata.zarr_format == ZARR_FORMAT[ngff]
            kind = type(ome_zarr_models.open_ome_zarr(group, version=ngff)).__name__
            expected = {"": "Image", "labels": "Labels"}.get(part, "ImageLabel")
            assert kind == expected


def test_labels_have_the_cells_colours_and_numbers(pictured_run):
    out = export_run(pictured_run, ExportSettings(to="ome-zarr", labels_only=True)).out
    group = zarr.open_group(out / "plain.zarr" / "labels" / "cells", mode="r")
    label = group.attrs["ome"]["image-label"]
    rows = pq.read_table(pictured_run / "cells.parquet").to_pylist()
    for row, given, color in zip(rows, label["properties"], label["colors"], strict=True):
        assert given == {
            "label-value": row["cell_id"],
            **{name: row[name] for name in ("status", "reason", *MEASUREMENTS)},
        }
        top = int(np.argmax(list(given.values())[3:22]))
        expected = REJECTED_COLOR if row["cell_id"] == 5 else STYLES[top].color
        assert tuple(color["rgba"]) == (*hex_to_rgb(expected), 255)
    nuclei = zarr.open_group(out / "plain.zarr" / "labels" / "nuclei", mode="r")
    looks = nuclei.attrs["ome"]["image-label"]["properties"]
    assert [given["label-value"] for given in looks] == [2, 9, 700]
    assert "source" not in label
    assert read_nodes(out / "plain.zarr" / "labels" / "cells")["cells"].data


def test_levels_halve_and_say_where_their_pixels_lie(tmp_path):
    image = np.arange(2 * 300 * 513, dtype=np.uint16).reshape(2, 300, 513)
    full, half = _halve_image(image)
    assert full is image
    assert half.shape == (2, 150, 257)
    assert half[0, 0, 0] == (0 + 1 + 513 + 514) // 4
    assert half[1, -1, -1] == (int(image[1, -2, -1]) + int(image[1, -1, -1]) + 1) // 2
    assert np.array_equal(_halve_ids(image[0])[1], image[0, ::2, ::2])
    assert _place(3, 0.5, 1) == [
        {"type": "scale", "scale": [1.0, 1.0, 1.0]},
        {"type": "translation", "translation": [0.0, 0.25, 0.25]},
    ]
    assert _place(2, 0.5, 2) == [{"type": "scale", "scale": [2.0, 2.0]}]


def test_images_that_moved_or_changed_are_told(pictured_run, tmp_path, write_quadruplet):
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="--images"):
        export_run(pictured_run, ExportSettings(to="ome-zarr"))
    images = tmp_path / "moved"
    export_run(pictured_run, ExportSettings(to="ome-zarr", images=images), out=tmp_path / "good")
    write_quadruplet(images, "plain", seed=9, shape=(90, 130), pixel_size_um=0.32)
    with pytest.raises(InputError, match="has changed since the run"):
        export_run(pictured_run, ExportSettings(to="ome-zarr", images=images))
    for path in images.glob("plain*"):
        path.unlink()
    with pytest.raises(InputError, match="there is none"):
        export_run(pictured_run, ExportSettings(to="ome-zarr", images=images))
