import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, InputError
from hpacells.core.fov import METADATA_COLUMNS, FieldOfView, FovRecord, to_8bit

PATHS = {channel: Path(f"a_{channel.value}.png") for channel in CHANNELS}
PIXELS = np.arange(4 * 3 * 5, dtype=np.uint8).reshape(4, 3, 5)


def test_a_record_cannot_be_changed():
    given = dict(PATHS)
    record = FovRecord("a", given, image_locations=(1,))
    given.clear()
    assert record.paths == PATHS
    with pytest.raises(TypeError):
        record.paths[Channel.ER] = Path("b.png")
    with pytest.raises(FrozenInstanceError):
        record.fov_id = "b"
    assert set(METADATA_COLUMNS) < set(FovRecord.__dataclass_fields__)


def test_a_record_travels_to_other_processes():
    # records are sent to worker processes; a read-only mapping alone does not pickle
    record = FovRecord("a", PATHS, 0.1, (1, 2), gene="ACTB")
    for travelled in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):  # noqa: S301
        assert travelled == record
        assert travelled.paths == PATHS
    assert replace(record, pixel_size_um=0.2).paths == PATHS


@pytest.mark.parametrize("fov_id", ["", "a/b", "a\\b", ".", ".."])
def test_ids_that_are_no_file_names(fov_id):
    with pytest.raises(InputError, match="field id without path separators"):
        FovRecord(fov_id, PATHS)


@pytest.mark.parametrize("fov_id", ["x" * 201, "日" * 67, "a\nb", "a\x7f"])
def test_ids_that_the_output_s_files_cannot_bear(fov_id):
    # a long id ended a run when its masks were written; one with a line break was passed over
    with pytest.raises(InputError, match="at most 200 bytes without control"):
        FovRecord(fov_id, PATHS)
    assert FovRecord("x" * 200, PATHS).fov_id == "x" * 200


def test_all_four_stains_need_a_path():
    with pytest.raises(InputError, match=r"field a: no path for stain\(s\) green, yellow"):
        FovRecord("a", {c: PATHS[c] for c in (Channel.MICROTUBULES, Channel.NUCLEUS)})


def test_a_field_gives_its_stains_and_sizes():
    field = FieldOfView("a", PIXELS, 0.1, 255)
    assert (field.height, field.width) == (3, 5)
    np.testing.assert_array_equal(field.channel(Channel.PROTEIN), PIXELS[1])
    assert np.shares_memory(field.channel(Channel.ER), PIXELS)


@pytest.mark.parametrize(
    ("pixels", "size", "max_value", "message"),
    [
        (PIXELS[0], 0.1, 255, r"expected pixels \(4, H, W\)"),
        (PIXELS[:3], 0.1, 255, r"expected pixels \(4, H, W\)"),
        (PIXELS.astype(np.float32), 0.1, 255, "8- or 16-bit grey values, got float32"),
        (PIXELS[:, :0], 0.1, 255, "the image is empty"),
        (PIXELS, float("nan"), 255, "pixel size of 0.005 to 5"),
        (PIXELS, 0.0, 255, "Give --pixel-size-um"),
        (PIXELS, 5.1, 255, "Give --pixel-size-um"),
        (PIXELS, 0.1, 1000, "full scale 1000"),
    ],
)
def test_impossible_fields(pixels, size, max_value, message):
    with pytest.raises(ImageError, match=f"field a: .*{message}"):
        FieldOfView("a", pixels, size, max_value)


@pytest.mark.parametrize("max_value", [255, 4095, 65535])
def test_the_8_bit_scale_is_rounded_exactly(max_value):
    values = np.arange(max_value + 1, dtype=np.uint16)
    expected = np.floor(values * 255.0 / max_value + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(to_8bit(values, max_value), expected)
    assert to_8bit(values, max_value)[[0, -1]].tolist() == [0, 255]


def test_values_above_full_scale_are_clipped_and_8_bits_left_alone():
    assert to_8bit(np.array([4095, 5000, 65535], np.uint16), 4095).tolist() == [255] * 3
    assert to_8bit(PIXELS, 255) is PIXELS
    field = FieldOfView("a", PIXELS.astype(np.uint16) * 257, 0.1, 65535)
    np.testing.assert_array_equal(to_8bit(field.channel(Channel.ER), field.max_value), PIXELS[3])


def test_metadata_are_the_columns_that_tables_fill():
    known = FovRecord("a", PATHS, image_locations=(2, 16), gene="G").metadata()
    assert known["gene"] == "G"
    assert known["well"] is None
    assert known["image_labels"] == "2|16"
    unnamed = FovRecord("a", PATHS).metadata()
    assert list(unnamed) == [*METADATA_COLUMNS, "image_labels"]
    assert set(unnamed.values()) == {None}
