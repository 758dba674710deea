"""Files of microscopes' makers. None can be written here: bioio's own array reader stands in."""

import sys

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
