import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import VARIATION_SCHEMA
from hpacells.core.errors import InputError
from hpacells.report.config import ReportSettings
from hpacells.report.page import write_report

VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """Elements, the text outside scripts, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.data = [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        name, attributes = self.elements[-1] if self.elements else ("", {})
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)
        elif name == "script" and attributes.get("type") == "application/json":
            self.data[attributes["id"]] = json.loads(data)

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
        "segmenterwatershed",
    ):
        assert expected in page.text.replace(" watershed", "watershed"), expected


def test_every_cell_stands_in_the_data_with_its_outline(run_folder):
    page = read_page(run_folder)
    pictures = [page.data[f"picture-{i}"] for i in range(3)]
    assert [len(picture["cells"]) for picture in pictures] == [7, 2, 0]
    assert all(picture["strip"] for picture in pictures)
    cells = page.data["page-data"]["cells"]
    assert cells["field"] == [0] * 7 + [1] * 2
    assert cells["cell_id"] == [1, 2, 3, 4, 5, 6, 7, 1, 2]
    assert cells["status"] == ["ok"] * 5 + ["border", "rejected"] + ["ok"] * 2
    assert cells["note"][6] == "more than half outside the frame"
    assert cells["box"][1] == [55, 10, 96, 51]
    assert len(cells["p"]) == 19
    assert (cells["p"][1][0], cells["p"][6][0], cells["p"][0][0]) == (900, 400, 10)
    assert [place is None for place in cells["place"]] == [False] * 6 + [True] + [False] * 2
    assert "PCA" in cells["map_note"]
    plain = page.data["page-data"]["fields"][0]
    assert plain == {"id": "plain", "width": 200, "height": 120}


def test_a_hostile_id_stays_text(run_folder, tables):
    page = read_page(run_folder)
    assert tables.HOSTILE in page.text
    assert "<i>U-2 OS</i>" in page.text
    assert page.data["page-data"]["fields"][1]["id"] == tables.HOSTILE
    scripts = page.named("script")
    assert [s.get("type") for s in scripts] == ["application/json"] * 4 + [None]
    assert not [tag for tag, _ in page.elements if tag == "yellow"]


def test_nothing_comes_from_elsewhere(run_folder):
    page = read_page(run_folder)
    addresses = [a[key] for _, a in page.elements for key in ("src", "href") if key in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")  # a name, not fetched
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
    assert "does not say how it was made" not in text


def test_a_run_that_is_not_done_says_how_to_go_on(run_folder):
    (run_folder / "run.json").rename(run_folder / "settings.json")
    page = read_page(run_folder)
    assert "the run was not finished" in page.text
    assert "by the model sim-nfnet" in page.text
    (run_folder / "fields.parquet").unlink()
    with pytest.raises(InputError, match="Give the same 'hpacells run' again"):
        write_report(run_folder)


def test_without_embeddings_there_is_no_map(run_folder):
    (run_folder / "embeddings.parquet").unlink()
    cells = read_page(run_folder).data["page-data"]["cells"]
    assert set(cells["place"]) == {None}
    assert "no embeddings" in cells["map_note"]


def test_a_run_of_one_cell(tmp_path, tables):
    tables.write_run(tmp_path, [tables.make_field("a", n_ok=1)], [tables.make_cell("a", 1)])
    cells = read_page(tmp_path).data["page-data"]["cells"]
    assert cells["place"] == [None]
    assert "needs the embeddings of 3 cells; 1 are here" in cells["map_note"]


def test_what_is_known_of_variation_is_told(run_folder, tables):
    assert "Spatial q" not in read_page(run_folder).text
    path = run_folder / "variation.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0] |= {"spatial_p": 0.0004, "spatial_q": 0.012}
    pq.write_table(pa.Table.from_pylist(rows, VARIATION_SCHEMA), path)
    text = read_page(run_folder).text
    assert "0.41 (0.10 to 0.60), p 0.0004, q 0.012" in text
    assert "Spatial q" in text


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
    assert read_page(tmp_path).data["page-data"]["cells"]["note"] == ["out of focus, saturated"]


def test_a_run_of_failures_only(tmp_path, tables):
    tables.write_run(tmp_path, [tables.make_field("a", reason="dark")], [])
    page = read_page(tmp_path)
    assert page.open == []
    assert "No field was done." in page.text


def test_outliers_and_associations_are_told(run_folder, tables):
    assert set(read_page(run_folder).data["page-data"]["cells"]["outlier"]) == {""}
    tables.write_extra_variation(run_folder)
    page = read_page(run_folder)
    outlier = page.data["page-data"]["cells"]["outlier"]
    assert outlier == ["", "", "intensity (z -4.0), spatial (z 4.2)", *[""] * 6]
    assert "<b>ACTB</b>" in page.text
    assert "DNA content" in page.text
    assert "-0.81" in page.text
    page = read_page(run_folder, settings=ReportSettings(max_associations=1))
    assert "<b>ACTB</b>" not in page.text


@pytest.fixture
def four(tmp_path, tables):
    fields = [tables.make_field(f"f{i}", n_ok=6) for i in range(4)]
    cells = [tables.make_cell(f"f{i}", j + 1) for i in range(4) for j in range(6)]
    return tables.write_run(tmp_path, fields, cells)


def test_beyond_the_limit_fields_are_rows_only(four):
    settings = ReportSettings(fields_per_page=2, max_pages=1, max_listed_fields=3)
    page = read_page(four, settings=settings)
    assert [name for name in page.data if name.startswith("picture")] == ["picture-0", "picture-1"]
    assert len(page.data["page-data"]["cells"]["cell_id"]) == 12
    links = [a["href"] for a in page.named("a") if a["href"].startswith("#field-")]
    assert links == ["#field-0", "#field-1"]
    assert "shown for 2 fields of 4" in page.text
    assert "The first 3 of 4 fields" in page.text


def test_many_fields_are_split_into_pages_that_link_to_each_other(four):
    settings = ReportSettings(fields_per_page=3)
    (four / "report-7.html").write_text("of an earlier report", encoding="utf-8")
    (four / "report-mine.html").write_text("somebody's own", encoding="utf-8")
    first = read_page(four, settings=settings)
    found = sorted(path.name for path in four.glob("*.html"))
    assert found == ["report-2.html", "report-mine.html", "report.html"]
    second = Page((four / "report-2.html").read_text(encoding="utf-8"))
    assert (first.open, second.open) == ([], [])
    assert "report-2.html#field-3" in [a["href"] for a in first.named("a")]
    assert "report.html" in [a["href"] for a in second.named("a")]
    assert "field-3" in [s.get("id") for s in second.named("section")]
    assert [field["id"] for field in second.data["page-data"]["fields"]] == ["f3"]
    assert second.data["page-data"]["first"] == 3
    read_page(four)
    found = sorted(path.name for path in four.glob("*.html"))
    assert found == ["report-mine.html", "report.html"]


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
