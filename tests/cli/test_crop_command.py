import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from hpacells.cli.crop import MaskFiles, app
from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ImageError, InputError, ModelError, OutputError
from hpacells.core.masks import CellMasks
from hpacells.crops.store import CropStore
from hpacells.images.mask_files import write_masks

SIZE = ["--crop-px", "32", "--crop-pixel-size-um", "0.3"]


@pytest.fixture
def folders(tmp_path):
    """Two fields of 200 x 260 pixels with two cells each, and their masks."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    cells = np.zeros((200, 260), np.int32)
    nuclei = np.zeros_like(cells)
    for cell_id, column in ((1, 20), (4, 140)):
        cells[20:160, column : column + 100] = cell_id
        nuclei[60:110, column + 20 : column + 70] = cell_id
    for name in ("a", "b"):
        for channel in CHANNELS:
            pixels = rng.integers(0, 255, cells.shape, dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / f"{name}_{channel.value}.png"), pixels)
        write_masks(tmp_path / "run" / "masks", name, CellMasks(cells, nuclei, "drawn", 0.08))
    return tmp_path


def invoke(folders, *options, masks="run"):
    arguments = [str(folders / "images"), str(folders / masks), str(folders / "out"), *options]
    return CliRunner().invoke(app, arguments)


def test_images_and_masks_become_a_store(folders):
    result = invoke(folders, *SIZE)
    assert result.exit_code == 0, result.output
    assert "4 crops of 4 cells in 2 fields" in result.output
    store = CropStore.open(folders / "out")
    assert [part.crops.shape for part in store.fields()] == [(2, 4, 32, 32)] * 2
    assert store.cells_table()["cell_id"].to_pylist() == [1, 4, 1, 4]
    assert invoke(folders, *SIZE, masks="run/masks").exit_code == 0


def test_a_field_without_masks_is_listed_and_exits_1(folders):
    (folders / "run" / "masks" / "a_nuclei.png").unlink()
    result = invoke(folders, *SIZE)
    assert result.exit_code == 1
    assert "failed: a" in result.output
    assert CropStore.open(folders / "out").counts["failed"] == 1


def test_masks_of_another_size_fail_alone(folders):
    small = np.ones((40, 50), np.int32)
    write_masks(folders / "run" / "masks", "b", CellMasks(small, small, "drawn", 0.08))
    result = invoke(folders, *SIZE)
    assert result.exit_code == 1
    assert "200 rows and 260 columns" in result.output


def test_changed_masks_are_refused(folders):
    invoke(folders, *SIZE)
    empty = np.zeros((200, 260), np.int32)
    write_masks(folders / "run" / "masks", "b", CellMasks(empty, empty, "drawn", 0.08))
    assert isinstance(invoke(folders, *SIZE).exception, OutputError)


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], (32, 0.64)), (["--crop-px", "48"], (48, 0.64)), (SIZE[2:], (32, 0.3)), (SIZE, (32, 0.3))],
    ids=["model", "px", "um", "both"],
)
def test_numbers_go_before_the_model_s(folders, tiny_model_folder, options, expected):
    result = invoke(folders, *options, "--model", str(tiny_model_folder))
    assert result.exit_code == 0, result.output
    spec = CropStore.open(folders / "out").spec
    assert (spec.crop_px, spec.pixel_size_um) == expected


def test_a_model_that_is_not_there_is_named_unless_it_is_not_needed(folders):
    assert isinstance(invoke(folders, "--model", "ghost", *SIZE[:2]).exception, ModelError)
    assert invoke(folders, "--model", "ghost", *SIZE).exit_code == 0


def test_another_pixel_size_of_the_images_is_refused(folders):
    invoke(folders, *SIZE, "--pixel-size-um", "0.1")
    again = invoke(folders, *SIZE, "--pixel-size-um", "0.2")
    assert isinstance(again.exception, OutputError)
    assert "pixel size changed" in str(again.exception)


def test_a_folder_without_masks_is_refused(folders):
    result = invoke(folders, *SIZE, masks="images")
    assert isinstance(result.exception, InputError)
    assert "hpacells segment" in str(result.exception)


def test_the_digest_follows_both_mask_files(folders):
    source = MaskFiles(folders / "run" / "masks")
    before = source.digest("a")
    assert before == source.digest("b")
    (source.folder / "a_nuclei.png").write_bytes(b"other")
    assert source.digest("a") != before
    (source.folder / "a_nuclei.png").unlink()
    with pytest.raises(ImageError, match=r"expected the mask a_nuclei\.png"):
        source.digest("a")


def test_help_ends_with_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: hpacells crop" in result.output
