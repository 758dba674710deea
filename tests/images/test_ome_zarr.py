"""OME-Zarr 0.4 and 0.5 written by zarr itself, with metadata as the specification has them."""

import json

import numpy as np
import pytest
import zarr

from hpacells.core.errors import ImageError, InputError
from hpacells.images.discover import discover_fields
from hpacells.images.ome_zarr import read_zarr_plane
from hpacells.images.read import digest_field, read_field

NAMES = ["DAPI", "ER", "Tubulin", "GFP"]
BY_NAME = "red=Tubulin,green=GFP,blue=DAPI,yellow=ER"
POSITIONS = [2, 3, 0, 1]
FORMATS = {"0.4": 2, "0.5": 3}


@pytest.fixture
def stack():
    return np.random.default_rng(5).integers(0, 65536, (4, 24, 40)).astype(np.uint16)


def multiscale(axes="cyx", *, unit="micrometer", scale=0.1, path="0"):
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for axis in named:
        if axis["type"] == "space" and unit:
            axis["unit"] = unit
    steps = [scale if a in "yx" else 1.0 for a in axes]
    transformations = [{"type": "scale", "scale": steps}]
    return {
        "axes": named,
        "datasets": [{"path": path, "coordinateTransformations": transformations}],
    }


def write_group(path, version, metadata):
    group = zarr.open_group(path, mode="a", zarr_format=FORMATS[version])
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", **metadata}
    else:
        group.attrs.update(metadata)
    return group


def write_image(store, stack, version="0.4", *, names=NAMES, **changed):
    metadata = {"multiscales": [multiscale(**changed)]}
    if names:
        metadata["omero"] = {"channels": [{"label": name} for name in names]}
    group = write_group(store, version, metadata)
    chunks = (1,) * (stack.ndim - 2) + (16, 16)
    group.create_array("0", data=stack, chunks=chunks)
    return store


@pytest.mark.parametrize("version", FORMATS)
def test_an_image_its_pixel_size_and_names(tmp_path, stack, version):
    path = write_image(tmp_path / "a.ome.zarr", stack, version)
    (record,) = discover_fields(path, channels=BY_NAME)
    assert (record.fov_id, record.pixel_size_um) == ("a", 0.1)
    np.testing.assert_array_equal(read_field(record).pixels, stack[POSITIONS])
    (in_folder,) = discover_fields(tmp_path, channels=BY_NAME)
    assert digest_field(in_folder) == digest_field(record)
    before = digest_field(record)
    zarr.open_group(path, mode="a").create_group("labels")  # what others add beside is no change
    assert digest_field(record) == before


def test_the_digest_follows_content_and_roles(tmp_path, stack):
    path = write_image(tmp_path / "a.zarr", stack)
    (record,) = discover_fields(path, channels=BY_NAME)
    (other,) = discover_fields(path, channels="red=4,green=3,blue=1,yellow=2")
    before = digest_field(record)
    assert digest_field(other) != before
    zarr.open_array(path / "0", mode="a")[1, 0, 0] ^= 1
    assert digest_field(record) != before


@pytest.mark.parametrize("version", FORMATS)
def test_five_axes_of_which_two_have_one_step(tmp_path, stack, version):
    write_image(tmp_path / "a.zarr", stack[None, :, None], version, axes="tczyx")
    (record,) = discover_fields(tmp_path / "a.zarr", channels=BY_NAME)
    np.testing.assert_array_equal(read_field(record).pixels, stack[POSITIONS])


@pytest.mark.parametrize(
    ("unit", "scale", "expected"),
    [("micrometer", 0.2, 0.2), ("nanometer", 80, 0.08), ("millimeter", 1e-4, 0.1)],
)
def test_units_of_length(tmp_path, stack, unit, scale, expected):
    write_image(tmp_path / "a.zarr", stack, unit=unit, scale=scale)
    (record,) = discover_fields(tmp_path / "a.zarr", channels=BY_NAME)
    assert record.pixel_size_um == pytest.approx(expected)


@pytest.mark.parametrize("changed", [{"unit": None}, {"unit": "pixel"}, {"scale": 0.0}])
def test_without_a_unit_the_size_is_not_known(tmp_path, stack, changed):
    write_image(tmp_path / "a.zarr", stack, **changed)
    with pytest.raises(InputError, match="Give --pixel-size-um"):
        discover_fields(tmp_path / "a.zarr", channels=BY_NAME)
    assert discover_fields(tmp_path / "a.zarr", channels=BY_NAME, pixel_size_um=0.3)


