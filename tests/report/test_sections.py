import base64

import cv2
import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError
from hpacells.report.config import ReportSettings
from hpacells.report.overview import read_overview
from hpacells.report.sections import iterate_sections, read_preview


def list_sections(run_folder, **settings):
    chosen = ReportSettings(**settings)
    sections = iterate_sections(run_folder, read_overview(run_folder, chosen), chosen)
    return {section.row.fov_id: section for section in sections}


def test_each_pictured_field_has_its_own_cells(run_folder, tables):
    sections = list_sections(run_folder)
    assert {fov_id: len(s.cells) for fov_id, s in sections.items()} == {
        tables.HOSTILE: 2,
        "empty": 0,
        "plain": 7,
    }
    plain = sections["plain"]
    assert (plain.height_px, plain.width_px) == (60, 100)
    assert [outline.cell.cell_id for outline in plain.outlines] == list(range(1, 8))
    # Cell 1 was drawn around (25, 30) of 200 x 120; its name is kept from the left edge.
    assert plain.outlines[0].y == pytest.approx(15, abs=1)
    assert plain.cells[0].listed == [(1, pytest.approx(0.9)), (6, pytest.approx(0.4))]
    assert len(plain.cells[0].top) == 3
    assert plain.data[6][:3] == [7, "rejected", "more than half outside the frame"]
    assert plain.variation is not None
    assert sections["empty"].variation is None


def test_a_field_without_previews_keeps_its_outlines(run_folder):
    (run_folder / "previews" / "composite" / "plain.jpg").unlink()
    (run_folder / "previews" / "protein" / "plain.jpg").write_bytes(b"damaged")
    plain = list_sections(run_folder)["plain"]
    assert (plain.composite, plain.protein) == ("", "")
    assert (plain.height_px, plain.width_px) == (120, 200)
    assert len(plain.outlines) == 7


def test_a_mask_with_an_unknown_cell_is_refused(run_folder):
    path = run_folder / "masks" / "plain_cells.png"
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    ids[:2, :2] = 55
    cv2.imwrite(str(path), ids)
    with pytest.raises(InputError, match="cell 55"):
        list_sections(run_folder)


def test_a_missing_mask_is_refused(run_folder):
    (run_folder / "masks" / "plain_cells.png").unlink()
    with pytest.raises(ImageError):
        list_sections(run_folder)


def test_a_large_preview_is_compressed_until_it_fits(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (300, 500, 3), np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), noise, [cv2.IMWRITE_JPEG_QUALITY, 100])
    small, shape = read_preview(path, 100_000)
    kept, _ = read_preview(path, 10_000_000)
    assert shape == (300, 500)
    assert len(base64.b64decode(small)) <= 100_000 < path.stat().st_size
    assert base64.b64decode(kept) == path.read_bytes()
    assert read_preview(tmp_path / "none.jpg", 1000) == ("", None)
