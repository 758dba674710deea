import gzip
import json
import os
import shutil

import cv2
import numpy as np
import pytest
import tifffile
import zarr

from hpacells.core.corrections import read_corrections
from hpacells.core.errors import InputError
from hpacells.core.locations import LOCATIONS
from hpacells.export.config import ExportSettings
from hpacells.export.corrections_in import import_corrections
from hpacells.export.write import export_run
from hpacells.images.mask_files import read_masks


@pytest.fixture
def exported(run_folder, tmp_path):
    """The run's GeoJSON in a folder of its own, and the features of its field 'plain'."""
    out = export_run(run_folder, ExportSettings(to="geojson"), out=tmp_path / "edited").out
    (out / "export.json").unlink()
    return out, json.loads((out / "plain.geojson").read_text())


def save(out, document, name="plain.geojson"):
    (out / name).write_text(json.dumps(document))
    return out / name


def feature_of(document, cell_id):
    return next(f for f in document["features"] if f["properties"]["name"] == str(cell_id))


def box(x0, y0, x1, y1):
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return {"type": "Polygon", "coordinates": [ring]}


def words(run_folder):
    return [(c.cell_id, c.action.value, c.locations) for c in read_corrections(run_folder)]


def corrected_masks(run_folder):
    return read_masks(run_folder / "corrections" / "masks", "plain", pixel_size_um=0.32)


def run_masks(run_folder):
    return read_masks(run_folder / "masks", "plain", pixel_size_um=0.32)


@pytest.mark.parametrize("to", ["geojson", "ome-zarr", "masks"])
def test_what_was_not_edited_says_nothing(run_folder, to):
    out = run_folder / "masks"
    if to != "masks":
        option = {"labels_only": True} if to == "ome-zarr" else {"gz": True}
        out = export_run(run_folder, ExportSettings(to=to, **option)).out
    summary = import_corrections(run_folder, out)
    assert summary.n_fields == 3
    assert summary.n_new == summary.n_redrawn == 0
    assert read_corrections(run_folder) == []
    assert not (run_folder / "corrections").exists()


def test_qupath_outlines_classes_new_and_deleted_cells(run_folder, exported):
    out, document = exported
    before = run_masks(run_folder)
    feature_of(document, 2)["geometry"] = box(5, 5, 30, 20)  # its holes filled
    feature_of(document, 9)["properties"]["classification"] = {"name": "Nucleoli: Cytosol"}
    feature_of(document, 5)["properties"]["classification"] = {"names": ["Vesicles"]}
    feature_of(document, 700)["properties"]["classification"] = {"name": "Rejected"}
    feature_of(document, 700)["properties"]["name"] = "renamed"
    document["features"].remove(feature_of(document, 3))
    new = {"type": "Feature", "geometry": box(70, 5, 80.4, 15.4), "properties": {}}
    new["properties"]["classification"] = {"name": "golgi apparatus"}
    document["features"].append(new)
    summary = import_corrections(run_folder, save(out, document), who="anna")
    assert words(run_folder) == [
        (2, "correct", None),
        (3, "reject", None),
        (5, "correct", (17,)),
        (9, "correct", (2, 16)),
        (700, "reject", None),
        (701, "correct", (7,)),
    ]
    assert {(c.who, c.source, c.fov_id) for c in read_corrections(run_folder)} == {
        ("anna", "plain.geojson", "plain")
    }
    after = corrected_masks(run_folder)
    expected = before.cells.copy()
    expected[5:20, 5:30] = 2
    expected[expected == 3] = 0
    expected[5:15, 70:80] = 701
    assert np.array_equal(after.cells, expected)
    assert np.array_equal(after.nuclei, before.nuclei)
    assert summary.n_redrawn == 2
    assert np.array_equal(run_masks(run_folder).cells, before.cells)  # the run's own stay


def test_the_same_file_again_says_nothing_new(run_folder, exported):
    out, document = exported
    document["features"].remove(feature_of(document, 9))
    path = save(out, document)
    assert import_corrections(run_folder, path).n_new == 1
    assert import_corrections(run_folder, path).n_new == 0
    os.utime(path, (0, 0))
    assert import_corrections(run_folder, path).n_new == 1  # said at another time


def test_a_redrawn_outline_takes_pixels_from_the_others(run_folder, exported):
    out, document = exported
    feature_of(document, 5)["geometry"] = box(25, 10, 35, 14)  # over the edge of cell 2
    import_corrections(run_folder, save(out, document))
    after = corrected_masks(run_folder)
    assert (after.cells[10:14, 25:35] == 5).all()
    assert (after.cells[10:14, 24] == 2).all()
    assert [cell_id for cell_id, *_ in words(run_folder)] == [2, 5]


