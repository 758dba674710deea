import re
from collections import Counter

import cv2
import numpy as np
import pyarrow as pa
import pytest

from hpacells.core.cell_table import CELL_SCHEMA
from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, InputError, OutputError
from hpacells.core.fov import FieldOfView
from hpacells.core.palette import STYLES, hex_to_rgb
from hpacells.report.cell_figure import draw_cell
from hpacells.report.config import FigureSettings
from hpacells.report.field_figure import draw_field, name_field, place_pictures
from hpacells.report.figure_sheet import Sheet, printable, save_figure
from hpacells.report.stain_pictures import picture_stains, read_previews

ROWS, COLUMNS, PIXEL_UM = 120, 200, 0.5
SETTINGS = FigureSettings(width_mm=90, dpi=150)


@pytest.fixture
def drawn(tables):
    """A field of 100 x 60 µm with three discs: ER, Golgi, and a rejected one."""
    cells = np.zeros((ROWS, COLUMNS), np.int32)
    for i, centre in enumerate([(50, 60), (100, 60), (150, 60)], start=1):
        cv2.circle(cells, centre, 20, i, -1)
    pixels = np.zeros((len(CHANNELS), ROWS, COLUMNS), np.uint8)
    pixels[2, cells > 0] = 200
    rows = [
        tables.make_cell("f", 1, top=6, score=0.81),
        tables.make_cell("f", 2, top=7, status="border"),
        tables.make_cell("f", 3, status="rejected"),
    ]
    for row, left in zip(rows, (30, 80, 130), strict=True):
        row |= {"r0": 40, "c0": left, "r1": 81, "c1": left + 41}
    field = tables.make_field("f", n_ok=1, n_border=1, n_rejected=1, gene="ACTB")
    field |= {"width": COLUMNS, "height": ROWS, "pixel_size_um": PIXEL_UM}
    table = pa.Table.from_pylist(rows, CELL_SCHEMA)
    return picture_stains(FieldOfView("f", pixels, PIXEL_UM, 255)), cells, table, field


def render(figure, folder):
    path = folder / "figure.png"
    save_figure(figure, path)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)


def near(picture, color):
    return (np.abs(picture - hex_to_rgb(color)).max(axis=-1) < 12).sum()


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_field_is_as_wide_as_asked_and_its_outlines_have_the_locations_colours(drawn, tmp_path):
    figure = draw_field(*drawn, SETTINGS)
    picture = render(figure, tmp_path)
    assert picture.shape[1] == pytest.approx(90 / 25.4 * 150, abs=1)
    plain = render(
        draw_field(*drawn, FigureSettings(width_mm=90, dpi=150, outlines=False)), tmp_path
    )
    for style, is_shown in ((STYLES[6], True), (STYLES[7], True), (STYLES[13], False)):
        assert (near(picture, style.color) > 40) == is_shown
        assert near(plain, style.color) < 5
    told = texts_of(figure)
    assert {"Composite", "Microtubules", "Protein", "Nucleus", "ER"} <= set(told)
    assert {"1\nER", "2\nGolgi", "Endoplasmic reticulum (1)", "Golgi apparatus (1)"} <= set(told)
    assert {"thin: cut by the frame (1)", "dashed: rejected (1)"} <= set(told)
    assert not any(text.startswith("3") for text in told)  # a rejected cell has no location


@pytest.mark.parametrize(("names", "expected"), [("id", {"1", "2"}), ("none", set())])
def test_names_in_cells(drawn, names, expected):
    told = texts_of(draw_field(*drawn, FigureSettings(names=names)))
    assert {text for text in told if text[0].isdigit() and "µm" not in text} == expected


def test_the_scale_bar_is_as_long_as_it_says_in_every_picture(drawn):
    figure = draw_field(*drawn, SETTINGS)
    assert "20 µm" in texts_of(figure)  # of 100 µm
    bars = [axes.patches[-1].get_width() * PIXEL_UM for axes in figure.axes[:5]]
    assert bars == pytest.approx([20] * 5)


