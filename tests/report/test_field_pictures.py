import base64
import zlib

import cv2
import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError
from hpacells.images.outlines import CellPath, PathsOf, write_paths
from hpacells.report.config import ReportSettings
from hpacells.report.field_pictures import fit_preview, iterate_pictures, read_strip
from hpacells.report.run_tables import EMPTY_CELLS, iterate_cells, iterate_fields


def list_pictures(run_folder, *, workers=1):
    cells = dict(iterate_cells(run_folder))
    fields = [
        (row, cells.get(row.fov_id, EMPTY_CELLS))
        for row in iterate_fields(run_folder)
        if row.status == "done"
    ]
    pictures = iterate_pictures(run_folder, fields, ReportSettings(), workers=workers)
    return {row.fov_id: picture for (row, _), picture in zip(fields, pictures, strict=True)}


@pytest.mark.parametrize("workers", [1, 3])
def test_each_field_has_its_own_cells(run_folder, tables, workers):
    pictures = list_pictures(run_folder, workers=workers)
    assert {fov_id: len(p["cells"]) for fov_id, p in pictures.items()} == {
        tables.HOSTILE: 2,
        "empty": 0,
        "plain": 7,
    }
    cells = pictures["plain"]["cells"]
    assert [cell["id"] for cell in cells] == list(range(1, 8))
    # Cell 1 was drawn around (25, 30); its name is kept from the left edge.
    assert cells[0]["y"] == pytest.approx(30, abs=1)
    assert cells[0]["x"] > 30
    assert (cells[1]["x"], cells[1]["y"]) == pytest.approx((75, 30), abs=2)
    assert cells[0]["d"].startswith("M")
    assert cells[0]["title"] == (
        "Cell 1, ok: Nuclear membrane 0.90, Endoplasmic reticulum 0.40, Nucleoplasm 0.01"
    )
    assert [cell["dashed"] for cell in cells] == [False] * 6 + [True]
    assert cells[6]["title"].startswith("Cell 7, rejected, more than half outside the frame: ")
    assert cells[6]["name"] == ""


def test_outlines_that_the_run_keeps_are_drawn_while_they_are_of_its_mask(run_folder):
    drawn = list_pictures(run_folder)["plain"]["cells"]
    mask = run_folder / "masks" / "plain_cells.png"
    (row,) = [row for row in iterate_fields(run_folder) if row.fov_id == "plain"]
    of = PathsOf(zlib.crc32(mask.read_bytes()), *fit_preview(row))
    kept = [CellPath(cell["id"], "M1 2 3 4 5 6Z", 50.0, 40.0) for cell in drawn]
    write_paths(run_folder / "previews" / "outlines" / "plain.json", kept, of)
    taken = list_pictures(run_folder)["plain"]["cells"]
    assert {cell["d"] for cell in taken} == {"M1 2 3 4 5 6Z"}
    assert [cell["title"] for cell in taken] == [cell["title"] for cell in drawn]
    ids = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(mask), ids, [cv2.IMWRITE_PNG_COMPRESSION, 0])  # the same ids in another file
    assert list_pictures(run_folder)["plain"]["cells"] == drawn


def test_the_strip_is_the_preview_as_stored(run_folder):
    stored = (run_folder / "previews" / "stains" / "plain.jpg").read_bytes()
    assert base64.b64decode(list_pictures(run_folder)["plain"]["strip"]) == stored


@pytest.mark.parametrize("content", [None, b"damaged", b"x" * 500_000])
def test_a_field_without_a_preview_keeps_its_outlines(run_folder, content):
    path = run_folder / "previews" / "stains" / "plain.jpg"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    plain = list_pictures(run_folder)["plain"]
    assert plain["strip"] == ""
    assert len(plain["cells"]) == 7


def test_a_mask_with_an_unknown_cell_is_refused(run_folder):
    path = run_folder / "masks" / "plain_cells.png"
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    ids[:2, :2] = 55
    cv2.imwrite(str(path), ids)
    with pytest.raises(InputError, match="plain: cell 55"):
        list_pictures(run_folder)


def test_a_mask_with_cells_of_a_field_without_any_is_refused(run_folder):
    (run_folder / "masks" / "empty_cells.png").write_bytes(
        (run_folder / "masks" / "plain_cells.png").read_bytes()
    )
    with pytest.raises(InputError, match="cell 1 stands in its mask"):
        list_pictures(run_folder)


def test_a_missing_mask_is_refused(run_folder):
    (run_folder / "masks" / "plain_cells.png").unlink()
    with pytest.raises(ImageError):
        list_pictures(run_folder)


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [(2048, 2048, (768, 768)), (100, 155, (100, 155)), (1000, 3000, (256, 768)), (0, 0, (1, 1))],
)
def test_previews_have_the_size_that_a_run_gives_them(tables, height, width, shape, tmp_path):
    field = tables.make_field("a") | {"height": height, "width": width}
    tables.write_run(tmp_path, [field], [])
    assert fit_preview(next(iterate_fields(tmp_path))) == shape


def test_a_large_preview_is_compressed_until_it_fits(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (800, 500), np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), noise, [cv2.IMWRITE_JPEG_QUALITY, 100])
    small = read_strip(path, 200_000)
    assert len(small) <= 200_000 < path.stat().st_size
    shape = cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_UNCHANGED).shape
    assert shape == (800, 500)
    assert read_strip(path, 10_000_000) == path.read_bytes()
    assert read_strip(tmp_path / "none.jpg", 1000) == b""
