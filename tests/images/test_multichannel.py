"""TIFFs of several stains, from a file, a folder and a manifest."""

import gzip

import cv2
import numpy as np
import pytest
import tifffile

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, ImageError, InputError, PixelSizeError
from hpacells.images.discover import discover_fields
from hpacells.images.multichannel import open_channels
from hpacells.images.read import digest_field, read_field, read_field_with_digest

NAMES = ["DAPI", "ER", "Tubulin", "GFP"]
BY_NAME = "red=Tubulin,green=GFP,blue=DAPI,yellow=ER"
BY_NUMBER = "red=3,green=4,blue=1,yellow=2"
POSITIONS = [2, 3, 0, 1]  # of red, green, blue, yellow
SIZE = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}


@pytest.fixture
def stack():
    rng = np.random.default_rng(5)
    return rng.integers(0, 65536, (4, 24, 40)).astype(np.uint16)


def write_ome(path, stack, *, names=NAMES, options=None, **metadata):
    given = {"axes": "CYX", **SIZE, **metadata}
    if names is not None:
        given["Channel"] = {"Name": names}
    tifffile.imwrite(
        path, stack, metadata=given, ome=True, photometric="minisblack", **options or {}
    )
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zstd", "tile": (16, 16)},
        {"tile": (16, 16), "byteorder": ">"},
    ],
)
def test_an_ome_tiff_by_its_channel_names(tmp_path, stack, options):
    path = write_ome(tmp_path / "a.1.ome.tif", stack, options=options)
    (record,) = discover_fields(path, channels=BY_NAME)
    field = read_field(record)
    assert (record.fov_id, record.pixel_size_um, field.max_value) == ("a.1", 0.1, 65535)
    np.testing.assert_array_equal(field.pixels, stack[POSITIONS])


def test_a_file_that_names_its_stains_needs_no_declaration(tmp_path, stack):
    write_ome(tmp_path / "b.ome.tiff", stack, names=["nucleus", "er", "microtubules", "protein"])
    write_ome(tmp_path / "a.ome.tif", stack[::-1], names=["green", "red", "yellow", "blue"])
    a, b = discover_fields(tmp_path)
    np.testing.assert_array_equal(read_field(a).pixels, stack[POSITIONS])
    np.testing.assert_array_equal(read_field(b).pixels, stack[POSITIONS])


def test_the_digest_is_of_content_and_roles(tmp_path, stack):
    path = write_ome(tmp_path / "a.ome.tif", stack)
    (record,) = discover_fields(path, channels=BY_NAME)
    (same,) = discover_fields(path, channels=BY_NUMBER)
    (other,) = discover_fields(path, channels="red=4,green=3,blue=1,yellow=2")
    assert read_field_with_digest(record)[1] == digest_field(record) == digest_field(same)
    assert digest_field(other) != digest_field(record)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("imagej", {"imagej": True, "metadata": {"axes": "CYX", "Labels": NAMES, "unit": "um"}}),
        ("pages", {"photometric": "minisblack"}),
        ("samples", {"planarconfig": "contig", "photometric": "minisblack"}),
        ("planes", {"planarconfig": "separate", "photometric": "minisblack"}),
    ],
)
def test_other_tiffs_of_several_channels(tmp_path, stack, kind, options):
    pixels = np.moveaxis(stack, 0, 2) if kind == "samples" else stack
    tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=(5, 5), **options)
    declared = BY_NAME if kind == "imagej" else BY_NUMBER
    (record,) = discover_fields(tmp_path, channels=declared, pixel_size_um=0.2)
    np.testing.assert_array_equal(read_field(record).pixels, stack[POSITIONS])
    if kind == "imagej":
        assert discover_fields(tmp_path, channels=declared)[0].pixel_size_um == pytest.approx(0.2)
    else:
        with pytest.raises(PixelSizeError, match="Give --pixel-size-um"):
            discover_fields(tmp_path, channels=declared)


def test_a_gzipped_stack(tmp_path, stack):
    plain = write_ome(tmp_path / "a.ome.tif", stack)
    (tmp_path / "b.ome.tif.gz").write_bytes(gzip.compress(plain.read_bytes()))
    a, b = discover_fields(tmp_path, channels=BY_NAME)
    assert (b.fov_id, b.pixel_size_um) == ("b", 0.1)
    np.testing.assert_array_equal(read_field(a).pixels, read_field(b).pixels)


