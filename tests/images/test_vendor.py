"""Files of microscopes' makers.

A LIF is written here by its published structure. The reader of CZI is under the GPL and never
installed, and no free library writes ND2: for these bioio's own array reader stands in.
"""

import struct
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError, MissingExtraError
from hpacells.images import vendor
from hpacells.images.discover import discover_fields
from hpacells.images.read import digest_field, read_field

BY_NAME = "red=Tubulin,green=GFP,blue=DAPI,yellow=ER"
NAMES = ["DAPI", "ER", "Tubulin", "GFP"]


@pytest.fixture
def stack():
    return np.random.default_rng(5).integers(0, 65536, (4, 24, 40)).astype(np.uint16)


@pytest.fixture
def opened_as(monkeypatch):
    bioio = pytest.importorskip("bioio")
    types = pytest.importorskip("bioio_base.types")

    def stand_in(*scenes, size=0.1, dim_order="CYX"):
        def open_array(path):
            return bioio.BioImage(
                list(scenes),
                channel_names=[NAMES] * len(scenes),
                dim_order=[dim_order] * len(scenes),
                physical_pixel_sizes=types.PhysicalPixelSizes(None, size, size),
            )

        monkeypatch.setattr(vendor, "_open", open_array)

    return stand_in


@pytest.mark.parametrize("suffix", vendor.VENDOR_SUFFIXES)
def test_scenes_names_and_pixel_size(tmp_path, stack, opened_as, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"any")
    opened_as(stack, stack[:, ::-1])
    one, two = discover_fields(tmp_path, channels=BY_NAME, pixel_size_um=0.3)
    assert (one.fov_id, two.fov_id, two.scene) == ("a_1", "a_2", 2)
    np.testing.assert_array_equal(read_field(one).pixels, stack[[2, 3, 0, 1]])
    np.testing.assert_array_equal(read_field(two).pixels, stack[[2, 3, 0, 1], ::-1])
    opened_as(stack)
    assert discover_fields(path, channels=BY_NAME)[0].pixel_size_um == 0.1
    with pytest.raises(ImageError, match="expected an image number 2, the file has 1"):
        read_field(two)
    before = digest_field(one)
    path.write_bytes(b"other")
    assert digest_field(one) != before


def test_without_a_size_and_with_depth(tmp_path, stack, opened_as):
    (tmp_path / "a.nd2").write_bytes(b"any")
    opened_as(stack, size=None)
    with pytest.raises(InputError, match="Give --pixel-size-um"):
        discover_fields(tmp_path, channels=BY_NAME)
    opened_as(np.stack([stack, stack]), dim_order="ZCYX")
    with pytest.raises(InputError, match=r"a\.nd2: expected channels, rows and columns, got .*Z 2"):
        discover_fields(tmp_path, channels=BY_NAME)


