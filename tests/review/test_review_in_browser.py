"""A review as people do it: Chromium, two of them, a server killed in the middle."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import uvicorn

from hpacells.core.corrections import Action, read_corrections
from hpacells.images.discover import discover_fields
from hpacells.review.app import ReviewTools, make_app
from hpacells.review.config import ReviewSettings
from hpacells.review.guard import Access
from hpacells.review.pictures import CellPictures
from hpacells.review.words import read_words

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def serve(run_folder):
    """Starts servers of the run; a later one on the port of the first."""
    servers = []

    def start():
        port = servers[0].port if servers else "0"
        process = subprocess.Popen(
            [sys.executable, "-m", "hpacells", "review", str(run_folder), "--port", port],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        address = re.search(r"http://\S+:(\d+)/", process.stdout.readline())
        servers.append(SimpleNamespace(process=process, address=address[0], port=address[1]))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.communicate()


@pytest.fixture
def address(session, tmp_path):
    """Of a server within this process: it is there at once, and need not be killed."""
    settings = ReviewSettings()
    with ThreadPoolExecutor(1) as cutters, socket.create_server(("127.0.0.1", 0)) as listener:
        records = discover_fields(tmp_path / "images", pixel_size_um=0.08)
        by_id = {record.fov_id: record for record in records}
        pictures = CellPictures(session.cells, by_id, settings)
        app = make_app(ReviewTools(session, pictures, cutters, settings), Access())
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture
def review_as(chromium):
    """Opens the page as one person's browser; what goes wrong there fails the test."""
    contexts, faults = [], []

    def begin(name, address, **screen):
        context = chromium.new_context(**({"viewport": {"width": 1366, "height": 820}} | screen))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on(
            "console",
            lambda said: (
                faults.append(said.text)
                if said.type == "error" and "ERR_CONNECTION" not in said.text
                else None
            ),
        )
        page.goto(address)
        page.fill("#name", name)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-shown]")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert faults == []


def wait_for_cell(page, cell_id, fov_id):
    page.wait_for_function(
        "title => document.getElementById('cell-name').textContent === title",
        arg=f"Cell {cell_id} of {fov_id}",
    )
    page.wait_for_selector("body[data-shown] .viewer-stage")


def wait_for_words(run_folder, n):
    for _ in range(400):
        if len(read_words(run_folder)) == n:
            return read_words(run_folder)
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError(f"expected {n} words, got {read_words(run_folder)}")


def brightness(page):
    """Mean grey value of the picture's canvas."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector('.viewer-stage canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          let sum = 0;
          for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
          return sum / data.length;
        }"""
    )


def go_on_while_the_server_is_killed(serve, server, anna, ben, run_folder):
    """Both say something to nobody; one closes her page before the server is there again."""
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    anna.keyboard.press("x")  # said to nobody, shown at once
    wait_for_cell(anna, 2, HOSTILE)
    anna.wait_for_selector("#unsaved:visible")
    assert "1 word not saved yet" in anna.text_content("#unsaved")
    window = anna.context
    anna.close()
    ben.keyboard.press("c")
    ben.keyboard.type("blurred")
    ben.keyboard.press("Enter")
    ben.wait_for_selector("#unsaved:visible")

    again = serve()
    assert again.address == server.address
    word = wait_for_words(run_folder, 4)[-1]  # a page that stayed open sends by itself
    assert (word.who, word.cell_id, word.comment) == ("Ben <i>B</i>", 2, "blurred")
    ben.wait_for_selector("#unsaved", state="hidden")
    anna = window.new_page()  # her name, her word and her place are known
    anna.goto(server.address)
    word = wait_for_words(run_folder, 5)[-1]
    assert (word.who, word.fov_id, word.action) == ("Anna", HOSTILE, Action.REJECT)
    return anna


