"""The report in a real browser: opened from the file, without network."""

import csv

import cv2
import pytest

from hpacells.report.page import write_report

WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture
def report(run_folder, open_page, tables):
    """Opens the report of the hand-drawn run; ``plain`` is field 0."""
    tables.write_extra_variation(run_folder)
    address = write_report(run_folder).as_uri()

    def open_it(**options):
        page = open_page(address, offline=True, **options)
        page.wait_for_selector("html[data-ready]")
        return page

    return open_it


def go_to(page, selector):
    page.locator(selector).scroll_into_view_if_needed()
    return page.locator(selector)


def shown_pixels(page, canvas):
    """Sums of red, green and blue over a canvas."""
    return page.locator(canvas).evaluate(
        """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const sums = [0, 0, 0];
          data.forEach((value, i) => { if (i % 4 < 3) sums[i % 4] += value; });
          return sums;
        }"""
    )


def test_each_stain_alone_shows_its_own_plane_in_grey(report, run_folder):
    page = report()
    field = go_to(page, "#field-0")
    strip = cv2.imread(str(run_folder / "previews" / "stains" / "plain.jpg"), cv2.IMREAD_GRAYSCALE)
    boxes = field.locator("input[data-stain]")
    for plane in range(4):
        boxes.nth(plane).check()
        for other in range(4):
            if other != plane:
                boxes.nth(other).uncheck()
        page.wait_for_timeout(150)
        shown = page.locator("#field-0 .viewer-stage canvas").evaluate(
            """(canvas) => {
              const at = canvas.width / 200, context = canvas.getContext("2d");
              return [...context.getImageData(20.5 * at, 10.5 * at, 1, 1).data];
            }"""
        )
        assert shown[:3] == pytest.approx([int(strip[120 * plane + 10, 20])] * 3, abs=14)


def test_stains_are_switched_and_brightened(report):
    page = report()
    field = go_to(page, "#field-0")
    field.locator("path").first.wait_for()
    canvas = "#field-0 .viewer-stage canvas"
    page.wait_for_function(
        "(s) => document.querySelector(s).getContext('2d').getImageData(9, 99, 1, 1).data[1] > 0",
        arg=canvas,
    )
    red, green, blue = shown_pixels(page, canvas)
    assert min(red, green, blue) > 0
    field.get_by_label("Protein", exact=True).uncheck()
    page.wait_for_timeout(100)
    without = shown_pixels(page, canvas)
    assert without[1] < 0.5 * green
    assert without[2] == blue
    for stain in ("Microtubules", "ER"):
        field.get_by_label(stain, exact=True).uncheck()
    page.wait_for_timeout(100)
    alone = shown_pixels(page, canvas)
    assert alone[0] == alone[1] == alone[2] == blue  # one stain alone is grey
    field.get_by_label("Brightness").fill("2")
    page.wait_for_timeout(100)
    assert 1.2 * blue < shown_pixels(page, canvas)[2] <= 2 * blue
    # the look is that of the whole page
    assert not go_to(page, "#field-1").get_by_label("Protein", exact=True).is_checked()