@pytest.mark.parametrize("version", FORMATS)
def test_a_plate_and_a_store_of_several_images(tmp_path, stack, version):
    plate = tmp_path / "p.zarr"
    wells = [{"path": "A/1"}, {"path": "B/2"}]
    write_group(plate, version, {"plate": {"wells": wells}})
    for place in ("A/1", "B/2"):
        write_group(plate / place, version, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        for image in "01":
            write_image(plate / place / image, stack, version)
    records = discover_fields(plate, channels=BY_NAME)
    assert [(r.fov_id, r.well) for r in records] == [
        ("p_A1_0", "A1"),
        ("p_A1_1", "A1"),
        ("p_B2_0", "B2"),
        ("p_B2_1", "B2"),
    ]
    several = tmp_path / "s.zarr"
    write_group(several, version, {"bioformats2raw.layout": 3})
    for image in ("0", "1", "10"):
        write_image(several / image, stack, version)
    write_group(several / "OME", version, {})
    assert [r.fov_id for r in discover_fields(several, channels=BY_NAME)] == ["s_0", "s_1", "s_10"]
    np.testing.assert_array_equal(read_field(records[3]).pixels, stack[POSITIONS])


@pytest.mark.parametrize(
    ("path", "message"),
    [("../other", "lead outside the store"), ("/etc", "lead outside"), ("link", "is a link to")],
)
def test_paths_that_leave_the_store(tmp_path, stack, path, message):
    write_image(tmp_path / "other.zarr", stack)
    (tmp_path / "other").mkdir()
    store = write_image(tmp_path / "a.zarr", stack, path=path)
    (store / "link").symlink_to(tmp_path / "other.zarr" / "0")
    with pytest.raises(InputError, match=message):
        discover_fields(store, channels=BY_NAME)


def change(path, name, **changed):
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def test_bombs_and_damage_are_refused(tmp_path, stack):
    good = write_image(tmp_path / "good.zarr", stack)
    store = write_image(tmp_path / "a.zarr", stack)
    (record,) = discover_fields(store, channels=BY_NAME)
    chunk = next(p for p in sorted((store / "0").rglob("*")) if p.is_file() and p.name[0] != ".")
    chunk.write_bytes(b"not a chunk")
    with pytest.raises(ImageError, match=r"a\.zarr/0: damaged Zarr array"):
        read_field(record)
    for shape, chunks, message in (
        ([4, 10**6, 10**6], [1, 64, 64], "expected sides of 1 to 20000"),
        ([10**9, 24, 40], [1, 16, 16], "channels"),
        ([4, 24, 40], [1, 10**6, 10**6], "more than any field"),
        ([4, 24], [1, 16], "it has 2 axes"),
    ):
        change(store / "0", ".zarray", shape=shape, chunks=chunks)
        with pytest.raises(InputError, match=message):
            discover_fields(store, channels=BY_NAME)
    (store / "0" / ".zarray").write_text("{")
    with pytest.raises(InputError, match="damaged or no Zarr array"):
        discover_fields(store, channels=BY_NAME)
    records = discover_fields(tmp_path, channels=BY_NAME)  # the good one stays
    assert read_field(records[1]).record.paths == dict.fromkeys(records[1].paths, good)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "expected OME-Zarr metadata"),
        ({"multiscales": []}, "as in NGFF 0.4 or 0.5"),
        ({"multiscales": [{"axes": ["c", "y", "x"], "datasets": [{"path": "0"}]}]}, "as in NGFF"),
        ({"multiscales": [{**multiscale(), "datasets": []}]}, "as in NGFF"),
        ({"plate": {"wells": [{}]}}, "plate metadata lack"),
        ({"plate": []}, "plate metadata lack"),
    ],
)
def test_metadata_that_are_not_as_specified(tmp_path, metadata, message):
    write_group(tmp_path / "a.zarr", "0.4", metadata)
    with pytest.raises(InputError, match=message):
        discover_fields(tmp_path / "a.zarr", channels=BY_NAME)


def test_metadata_that_are_no_json_or_too_long(tmp_path):
    store = tmp_path / "a.zarr"
    store.mkdir()
    for content, message in (
        (b"{", "cannot be read as metadata"),
        (b" " * 20_000_001, "more than"),
    ):
        (store / ".zattrs").write_bytes(content)
        with pytest.raises(InputError, match=message):
            discover_fields(store, channels=BY_NAME)


@pytest.mark.parametrize("before", [(), (1,), (1, 1, 1)])
def test_a_plane_of_labels(tmp_path, stack, before):
    zarr.create_array(tmp_path / "0", data=stack[0].reshape(*before, 24, 40))
    np.testing.assert_array_equal(read_zarr_plane(tmp_path / "0"), stack[0])


def test_what_is_no_plane(tmp_path, stack):
    with pytest.raises(ImageError, match="damaged or no Zarr array"):
        read_zarr_plane(tmp_path / "0")
    for shape in ((24,), (4, 24, 40), (1,) * 4 + (24, 40)):
        zarr.create_array(tmp_path / "0", shape=shape, dtype="uint16", overwrite=True)
        with pytest.raises(ImageError, match="rows and columns"):
            read_zarr_plane(tmp_path / "0")
