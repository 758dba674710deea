import base64
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError
from hpacells.export.run_images import find_run_images
from hpacells.export.run_reader import FinishedRun
from hpacells.images.mask_files import write_label_image
from hpacells.review.cells import read_cells
from hpacells.review.config import ReviewSettings
from hpacells.review.pictures import CellPictures

SHAPE = (120, 200)


@pytest.fixture
def cells(run_folder):
    return read_cells(run_folder)


@pytest.fixture
def records(cells):
    return find_run_images(FinishedRun(cells.run_folder, cells.provenance, "", 2, 6, 0))


def decode(picture):
    content = base64.b64decode(picture["src"].partition(",")[2])
    strip = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    step = -(-picture["height"] // 8) * 8
    assert strip.shape == (4 * step, picture["width"])
    return [strip[k * step :][: picture["height"]].astype(float) for k in range(4)]


def draw_outline(picture, outline):
    """Fill the SVG path of an outline at the picture's size."""
    numbers = outline["d"].strip("MZ").split("ZM")[0].split()
    points = np.array(numbers, float).reshape(-1, 2)
    mask = np.zeros((picture["height"], picture["width"]), np.uint8)
    cv2.fillPoly(mask, [np.floor(points).astype(np.int32)], 1)
    return mask.astype(bool)


def write_previews(run_folder, scale=0.5):
    """Previews whose nucleus stain is white inside cell 2 alone."""
    height, width = (round(side * scale) for side in SHAPE)
    planes = np.zeros((4, height + -height % 8, width), np.uint8)
    cv2.circle(planes[2], (round(75 * scale), round(60 * scale)), round(20 * scale), 255, -1)
    for kind, picture in (
        ("stains", np.concatenate(list(planes))),
        ("composite", np.zeros((height, width, 3), np.uint8)),
    ):
        (run_folder / "previews" / kind).mkdir(parents=True)
        path = run_folder / "previews" / kind / "plain.jpg"
        path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def test_a_cell_is_cut_out_of_its_images_around_its_box(cells, records):
    row = cells.row_of["plain", 2]
    picture = CellPictures(cells, records, ReviewSettings()).picture(row)
    assert (picture["source"], picture["note"]) == ("image", None)
    assert (picture["width"], picture["height"]) == (82, 82)  # twice the box of 41
    assert picture["box"] == pytest.approx({"x": 20, "y": 20, "width": 41, "height": 41}, abs=1)
    assert picture["um_per_px"] == pytest.approx(0.08)
    red = decode(picture)[0]
    rows, columns = np.indices(SHAPE)
    expected = ((rows + columns) % 256)[20:102, 35:117]  # stretched by 255 / 254 at most
    assert np.abs(red - expected).mean() < 4


def test_the_own_outline_comes_first_and_lies_on_the_cell(cells, records):
    row = cells.row_of["plain", 2]
    picture = CellPictures(cells, records, ReviewSettings()).picture(row)
    ids = [outline["id"] for outline in picture["cells"]]
    assert ids == [2, 1, 3]
    own, left, _ = picture["cells"]
    assert own["color"] != left["color"]
    assert left["dashed"]
    drawn = draw_outline(picture, own)
    disc = np.zeros_like(drawn, np.uint8)
    cv2.circle(disc, (40, 40), 20, 1, -1)
    disc = disc.astype(bool)
    assert (drawn & disc).sum() / (drawn | disc).sum() > 0.93


def test_a_cell_at_the_edge_keeps_its_place_and_black_lies_outside(cells, records):
    row = cells.row_of["plain", 1]  # its box begins in column 5; the window at -16
    picture = CellPictures(cells, records, ReviewSettings()).picture(row)
    green = decode(picture)[1]
    assert green[:, :12].max() < 12
    assert green[:, 30:].mean() > 60


def test_a_large_cell_is_shrunk_with_its_outline(cells, records):
    row = cells.row_of["plain", 2]
    whole = CellPictures(cells, records, ReviewSettings()).picture(row)
    small = CellPictures(cells, records, ReviewSettings(window_px=41)).picture(row)
    assert small["width"] == 41
    assert small["um_per_px"] == pytest.approx(0.16)
    for key in ("x", "y", "width", "height"):
        assert small["box"][key] == pytest.approx(whole["box"][key] / 2)
    big, little = (draw_outline(p, p["cells"][0]).sum() for p in (whole, small))
    assert little == pytest.approx(big / 4, rel=0.1)


def test_without_the_images_previews_are_shown_and_said(cells, run_folder):
    write_previews(run_folder)
    picture = CellPictures(cells, {}, ReviewSettings()).picture(cells.row_of["plain", 2])
    assert picture["source"] == "preview"
    assert "expected its image where the run found it" in picture["note"]
    assert picture["um_per_px"] == pytest.approx(0.16)
    nucleus = decode(picture)[2]
    drawn = draw_outline(picture, picture["cells"][0])
    bright = nucleus > 128
    assert (drawn & bright).sum() / (drawn | bright).sum() > 0.85


def test_images_that_changed_since_the_run_are_not_shown(cells, records, run_folder, tmp_path):
    write_previews(run_folder)
    path = tmp_path / "images" / "plain_red.png"
    cv2.imwrite(str(path), np.zeros(SHAPE, np.uint8))
    picture = CellPictures(cells, records, ReviewSettings()).picture(cells.row_of["plain", 2])
    assert picture["source"] == "preview"
    assert "changed since the run" in picture["note"]


def test_without_any_picture_the_outlines_are_left(cells):
    picture = CellPictures(cells, {}, ReviewSettings()).picture(cells.row_of["plain", 2])
    assert (picture["src"], picture["source"]) == (None, "none")
    assert "preview" in picture["note"]
    assert [outline["id"] for outline in picture["cells"]] == [2, 1, 3]


def test_a_mask_of_another_size_is_refused_and_tried_again(cells, run_folder):
    pictures = CellPictures(cells, {}, ReviewSettings())
    path = run_folder / "masks" / "plain_cells.png"
    good = path.read_bytes()
    write_label_image(path, np.ones((5, 5), np.uint16))
    row = cells.row_of["plain", 2]
    with pytest.raises(InputError, match="expected a mask 120 x 200"):
        pictures.picture(row)
    path.unlink()
    with pytest.raises(ImageError, match="there is none"):
        pictures.picture(row)
    path.write_bytes(good)
    assert pictures.picture(row)["source"] == "none"


def test_a_picture_asked_for_many_times_at_once_is_read_once(cells, records, monkeypatch):
    calls = []
    real = CellPictures._read_field

    def counted(self, fov_id):
        calls.append(fov_id)
        return real(self, fov_id)

    monkeypatch.setattr(CellPictures, "_read_field", counted)
    pictures = CellPictures(cells, records, ReviewSettings(kept_fields=1, kept_pictures=2))
    rows = [cells.row_of["plain", i] for i in (1, 2, 3)] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(pictures.picture, rows))
    assert calls == ["plain"]
    assert found[0] == found[3]
    pictures.picture(0)
    pictures.picture(rows[0])
    assert calls == ["plain", cells.fov_ids[0], "plain"]  # of one field only was room