def test_a_click_on_a_cell_tells_of_it_and_keys_go_on(report):
    page = report()
    field = go_to(page, "#field-0")
    panel = field.locator(".panel")
    field.locator("path[data-cell='3']").click()
    assert "spatial (z 4.2)" in panel.inner_text()
    field.locator("path[data-cell='2']").click()
    assert panel.locator("h4").inner_text() == "Cell 2"
    assert "Nucleoli" in panel.inner_text()
    assert "Outlier" not in panel.inner_text()
    assert "0.90" in panel.inner_text()
    assert panel.locator("canvas").count() == 5  # the crop, and its four stains
    page.mouse.move(5, 5)
    assert panel.locator("h4").inner_text() == "Cell 2"  # pinned
    page.keyboard.press("Escape")
    field.locator("path[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert panel.locator("h4").inner_text() == "Cell 7"
    assert "more than half outside the frame" in panel.inner_text()
    page.keyboard.press("+")
    page.wait_for_timeout(100)
    assert field.locator(".viewer-stage.zoomed").count() == 1
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert field.locator("svg").get_attribute("viewBox") == "0 0 200 120"


def test_tables_sort_filter_and_download(report):
    page = report()
    fields = page.locator(".table[data-file='fields.csv']")
    names = fields.locator("tbody tr:not([hidden]) td:nth-child(2)")
    fields.get_by_role("button", name="ok", exact=True).click()
    assert names.all_inner_texts() == ["5", "2", "0"]
    fields.get_by_role("button", name="ok", exact=True).click()
    assert names.all_inner_texts() == ["0", "2", "5"]
    fields.get_by_role("searchbox").fill("golgi plain")
    page.wait_for_timeout(300)
    assert names.all_inner_texts() == ["5"]
    assert fields.locator(".count").inner_text() == "1 of 3 rows"

    cells = go_to(page, "#cells-host")
    cells.get_by_label("Any status").select_option("ok")
    cells.get_by_role("searchbox").fill("plain")
    page.wait_for_timeout(300)
    assert cells.locator(".count").inner_text() == "5 of 9 rows"
    cells.get_by_role("button", name="Doubt").click()
    with page.expect_download() as download:
        cells.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    assert [row["Field"] for row in rows] == ["plain"] * 5
    assert float(rows[0]["p_nuclear_membrane"]) == pytest.approx(0.9)
    assert len(rows[0]) > 25


def test_gallery_map_and_table_open_a_cell(report, tables):
    page = report()
    alerts = []  # what the hostile name would do
    page.on("dialog", lambda alert: alerts.append(alert.message) or alert.dismiss())
    gallery = go_to(page, "#gallery-host")
    gallery.get_by_label("Location").select_option(label="Nuclear membrane (highest in 1)")
    scores = gallery.locator(".gallery button span").all_inner_texts()
    assert len(scores) == 8  # the rejected cell is left out
    assert scores == sorted(scores, reverse=True)
    gallery.locator(".gallery button").first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("h4").inner_text() == "Cell 1 of plain"
    dialog.get_by_role("button", name="Show in its field").click()
    assert page.locator("#field-0 .panel h4").inner_text() == "Cell 1"

    go_to(page, "#map-host").get_by_role("application").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert dialog.locator("h4").inner_text().startswith("Cell ")
    page.keyboard.press("Escape")

    row = go_to(page, "#cells-host").locator("tbody tr").last
    row.get_by_role("button").click()
    assert tables.HOSTILE in dialog.locator("h4").inner_text()
    assert alerts == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", WIDTHS)
def test_axe_finds_no_serious_fault_and_nothing_is_wider_than_the_screen(
    report, find_faults, screen, scheme
):
    page = report(width=WIDTHS[screen], color_scheme=scheme)
    for part in ("#field-0", "#gallery-host", "#map-host", "#cells-host"):
        go_to(page, part)
        page.wait_for_timeout(150)
    go_to(page, "#field-0").locator("path[data-cell='2']").click()
    page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    assert find_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[screen]


@pytest.mark.parametrize("n_cells", [0, 1])
def test_hardly_any_cell_and_no_picture(tmp_path, tables, open_page, n_cells):
    cells = [tables.make_cell("a", 1)][:n_cells]
    tables.write_run(tmp_path, [tables.make_field("a", n_ok=n_cells)], cells)
    for path in (tmp_path / "previews" / "stains").iterdir():
        path.unlink()
    (tmp_path / "embeddings.parquet").unlink()
    page = open_page(write_report(tmp_path).as_uri(), offline=True)
    page.wait_for_selector("html[data-ready]")
    panel = go_to(page, "#field-0").locator(".panel")
    panel.get_by_text("no picture of this field").wait_for()
    gallery = go_to(page, "#gallery-host")
    gallery.get_by_text("There is no usable cell" if n_cells == 0 else "Outlines").wait_for()
    assert "no embeddings" in go_to(page, "section[aria-labelledby='map']").inner_text()
    count = go_to(page, "#cells-host").locator(".count")
    assert count.inner_text() == ("1 row" if n_cells else "0 rows")
    if n_cells:
        page.locator("#field-0 path").click()
        assert panel.locator("h4").inner_text() == "Cell 1"