def test_several_images_in_a_file_are_several_fields(tmp_path, stack):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for size, image in ((0.1, stack), (0.2, stack[:, ::-1])):
            file.write(
                image,
                photometric="minisblack",
                metadata={
                    "axes": "CYX",
                    "Channel": {"Name": NAMES},
                    "PhysicalSizeX": size,
                    "PhysicalSizeY": size,
                },
            )
    one, two = discover_fields(tmp_path / "a.ome.tif", channels=BY_NAME)
    assert [(r.fov_id, r.scene, r.pixel_size_um) for r in (one, two)] == [
        ("a_1", 1, 0.1),
        ("a_2", 2, 0.2),
    ]
    np.testing.assert_array_equal(read_field(two).pixels, stack[POSITIONS, ::-1])
    assert digest_field(one) != digest_field(two)


def test_a_manifest_says_channel_and_scene(tmp_path, stack, write_field, planes):
    write_ome(tmp_path / "a.ome.tif", stack.astype(np.uint8))
    write_field(tmp_path, "x")
    cv2.imwrite(str(tmp_path / "rgb.png"), np.dstack([planes["blue"]] * 2 + [planes["red"]]))
    (tmp_path / "fields.csv").write_text(
        "fov_id,red,green,blue,yellow,red_channel,green_channel,blue_channel,yellow_channel,scene,"
        "pixel_size_um\n"
        "named,a.ome.tif,a.ome.tif,a.ome.tif,a.ome.tif,Tubulin,GFP,1,ER,,\n"
        "mixed,a.ome.tif,a.ome.tif,a.ome.tif,x_yellow.png,Tubulin,GFP,DAPI,,1,\n"
        "colours,rgb.png,x_green.png,rgb.png,x_yellow.png,1,,3,,,0.3\n"
    )
    colours, mixed, named = discover_fields(tmp_path / "fields.csv")
    assert (colours.pixel_size_um, mixed.pixel_size_um, named.pixel_size_um) == (0.3, 0.1, 0.1)
    expected = stack.astype(np.uint8)[POSITIONS]
    np.testing.assert_array_equal(read_field(named).pixels, expected)
    np.testing.assert_array_equal(read_field(mixed).pixels[:3], expected[:3])
    np.testing.assert_array_equal(read_field(mixed).pixels[3], planes["yellow"])
    np.testing.assert_array_equal(
        read_field(colours).pixels, np.stack([planes[c.value] for c in CHANNELS])
    )


@pytest.mark.parametrize("scene", ["0", "x", "-1", "1.5"])
def test_a_malformed_scene(tmp_path, scene):
    (tmp_path / "f.csv").write_text(f"fov_id,red,green,blue,yellow,scene\nf,a,b,c,d,{scene}\n")
    with pytest.raises(InputError, match="row 2: expected a scene counted from 1"):
        discover_fields(tmp_path / "f.csv")


def test_a_scene_and_a_file_that_are_not_there(tmp_path, stack):
    write_ome(tmp_path / "a.ome.tif", stack)
    for path, scene, message in (
        ("a.ome.tif", 2, r"a\.ome\.tif: expected an image number 2, the file has 1"),
        ("b.ome.tif", 1, r"b\.ome\.tif: no such file"),
        ("c.jpg", 1, r"c\.jpg: expected a TIFF, PNG"),
    ):
        (tmp_path / "c.jpg").write_bytes(b"")
        with pytest.raises(ImageError, match=message), open_channels(tmp_path / path, scene):
            pass


def test_wrong_names_stop_before_work_and_say_what_is_there(tmp_path, stack):
    write_ome(tmp_path / "a.ome.tif", stack)
    with pytest.raises(
        InputError, match=r"a\.ome\.tif.*1 DAPI, 2 ER, 3 Tubulin, 4 GFP.*--channels"
    ):
        discover_fields(tmp_path)
    with pytest.raises(InputError, match="the stain yellow as channel 'Calnexin'"):
        discover_fields(tmp_path, channels="red=Tubulin,green=GFP,blue=DAPI,yellow=Calnexin")


def test_one_file_of_many_with_other_channels_fails_alone(tmp_path, stack):
    write_ome(tmp_path / "a.ome.tif", stack)
    write_ome(tmp_path / "b.ome.tif", stack[:3], names=NAMES[:3])
    (tmp_path / "c.ome.tif").write_bytes(b"II*\0 damaged")
    good, short, damaged = discover_fields(tmp_path, channels=BY_NAME)
    assert read_field(good).width == 40
    with pytest.raises(ImageError, match=r"b\.ome\.tif.*green as channel 'GFP', there is no"):
        read_field(short)
    with pytest.raises(ImageError, match=r"c\.ome\.tif: damaged TIFF"):
        read_field(damaged)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((3, 4, 24, 40), "ZCYX", "Z 3, C 4, Y 24"),
        ((2, 4, 24, 40), "TCYX", "T 2, C 4, Y 24"),
        ((65, 24, 40), "CYX", "1 to 64 channels"),
    ],
)
def test_depth_time_and_too_many_channels_are_refused(tmp_path, shape, axes, message):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, np.zeros(shape, np.uint8), ome=True, metadata={"axes": axes}, photometric="minisblack"
    )
    with pytest.raises(InputError, match=message):
        discover_fields(path, channels=BY_NUMBER, pixel_size_um=0.1)