def test_two_people_review_and_a_killed_server_loses_nothing(run_folder, serve, review_as):
    server = serve()
    anna = review_as("Anna", server.address)
    ben = review_as("Ben <i>B</i>", server.address)
    wait_for_cell(anna, 1, "plain")
    anna.keyboard.press("Enter")  # accepts cell 1 as proposed
    wait_for_cell(anna, 2, "plain")
    anna.keyboard.press("5")  # nuclear speckles too
    anna.wait_for_function("() => document.getElementById('save-name').textContent === 'Correct'")
    anna.keyboard.press("Enter")
    wait_for_cell(anna, 1, HOSTILE)
    ben.keyboard.press("x")
    wait_for_cell(ben, 2, "plain")
    words = wait_for_words(run_folder, 3)
    assert sorted((w.who, w.cell_id, w.action.value, w.locations) for w in words) == [
        ("Anna", 1, "accept", (1, 7)),
        ("Anna", 2, "correct", (2, 4, 7)),
        ("Ben <i>B</i>", 1, "reject", None),
    ]

    anna = go_on_while_the_server_is_killed(serve, server, anna, ben, run_folder)
    anna.reload()
    wait_for_cell(anna, 2, HOSTILE)
    assert anna.text_content("#left") == "3 left of 6 cells"
    anna.keyboard.press("z")
    wait_for_cell(anna, 1, HOSTILE)
    wait_for_words(run_folder, 4)

    ben.select_option("#order", "disagreement")
    wait_for_cell(ben, 1, "plain")
    assert "Anna accepted: Nuclear membrane, Golgi" in ben.text_content("#others")
    assert "You rejected" in ben.text_content("#mine")
    ben.click("#show-agreement")
    ben.wait_for_selector("#agreement[open]")
    ben.wait_for_selector("#pairs h3")
    assert "Anna and Ben <i>B</i>" in ben.text_content("#pairs")
    assert ben.query_selector("#pairs i") is None
    ben.keyboard.press("Escape")
    ben.click("#export")
    ben.wait_for_function("() => document.getElementById('status').textContent.includes('4 words')")
    assert [c.who for c in read_corrections(run_folder)] == [
        "Anna",
        "Ben <i>B</i>",
        "Anna",
        "Ben <i>B</i>",
    ]


def test_a_cell_is_not_judged_before_it_was_seen(run_folder, address, review_as):
    page = review_as("Anna", address)
    wait_for_cell(page, 1, "plain")
    page.evaluate("() => { delete document.body.dataset.shown; }")  # as while it is fetched
    page.keyboard.press("Enter")
    page.keyboard.press("x")
    page.select_option("#location", "2")
    wait_for_cell(page, 2, "plain")
    page.keyboard.press("x")
    wait_for_cell(page, 2, HOSTILE)
    assert [word.cell_id for word in wait_for_words(run_folder, 1)] == [2]


def test_a_key_that_is_held_judges_one_cell(run_folder, address, review_as):
    page = review_as("Anna", address)
    wait_for_cell(page, 1, "plain")
    page.keyboard.down("x")
    wait_for_cell(page, 2, "plain")
    page.keyboard.down("x")  # the keyboard repeats it
    page.keyboard.up("x")
    page.keyboard.press("ArrowRight")
    wait_for_cell(page, 1, HOSTILE)
    assert len(wait_for_words(run_folder, 1)) == 1


def test_the_picture_follows_the_keys(address, review_as):
    page = review_as("Anna", address)
    wait_for_cell(page, 1, "plain")
    whole = brightness(page)
    page.keyboard.press("d")
    page.wait_for_timeout(100)
    without_red = brightness(page)
    assert without_red < whole - 5
    page.keyboard.press("s")
    page.keyboard.press("]")
    page.wait_for_timeout(100)
    assert brightness(page) > whole + 5
    view = "document.querySelector('.viewer-stage svg').getAttribute('viewBox')"
    before = page.evaluate(view)
    page.keyboard.press("+")
    page.wait_for_function(f"() => {view} !== {before!r}")
    page.keyboard.press(".")
    page.wait_for_function(f"() => {view} === {before!r}")
    page.keyboard.press("v")
    page.wait_for_selector(".viewer-stage.no-outlines")


def test_comments_are_kept_and_letters_in_them_are_no_keys(run_folder, address, review_as):
    page = review_as("Anna", address)
    wait_for_cell(page, 1, "plain")
    page.keyboard.press("c")
    page.keyboard.type("xzaq <b>odd</b> 5")
    page.keyboard.press("Enter")
    (word,) = wait_for_words(run_folder, 1)
    assert (word.action, word.comment) == (Action.COMMENT, "xzaq <b>odd</b> 5")
    page.keyboard.press("Enter")  # the cell is still there; accepted with its comment
    wait_for_cell(page, 2, "plain")
    word = wait_for_words(run_folder, 2)[-1]
    assert (word.action, word.comment) == (Action.ACCEPT, "xzaq <b>odd</b> 5")
    page.keyboard.press("ArrowRight")
    wait_for_cell(page, 1, HOSTILE)
    page.keyboard.press("ArrowLeft")
    wait_for_cell(page, 2, "plain")
    assert page.input_value("#comment") == ""


def test_the_end_of_an_order_is_told_and_skipped_cells_come_again(address, review_as):
    page = review_as("Anna", address)
    page.select_option("#location", "3")
    for fov_id in ("plain", HOSTILE):
        wait_for_cell(page, 3, fov_id)
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("#nothing:visible")
    page.click("#again")
    wait_for_cell(page, 3, "plain")
    page.keyboard.press("o")  # Negative stands alone
    assert page.locator("#locations input:checked").count() == 1


@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (390, "dark")])
def test_axe_finds_no_serious_fault(address, review_as, find_faults, width, scheme):
    screen = {"viewport": {"width": width, "height": 820}, "color_scheme": scheme}
    page = review_as("Anna", address, **screen)
    assert find_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.getElementById('keys').showModal()")
    assert find_faults(page) == []