def test_nuclei_are_read_of_cells_and_kept_of_annotations(run_folder, exported):
    out, document = exported
    feature_of(document, 2)["nucleusGeometry"] = box(6, 12, 10, 40)  # cut to its cell
    feature_of(document, 700).pop("nucleusGeometry")
    nine = feature_of(document, 9)
    nine["properties"]["objectType"] = "annotation"
    nine.pop("nucleusGeometry")
    import_corrections(run_folder, save(out, document))
    before, after = run_masks(run_folder), corrected_masks(run_folder)
    assert np.argwhere(after.nuclei == 2).min(axis=0).tolist() == [12, 6]
    assert np.argwhere(after.nuclei == 2).max(axis=0).tolist() == [19, 9]
    assert not (after.nuclei == 700).any()
    assert np.array_equal(after.nuclei == 9, before.nuclei == 9)
    assert words(run_folder) == [(2, "correct", None), (700, "correct", None)]


def test_napari_labels_in_ome_zarr(run_folder):
    out = export_run(run_folder, ExportSettings(to="ome-zarr", labels_only=True)).out
    array = zarr.open_array(out / "plain.zarr" / "labels" / "cells" / "0", mode="r+")
    ids = array[...]
    ids[5:20, 5:30] = np.where(ids[5:20, 5:30] == 2, 2, 33)  # its holes painted: two specks
    ids[0:3, 60:70] = 34
    ids[ids == 9] = 0
    array[...] = ids
    import_corrections(run_folder, out / "plain.zarr")
    after = corrected_masks(run_folder)
    assert words(run_folder) == [(9, "reject", None), (33, "correct", None), (34, "correct", None)]
    assert (after.cells[0:3, 60:70] == 34).all()
    assert not (after.nuclei == 9).any()
    shutil.rmtree(out / "plain.zarr" / "labels" / "nuclei")
    assert import_corrections(run_folder, out / "plain.zarr").counts["reject"] == 1


def test_napari_labels_in_a_tiff_without_nuclei(run_folder, tmp_path):
    ids = run_masks(run_folder).cells.copy()
    ids[ids == 2] = 0
    tifffile.imwrite(tmp_path / "plain_cells.tif", ids)
    import_corrections(run_folder, tmp_path / "plain_cells.tif")
    assert words(run_folder) == [(2, "reject", None)]
    assert set(np.unique(corrected_masks(run_folder).nuclei)) == {0, 9, 700}


@pytest.mark.parametrize("name", ["plain_green.png.geojson", "plain.tif.geojson.gz", "plain.json"])
def test_files_named_after_the_image_find_their_field(run_folder, exported, tmp_path, name):
    _, document = exported
    document["features"].remove(feature_of(document, 5))
    content = json.dumps(document["features"]).encode()  # a bare list is read as well
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert import_corrections(run_folder, tmp_path / name).counts["reject"] == 1


def test_a_filled_in_table(run_folder, tmp_path):
    out = export_run(run_folder, ExportSettings(to="csv")).out
    lines = (out / "cells.csv").read_text().splitlines()
    given = {'"plain",2,': "Nucleoli|16,,,", '"plain",3,': ",reject,,bob", '"plain",5,': ",,odd,"}
    for i, line in enumerate(lines[1:], start=1):
        lines[i] = line + "," + next((v for k, v in given.items() if line.startswith(k)), ",,,")
    lines[0] += ",locations,action,comment,who"
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    summary = import_corrections(run_folder, path, who="anna")
    assert summary.counts == {"accept": 0, "correct": 1, "reject": 1, "comment": 1}
    assert words(run_folder) == [
        (2, "correct", (2, 16)),
        (3, "reject", None),
        (5, "comment", None),
    ]
    found = read_corrections(run_folder)
    assert [(c.who, c.comment) for c in found] == [("anna", None), ("bob", None), ("anna", "odd")]


def test_problems_of_a_table_are_told_together(run_folder, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(
        "fov_id,cell_id,locations,action\nnone,1,2,\nplain,4,2,\nplain,2,nowhere,\n"
        "plain,2,,praise\nplain,2,3,accept\nplain,2,,correct\nplain,3,1,\nplain,3,2,\n"
    )
    with pytest.raises(InputError) as told:
        import_corrections(run_folder, path)
    text = str(told.value)
    assert "7 problem(s)" in text
    for part in ("no field 'none'", "no cell '4'", "'nowhere'", "'praise'", "earlier row"):
        assert part in text
    assert read_corrections(run_folder) == []


def _line(document):
    feature_of(document, 2)["geometry"] = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}


