from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from hpacells.core.corrections import Action, read_corrections
from hpacells.core.errors import OutputError
from hpacells.core.storage import output_lock
from hpacells.review.app import ReviewTools, make_app
from hpacells.review.config import ReviewSettings
from hpacells.review.guard import Access
from hpacells.review.pictures import CellPictures

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def client(session):
    pictures = CellPictures(session.cells, {}, ReviewSettings())
    with ThreadPoolExecutor(1) as cutters:
        app = make_app(ReviewTools(session, pictures, cutters, ReviewSettings()), Access())
        with TestClient(app, base_url="http://127.0.0.1:8642") as client:
            yield client


def word(n, fov_id="plain", cell_id=1, **changes):
    values = {"key": str(UUID(int=n)), "who": "anna", "fov_id": fov_id, "cell_id": cell_id}
    return values | {"action": "accept", "locations": [1, 7], "comment": None} | changes


def test_a_review_from_the_first_cell_to_the_corrections(client, run_folder):
    run = client.get("/api/run").json()
    assert (run["name"], run["n_cells"], run["people"]) == ("run", 6, {})
    assert [place["title"] for place in run["locations"]][:2] == ["Nucleoplasm", "Nuclear membrane"]
    page = client.get("/api/cells", params={"who": "anna", "n": 2}).json()
    assert (page["total"], page["left"]) == (6, 6)
    first, second = page["cells"]
    assert (first["fov_id"], first["cell_id"], first["proposed"]) == ("plain", 1, [1, 7])
    assert (second["flags"], second["mine"]) == (["saturated"], None)

    assert client.post("/api/words", json=word(1)).json() == {"new": True, "judged": 1}
    assert client.post("/api/words", json=word(1)).json() == {"new": False, "judged": 1}
    ben = word(2, who="ben", action="reject", locations=None, comment=" debris ")
    client.post("/api/words", json=ben)
    assert client.get("/api/run").json()["people"] == {"anna": 1, "ben": 1}
    left = client.get("/api/cells", params={"who": "anna"}).json()
    assert left["left"] == 5
    assert second["row"] == left["cells"][0]["row"]

    asked = {"who": "anna", "order": "disagreement"}
    (cell,) = client.get("/api/cells", params=asked).json()["cells"]
    assert cell["mine"]["locations"] == [1, 7]
    assert [(w["who"], w["action"], w["comment"]) for w in cell["others"]] == [
        ("ben", "reject", "debris")
    ]
    (pair,) = client.get("/api/agreement").json()
    assert (pair["who"], pair["n_cells"], pair["n_same"]) == (["anna", "ben"], 1, 0)

    assert client.post("/api/export").json() == {"changed": 2, "words": 2}
    assert [c.action for c in read_corrections(run_folder)] == [Action.ACCEPT, Action.REJECT]
    undone = client.post("/api/undo", json={"key": ben["key"], "who": "ben"})
    assert undone.json() == {"undone": True, "judged": 0}
    assert client.post("/api/export").json() == {"changed": 1, "words": 1}
    assert [c.who for c in read_corrections(run_folder)] == ["anna"]


def test_others_words_stay_unseen_until_disagreement_is_asked_for(client):
    client.post("/api/words", json=word(1, who="ben"))
    page = client.get("/api/cells", params={"who": "anna", "skip": "nobodys"}).json()
    assert all(cell["others"] == [] and cell["mine"] is None for cell in page["cells"])


def test_the_last_words_can_be_undone_after_the_page_was_loaded_anew(client):
    for n in (1, 2, 3):
        client.post("/api/words", json=word(n, cell_id=n))
    recent = client.get("/api/recent", params={"who": "anna"}).json()
    assert [item["key"] for item in recent] == [word(n)["key"] for n in (3, 2, 1)]
    cell = client.get(f"/api/cells/{recent[0]['row']}", params={"who": "anna"}).json()
    assert (cell["fov_id"], cell["cell_id"]) == ("plain", 3)
    assert client.get("/api/recent", params={"who": "ben"}).json() == []


def test_names_with_html_come_as_json_and_the_page_holds_none(client):
    who = "<script>alert(1)</script>"
    client.post("/api/words", json=word(1, HOSTILE, who=who, comment="<b>"))
    answer = client.get("/api/cells", params={"who": who, "skip": "nobodys", "n": 50})
    assert answer.headers["content-type"] == "application/json"
    cell = next(cell for cell in answer.json()["cells"] if cell["mine"])
    assert (cell["fov_id"], cell["mine"]["comment"]) == (HOSTILE, "<b>")
    assert cell["known"] == {"gene": "<b>ACTB</b>"}
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<img" not in page.text
    assert "ACTB" not in page.text


def test_pictures_are_cut_by_row_and_of_this_run_alone(client, session):
    good = client.get("/api/pictures/0", params={"digest": session.cells.digest})
    assert good.json()["cells"][0]["id"] == 1
    digest = session.cells.digest
    for row, of, status in ((0, "x", 409), (6, digest, 404), (-1, digest, 404)):
        answer = client.get(f"/api/pictures/{row}", params={"digest": of})
        assert answer.status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/assets/..%2f..%2fcore%2ferrors.py",
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/assets/review.html%00.js",
        "/assets/words.sqlite3",
        "/../../etc/passwd",
        "/run.json",
        "/api/pictures/..%2f..%2frun.json?digest=x",
        "/api/cells/..%2f0?who=anna",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_address_leads_elsewhere(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text


def test_every_file_of_the_page_is_there(client):
    page = client.get("/").text
    for name in ("viewer.css", "review.css", "viewer.js", "outbox.js", "pictures.js", "review.js"):
        assert f'"assets/{name}"' in page
        answer = client.get(f"/assets/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript"))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"who": ""},
        {"who": "anna", "order": "random"},
        {"who": "anna", "order": "location"},
        {"who": "anna", "location": 19},
        {"who": "anna", "skip": "all"},
        {"who": "anna", "after": 6},
        {"who": "anna", "n": 1000},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(client, asked):
    assert client.get("/api/cells", params=asked).status_code == 422


def test_a_word_on_no_cell_of_the_run_is_refused(client):
    assert client.post("/api/words", json=word(1, "gone")).status_code == 404
    assert client.post("/api/words", json=word(1, cell_id=4)).status_code == 404  # rejected
    assert client.get("/api/run").json()["people"] == {}


def test_what_cannot_be_saved_now_is_told_as_such(client, session, run_folder, monkeypatch):
    with output_lock(run_folder):
        answer = client.post("/api/export")
    assert answer.status_code == 503
    assert "another hpacells process" in answer.json()["detail"]

    def full(word):
        raise OutputError("the disk is full")

    monkeypatch.setattr(session, "save", full)
    answer = client.post("/api/words", json=word(1))
    assert (answer.status_code, answer.json()) == (503, {"detail": "the disk is full"})


def test_a_field_without_its_mask_is_told_and_the_others_go_on(client, session, run_folder):
    (run_folder / "masks" / "plain_cells.png").unlink()
    asked = {"digest": session.cells.digest}
    answer = client.get("/api/pictures/3", params=asked)
    assert answer.status_code == 500
    assert "expected the mask plain_cells.png" in answer.json()["detail"]
    assert client.get("/api/pictures/0", params=asked).status_code == 200