def test_a_picture_smaller_than_the_mask_keeps_the_scale(drawn):
    _, cells, table, field = drawn
    pixels = np.full((len(CHANNELS), ROWS, COLUMNS), 50, np.uint8)
    small = picture_stains(FieldOfView("f", pixels, PIXEL_UM, 255), max_side=COLUMNS // 2)
    figure = draw_field(small, cells, table, field, SETTINGS)
    composite = figure.axes[0]
    assert composite.patches[-1].get_width() * 2 * PIXEL_UM == pytest.approx(20)
    outline = composite.patches[1].get_path().get_extents()  # of cell 1, in pixels of the picture
    assert (outline.x0, outline.x1) == (pytest.approx(15, abs=1.5), pytest.approx(35, abs=1.5))


@pytest.mark.parametrize("n_stains", range(5))
@pytest.mark.parametrize("ratio", [0.4, 1.0, 1.5, 6.0])
def test_pictures_fill_the_width_and_never_overlap(n_stains, ratio):
    places = place_pictures(n_stains, ratio, 180)
    assert len(places) == n_stains + 1
    large = places[0][1]
    for left, side, top in places:
        assert side > 0
        assert left + side <= 180 + 1e-6
        assert top + side * ratio <= large * ratio + 1e-6
    boxes = [(left, top, left + side, top + side * ratio) for left, side, top in places]
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart = (
                one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            )
            assert apart
    if ratio <= 1:
        assert max(left + side for left, side, _ in places) == pytest.approx(180)


def test_a_cell_shows_its_scores_and_what_is_known_of_it(drawn, tmp_path):
    figure = draw_cell(*drawn, 1, SETTINGS)
    told = texts_of(figure)
    assert "0.81" in told
    assert told.count("0.01") == 17
    heads = [text.get_text() for text in figure.texts]
    assert heads[0] == "f · cell 1 · ACTB"
    assert heads[1].startswith("whole cell · 1000 µm² · doubt 0.19")
    bars = figure.axes[-1].patches
    assert [bar.get_width() for bar in bars][6] == pytest.approx(0.81)
    assert len(bars) == len(STYLES)
    assert near(render(figure, tmp_path), STYLES[6].color) > 100
    composite = figure.axes[0]
    assert composite.get_xlim()[1] == 51  # 41 px and a margin
    rejected = draw_cell(*drawn, 3, FigureSettings(width_mm=200))
    assert "rejected: more than half outside" in rejected.texts[1].get_text()


def test_a_cell_at_the_corner_and_a_frame_smaller_than_the_margin(drawn):
    pictures, _, table, field = drawn
    corner = np.zeros((ROWS, COLUMNS), np.int32)
    corner[:, :ROWS] = 1
    row = table.to_pylist()[0] | {"r0": 0, "c0": 0, "r1": ROWS, "c1": ROWS}
    figure = draw_cell(pictures, corner, pa.Table.from_pylist([row], CELL_SCHEMA), field, 1)
    assert figure.axes[0].get_xlim()[1] == ROWS


def test_an_unknown_cell_is_told(drawn):
    with pytest.raises(InputError, match="its ids are 1 to 3"):
        draw_cell(*drawn, 4)
    pictures, cells, table, field = drawn
    with pytest.raises(InputError, match="it has no cells"):
        draw_cell(pictures, cells, table.slice(0, 0), field, 1)


def test_a_field_without_cells_has_no_legend(drawn):
    pictures, cells, table, field = drawn
    figure = draw_field(pictures, np.zeros_like(cells), table.slice(0, 0), field)
    assert len(figure.axes) == 5


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".tif"])
def test_the_same_figure_gives_the_same_file(drawn, tmp_path, suffix):
    paths = [tmp_path / f"{i}{suffix}" for i in range(2)]
    for path in paths:
        save_figure(draw_field(*drawn, FigureSettings(width_mm=60, dpi=60)), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".tif": b"II*"}
    assert first.startswith(starts[suffix])


def test_hostile_and_foreign_names_are_written_as_they_are(drawn, tmp_path):
    pictures, cells, table, field = drawn
    strange = field | {"fov_id": "$\\frac{1}{$<script>&", "gene": "基因", "cell_line": "x" * 400}
    path = tmp_path / "figure.svg"
    save_figure(draw_field(pictures, cells, table, strange, SETTINGS), path)
    text = path.read_text()
    assert "<script" not in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    figure = draw_field(pictures, cells, table, strange, SETTINGS)
    head = figure.texts[0].get_text()
    assert head.startswith("$\\frac{1}{$<script>& · □□")
    assert head.endswith("…")
    assert printable("a基\nµ") == "a□\nµ"


def test_a_name_without_a_known_suffix_is_refused(tmp_path):
    for name in ("figure", "figure.xyz"):
        with pytest.raises(OutputError, match=r"\.png, \.pdf, \.svg"):
            save_figure(Sheet(50, 50, 72).figure, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_of_a_field_stands_in_one_line():
    field = {"fov_id": "f", "gene": "ACTB", "antibody": None, "cell_line": "U2OS"}
    assert name_field(field) == "f · ACTB · U2OS"
    assert name_field(field, 3) == "f · cell 3 · ACTB · U2OS"


def test_chosen_stains_alone_make_the_composite():
    pixels = np.full((len(CHANNELS), 40, 60), 80, np.uint8)
    pixels[:, :, 30:] = 0
    fov = FieldOfView("f", pixels, PIXEL_UM, 255)
    pictures = picture_stains(fov, stains=(Channel.NUCLEUS, Channel.PROTEIN))
    assert list(pictures.stains) == [Channel.NUCLEUS, Channel.PROTEIN]
    assert pictures.composite[..., 0].max() == 0
    assert pictures.composite[..., 1].max() == 255


def test_previews_of_a_run_are_cut_into_stains(tmp_path):
    for kind in ("composite", "stains"):
        (tmp_path / "previews" / kind).mkdir(parents=True)
    height, width = 50, 64
    strip = np.concatenate([np.full((56, width), 60 * i, np.uint8) for i in range(4)])
    paths = [tmp_path / "previews" / kind / "f.jpg" for kind in ("composite", "stains")]
    paths[0].write_bytes(cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes())
    paths[1].write_bytes(cv2.imencode(".jpg", strip)[1].tobytes())
    pictures = read_previews(tmp_path, "f")
    means = [plane.mean() for plane in pictures.stains.values()]
    assert means == pytest.approx([0, 60, 120, 180], abs=1)
    assert Counter(plane.shape for plane in pictures.stains.values()) == {(height, width): 4}
    paths[1].write_bytes(cv2.imencode(".jpg", strip[:100])[1].tobytes())
    with pytest.raises(ImageError, match="4 planes of 50 x 64"):
        read_previews(tmp_path, "f")
    paths[1].write_bytes(b"nothing")
    with pytest.raises(ImageError, match="missing or damaged"):
        read_previews(tmp_path, "f")