def _unknown_class(document):
    feature_of(document, 2)["properties"]["classification"] = {"name": "Tumor"}


def _twice(document):
    document["features"].append(feature_of(document, 2))


def _damaged(document):
    feature_of(document, 2)["geometry"]["coordinates"] = [[["x"]]]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_line, "expected a Polygon or MultiPolygon, got LineString"),
        (_unknown_class, "unknown class Tumor"),
        (_twice, "cell 2 stands several times"),
        (_damaged, "coordinates are damaged"),
    ],
)
def test_geojson_that_cannot_be_used_is_told(run_folder, exported, edit, told):
    out, document = exported
    edit(document)
    with pytest.raises(InputError, match=told):
        import_corrections(run_folder, save(out, document))
    assert read_corrections(run_folder) == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("plain.geojson", b"no", "expected GeoJSON"),
        ("plain.geojson", b"[" * 100_000, "expected GeoJSON"),
        ("plain.geojson.gz", gzip.compress(b"{}", mtime=0)[:-5], "expected GeoJSON"),
        ("plain.geojson", b'{"features": 3}', "expected a FeatureCollection"),
        ("other.geojson", b"[]", "no field of the run has the name of other.geojson"),
        ("plain.txt", b"", "found none"),
    ],
)
def test_files_that_cannot_be_used_are_told(run_folder, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        import_corrections(run_folder, tmp_path / name)


def test_more_that_cannot_be_used(run_folder, tmp_path, exported, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        import_corrections(run_folder, tmp_path / "none")
    out, document = exported
    save(out, document, "plain.json")
    with pytest.raises(InputError, match="both of field plain"):
        import_corrections(run_folder, out)
    cv2.imwrite(str(tmp_path / "plain_cells.png"), np.ones((5, 6), np.uint16))
    with pytest.raises(InputError, match="masks of the run's size"):
        import_corrections(run_folder, tmp_path / "plain_cells.png")
    store = tmp_path / "plain.zarr"
    (store / "labels").mkdir(parents=True)
    with pytest.raises(InputError, match="no Zarr array"):
        import_corrections(run_folder, store)
    shape = run_masks(run_folder).cells.shape
    array = zarr.create_array(store / "labels" / "cells" / "0", shape=shape, dtype="int64")
    array[...] = 70_000
    with pytest.raises(InputError, match="0-65535"):
        import_corrections(run_folder, store)
    zarr.create_array(
        store / "labels" / "cells" / "0", shape=shape, dtype="float32", overwrite=True
    )
    with pytest.raises(InputError, match="expected integer grey values, got float32"):
        import_corrections(run_folder, store)
    monkeypatch.setattr("hpacells.export.from_geojson.MAX_BYTES", 10)
    with pytest.raises(InputError, match="more than 10 bytes"):
        import_corrections(run_folder, out / "plain.geojson")


def test_labels_that_would_fill_the_memory_are_refused_unread(run_folder, tmp_path):
    place = tmp_path / "plain.zarr" / "labels" / "cells" / "0"
    shape = run_masks(run_folder).cells.shape
    for declared, chunks, told in (
        ((10**6, 10**6), (64, 64), "expected sides of 1 to 20000"),
        ((10**9, *shape), (1, *shape), "expected channels, rows and columns"),
        (shape, (10**6, 10**6), "more than any field"),
    ):
        zarr.create_array(place, shape=declared, chunks=chunks, dtype="uint16", overwrite=True)
        with pytest.raises(InputError, match=rf"cells/0: .*{told}"):
            import_corrections(run_folder, tmp_path / "plain.zarr")


@pytest.mark.parametrize("far", [1e300, -1e300, 1e18])
def test_coordinates_far_away_are_cut_at_the_image(run_folder, exported, far):
    out, document = exported
    feature_of(document, 3)["geometry"] = {
        "type": "Polygon",
        "coordinates": [[[100, 5], [far, 5], [far, 9], [100, 9]]],
    }
    import_corrections(run_folder, save(out, document))
    drawn = np.zeros_like(run_masks(run_folder).cells, bool)
    drawn[5:9, 100:] = far > 0
    drawn[5:9, :100] = far < 0
    assert np.array_equal(corrected_masks(run_folder).cells == 3, drawn)


def test_every_location_can_be_named(run_folder, exported):
    out, document = exported
    for location in LOCATIONS:
        feature_of(document, 5)["properties"]["classification"] = {"name": location.title}
        import_corrections(run_folder, save(out, document))
        assert words(run_folder) == [(5, "correct", (location.class_id,))]