def write_lif(path, scenes, *, size_um=0.1, xml=None):
    """Write a LIF (version 2): a header of XML in UTF-16, then a block of pixels per scene."""
    body = ET.Element("LMSDataContainerHeader", Version="2")
    root = ET.SubElement(body, "Element", Name="Project")
    children = ET.SubElement(root, "Children")
    for k, scene in enumerate(scenes):
        n_channels, height, width = scene.shape
        element = ET.SubElement(children, "Element", Name=f"Series {k}", UniqueID=str(k))
        image = ET.SubElement(ET.SubElement(element, "Data"), "Image")
        description = ET.SubElement(image, "ImageDescription")
        channels = ET.SubElement(description, "Channels")
        for c in range(n_channels):
            known = {"DataType": 0, "ChannelTag": 0, "Resolution": 16, "Min": 0, "Max": 65535}
            known |= {"NameOfMeasuredQuantity": "", "Unit": "", "LUTName": NAMES[c]}
            known |= {"IsLUTInverted": 0, "BytesInc": c * height * width * 2, "BitInc": 0}
            ET.SubElement(channels, "ChannelDescription", {n: str(v) for n, v in known.items()})
        dimensions = ET.SubElement(description, "Dimensions")
        for dim, n, step in ((1, width, 2), (2, height, 2 * width)):
            length = (n - 1) * size_um * 1e-6  # between the middles of the first and last pixel
            known = {"DimID": dim, "NumberOfElements": n, "Origin": 0, "Length": length}
            known |= {"Unit": "m", "BytesInc": step, "BitInc": 0}
            ET.SubElement(dimensions, "DimensionDescription", {n: str(v) for n, v in known.items()})
        ET.SubElement(element, "Memory", Size=str(scene.nbytes), MemoryBlockID=f"MemBlock_{k}")
    text = (xml or ET.tostring(body, "unicode")).encode("utf-16-le")
    parts = [struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2), text]
    for k, scene in enumerate(scenes):
        name = f"MemBlock_{k}".encode("utf-16-le")
        head = (0x70, len(name) + 14, 0x2A, scene.nbytes, 0x2A, len(name) // 2)
        parts += [struct.pack("<IIBQBI", *head), name, scene.astype("<u2").tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def test_a_lif_by_its_own_reader(tmp_path, stack):
    pytest.importorskip("bioio_lif")
    write_lif(tmp_path / "a.lif", [stack, stack[:, ::-1]])
    one, two = discover_fields(tmp_path, channels=BY_NAME)
    assert [(r.fov_id, r.scene) for r in (one, two)] == [("a_1", 1), ("a_2", 2)]
    assert one.pixel_size_um == pytest.approx(0.1)
    np.testing.assert_array_equal(read_field(one).pixels, stack[[2, 3, 0, 1]])
    np.testing.assert_array_equal(read_field(two).pixels, stack[[2, 3, 0, 1], ::-1])


ELSEWHERE = (
    '<LMSDataContainerHeader Version="2"><Element Name="p"><Data><Image/></Data>'
    '<Memory Size="9"><Frame File="../secret.tif" Offset="0" Size="9"/></Memory></Element>'
    "</LMSDataContainerHeader>"
)
BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + ']><LMSDataContainerHeader Version="2">&i;</LMSDataContainerHeader>'
)


def test_hostile_lif_is_refused(tmp_path, stack):
    pytest.importorskip("bioio_lif")
    (tmp_path / "a.lif").write_text(ELSEWHERE)
    with pytest.raises(ImageError, match=r"a\.lif: expected a Leica LIF"):
        vendor.count_scenes(tmp_path / "a.lif")
    path = write_lif(tmp_path / "b.lif", [stack], xml=BOMB)
    with pytest.raises((ImageError, MissingExtraError), match=r"b\.lif: "):
        vendor.count_scenes(path)
    path = write_lif(tmp_path / "c.lif", [stack])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"c\.lif: "):
        read_field(*discover_fields(path, channels=BY_NAME))


@pytest.mark.parametrize("suffix", [".lif", ".nd2"])
def test_a_file_that_its_reader_does_not_take(tmp_path, suffix):
    pytest.importorskip("bioio")
    pytest.importorskip(f"bioio_{suffix[1:]}")
    (tmp_path / f"a{suffix}").write_bytes(b"not such a file" * 100)
    with pytest.raises((InputError, MissingExtraError), match=rf"a\{suffix}: "):
        discover_fields(tmp_path, channels=BY_NAME)


def test_missing_packages_are_named_with_their_licence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    for suffix, message in (
        (".czi", r"GPL-3.*pip install 'hpacells\[vendor\]' bioio-czi"),
        (".lif", r"pip install 'hpacells\[vendor\]'"),
    ):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"any")
        with pytest.raises(MissingExtraError, match=message):
            discover_fields(path, channels=BY_NAME)


def test_a_file_that_is_not_there():
    pytest.importorskip("bioio")
    from pathlib import Path  # noqa: PLC0415

    with pytest.raises(ImageError, match="no such file"):
        vendor.count_scenes(Path("nowhere.lif"))
