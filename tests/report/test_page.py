import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from hpacells.core.errors import InputError
from hpacells.report.config import ReportSettings
from hpacells.report.page import write_report

VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """Elements, the text outside scripts, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))


def read_page(run_folder, **arguments):
    return Page(write_report(run_folder, **arguments).read_text(encoding="utf-8"))


def test_the_page_says_what_is_in_the_run(run_folder):
    page = read_page(run_folder)
    assert page.open == []
    assert "3fields done" in page.text.replace("fields done3", "3fields done")
    for expected in (
        "sim-nfnet",
        "(Taught by simulated fields)",
        "1 field of 4 failed",
        "No usable cell was found in 1 field.",
        "1 field with fewer than 5 ok cells",
        "expected 4 stains, <yellow> is missing",
        "Nucleoli, Golgi apparatus",
        "rejected: more than half outside the frame",
        "segmenterwatershed",
    ):
        assert expected in page.text.replace(" watershed", "watershed"), expected


def test_every_cell_has_an_outline_and_a_row(run_folder):
    page = read_page(run_folder)
    paths = page.named("path")
    assert len(paths) == 9
    assert len([row for row in page.named("tr") if "data-cell" in row]) == 9
    assert [path["class"] for path in paths].count("rejected") == 1
    assert [("stroke-dasharray" in path) for path in paths].count(True) == 1
    # One stop for Tab in each field; arrow keys do the rest.
    assert [path["tabindex"] for path in paths].count("0") == 2


def test_a_hostile_id_stays_text(run_folder, tables):
    page = read_page(run_folder)
    assert tables.HOSTILE in page.text
    assert "<i>U-2 OS</i>" in page.text
    scripts = page.named("script")
    assert [s.get("type") for s in scripts] == ["application/json"] * 4 + [None]
    assert not [tag for tag, _ in page.elements if tag == "yellow"]


def test_nothing_comes_from_elsewhere(run_folder):
    page = read_page(run_folder)
    addresses = [a[key] for _, a in page.elements for key in ("src", "href") if key in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a[1:] for a in addresses if a.startswith("#")} <= set(ids)


def test_provenance_may_be_handed_over_before_run_json_is_there(run_folder):
    (run_folder / "run.json").unlink()
    assert "has no run.json" in read_page(run_folder).text
    text = read_page(run_folder, provenance={"model_id": "<b>given</b>"}).text
    assert "by the model <b>given</b>." in text
    assert "has no run.json" not in text


def test_fields_and_cells_that_look_wrong_are_named(tmp_path, tables):
    said = "stains look swapped: nuclei in green, not in blue"
    flagged = tables.make_field("odd", n_ok=1) | {"qc_swapped_stains": True, "reason": said}
    dim = [tables.make_field(f"dim{i}") | {"qc_constant_stain": True} for i in range(7)]
    cell = tables.make_cell("odd", 1) | {"qc_out_of_focus": True, "qc_saturated": True}
    tables.write_run(tmp_path, [flagged, *dim], [cell])
    text = read_page(tmp_path).text
    assert "Stains look swapped in 1 field: odd. " in text
    assert "or noise in 7 fields: dim0, dim1, dim2, dim3, dim4 and 2 more." in text
    assert said in text
    assert "out of focus, saturated" in text


def test_a_run_of_failures_only(tmp_path, tables):
    tables.write_run(tmp_path, [tables.make_field("a", reason="dark")], [])
    page = read_page(tmp_path)
    assert page.open == []
    assert "No field was done." in page.text


def test_beyond_the_limit_fields_are_rows_only(tmp_path, tables):
    fields = [tables.make_field(f"f{i}", n_ok=6) for i in range(4)]
    cells = [tables.make_cell(f"f{i}", j + 1) for i in range(4) for j in range(6)]
    tables.write_run(tmp_path, fields, cells)
    settings = ReportSettings(max_pictured_fields=2, max_listed_fields=3)
    page = read_page(tmp_path, settings=settings)
    assert len(page.named("img")) == 4
    assert [a["href"] for a in page.named("a")] == ["#fields", "#field-0", "#field-1"]
    assert "shown for 2 fields of 4" in page.text
    assert "The first 3 of 4 fields" in page.text


def test_mostly_rejected_cells_warn(tmp_path, tables):
    field = tables.make_field("a", n_ok=1, n_rejected=2)
    cells = [tables.make_cell("a", i, status="ok" if i == 1 else "rejected") for i in (1, 2, 3)]
    tables.write_run(tmp_path, [field], cells)
    assert "2 of 3 cells were rejected" in read_page(tmp_path).text


def test_an_older_page_survives_a_failure(run_folder):
    path = write_report(run_folder)
    before = path.read_bytes()
    assert write_report(run_folder).read_bytes() == before
    (run_folder / "cells.parquet").unlink()
    with pytest.raises(InputError):
        write_report(run_folder)
    assert path.read_bytes() == before
    assert [p.name for p in run_folder.iterdir() if ".tmp" in p.name] == []


ACTIONS = """
<script>
{
  const field = document.querySelector("#field-2");
  const key = (name) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  const note = (name, value) => { document.documentElement.dataset[name] = value; };
  const names = () => [...document.querySelector("table.sort").tBodies[0].rows]
    .map((row) => row.cells[1].textContent).join();
  const buttons = document.querySelectorAll("table.sort thead button");
  buttons[1].click(); note("falling", names());
  buttons[1].click(); note("rising", names());
  field.querySelector("path").focus(); key("ArrowRight"); key("ArrowRight");
  note("panel", field.querySelector(".panel").textContent);
  key("Enter"); document.activeElement.blur();
  note("pinned", field.querySelector(".panel h3").textContent);
  field.querySelector("input[value=protein]").click();
  const slider = field.querySelector("input[type=range]");
  slider.value = "2"; slider.dispatchEvent(new Event("input", { bubbles: true }));
  field.querySelector("[data-tool=names]").click();
  note("stage", field.querySelector(".stage").className);
  note("brightness", field.querySelector(".stage").style.getPropertyValue("--brightness"));
}
</script></body>
"""


# A browser whose window is not in front sends no focus events: the keys must work all the same.
UNFOCUSED = """
<script>
for (const name of ["focus", "blur", "focusin", "focusout"])
  addEventListener(name, (event) => event.stopImmediatePropagation(), true);
</script></head>
"""


@pytest.mark.parametrize("head", ["</head>", UNFOCUSED], ids=["as-is", "unfocused"])
def test_the_script_runs_in_a_browser(run_folder, tmp_path, head):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed")
    path = write_report(run_folder)
    page = path.read_text(encoding="utf-8").replace("</body>", ACTIONS).replace("</head>", head)
    path.write_text(page, encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking "
        "--disable-component-update --disable-sync --no-first-run --virtual-time-budget=2000"
    )
    command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    dom = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    root = Page(dom.replace("<!DOCTYPE html>", "")).named("html")[0]
    assert root.get("data-error") is None
    assert root["data-ready"] == "true"
    assert root["data-falling"] == "5,2,0"
    assert root["data-rising"] == "0,2,5"
    assert root["data-panel"].startswith("Cell 3Statusok")
    assert "Nucleoli fibrillar center0.90" in root["data-panel"]
    assert root["data-pinned"] == "Cell 3"
    assert root["data-stage"] == "stage show-protein no-names"
    assert root["data-brightness"] == "2"