def test_other_grey_values_are_refused(tmp_path, stack):
    write_ome(tmp_path / "a.ome.tif", stack.astype(np.float32))
    with pytest.raises(InputError, match=r"a\.ome\.tif: expected integer grey values, got float32"):
        discover_fields(tmp_path, channels=BY_NAME)
    write_ome(tmp_path / "a.ome.tif", stack, options={}, names=NAMES)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack[0], photometric="miniswhite")
    with pytest.raises(InputError, match="inverted grey"):
        discover_fields(tmp_path, channels=BY_NAME)
    write_ome(tmp_path / "a.ome.tif", stack.astype(np.int16))
    (record,) = discover_fields(tmp_path, channels=BY_NAME)
    with pytest.raises(ImageError, match="expected 8- or 16-bit grey values, got int16"):
        read_field(record)


def test_stains_whose_own_pixel_sizes_differ(tmp_path, stack):
    write_ome(tmp_path / "a.ome.tif", stack)
    write_ome(tmp_path / "b.ome.tif", stack, PhysicalSizeX=0.2, PhysicalSizeY=0.2)
    (tmp_path / "f.csv").write_text(
        "fov_id,red,green,blue,yellow,red_channel,green_channel,blue_channel,yellow_channel\n"
        "f,a.ome.tif,a.ome.tif,a.ome.tif,b.ome.tif,1,2,3,4\n"
    )
    (record,) = discover_fields(tmp_path / "f.csv")
    with pytest.raises(ImageError, match=r"own pixel sizes differ \(red 0\.1.*yellow 0\.2"):
        read_field(record)


def test_pixels_that_are_not_square(tmp_path, stack):
    path = write_ome(tmp_path / "a.ome.tif", stack, PhysicalSizeX=0.2)
    with pytest.raises(InputError, match=r"a\.ome\.tif: expected square pixels"):
        discover_fields(path, channels=BY_NAME)


def test_an_option_without_effect_and_two_files_of_one_id(tmp_path, stack, write_field):
    write_field(tmp_path / "q", "a")
    with pytest.raises(ConfigError, match=r"--channels: .*one stain each"):
        discover_fields(tmp_path / "q", channels=BY_NAME)
    (tmp_path / "f.csv").write_text("fov_id,red,green,blue,yellow\nf,a,b,c,d\n")
    with pytest.raises(ConfigError, match="is a manifest; its columns red_channel"):
        discover_fields(tmp_path / "f.csv", channels=BY_NAME)
    write_ome(tmp_path / "m.ome.tif", stack)
    write_ome(tmp_path / "m.tif", stack)
    with pytest.raises(InputError, match=r"m\.tif: makes the field m, as .*m\.ome\.tif"):
        discover_fields(tmp_path, channels=BY_NAME)


def test_a_dataset_folder_of_such_files_has_labels(tmp_path, stack):
    (tmp_path / "train").mkdir()
    write_ome(tmp_path / "train" / "a.ome.tif", stack)
    (tmp_path / "train.csv").write_text("ID,Label,gene\na,3|1,ACTB\n")
    (record,) = discover_fields(tmp_path, channels=BY_NAME)
    assert (record.image_locations, record.gene) == ((1, 3), "ACTB")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {c} "{f"&{b};" * 10}">' for b, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><OME>&i;</OME>"
)
ELSEWHERE = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="u">'
    '<Image ID="Image:0"><Pixels ID="P" DimensionOrder="XYCZT" Type="uint16" SizeX="9" SizeY="24" '
    'SizeC="4" SizeZ="1" SizeT="1"><TiffData><UUID FileName="../../secret.tif">u2</UUID></TiffData>'
    "</Pixels></Image></OME>"
)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (BOMB, "entities of its own"),
        (ELSEWHERE, r"pixels in other files \('\.\./\.\./secret\.tif'\)"),
        ("<?xml?><OME></OME", "damaged OME-XML|no channel"),
    ],
)
def test_hostile_ome_xml_is_refused(tmp_path, stack, xml, message):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, description=xml, metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match=rf"a\.ome\.tif: .*({message})"):
        discover_fields(path, channels=BY_NAME)
    for channel in CHANNELS:  # one stain each
        tifffile.imwrite(
            tmp_path / f"q_{channel.value}.tif",
            stack[channel.position],
            description=xml,
            metadata=None,
        )
    (record,) = discover_fields(tmp_path, pixel_size_um=0.1)
    if xml in (BOMB, ELSEWHERE):
        with pytest.raises(ImageError, match=message):
            read_field(record)
