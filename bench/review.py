"""How long after a key the next cell is shown, with 100,000 cells in the run.

A few simulated fields of 2048² px are run once; their rows, masks, previews and images stand under
many ids. Least certain first, every cell is in another field than the one before, so none is in
memory. Chromium presses a key, judges, and says when the next cell's picture was painted: from the
key's own time stamp to the frame after the one that painted it. Once at a pace at which people
work, once as fast as anybody could look.

Prediction written down before the first measurement: median 40 ms, 95 % 60 ms.

Example: python bench/review.py --cells 100000
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from playwright.sync_api import Page, sync_playwright

from hpacells.core.channels import CHANNELS
from hpacells.core.storage import write_json
from hpacells.predict.run_folder import read_run

ROOT = Path(__file__).parents[1]
ASKED_MS = 100
N_DRAWN = 4
KEYS = ["Enter", "x", "Enter", "ArrowRight", "Enter"]
PACES = {"a key a second": (1.0, 60), "a key every 0.4 s": (0.4, 100)}
_WATCH = """() => {
  window.times = [];
  let pressed = null;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => {
    const began = pressed;
    if (began === null || !("shown" in document.body.dataset)) return;
    pressed = null;
    requestAnimationFrame(() => requestAnimationFrame(() => times.push(performance.now() - began)));
  }).observe(document.body, { attributes: true, attributeFilter: ["data-shown"] });
}"""


def main() -> None:
    """Simulate, run, copy, serve, press keys, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_review")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=897_000)
    options = parser.parse_args()

    drawn, small = options.work / "drawn", options.work / "run"
    hpacells("simulate", drawn, "--fields", N_DRAWN, "--seed", options.seed, "--workers", 2)
    shutil.rmtree(small, ignore_errors=True)  # an older model's
    hpacells("run", drawn, small, "--workers", 2)
    run = copy_run(small, drawn / "train", options.work / f"copies{options.cells}", options.cells)
    rows = list(measure(run, options.cells))
    write_json(ROOT / "bench" / "results" / "review.json", {"rows": rows})


def hpacells(*arguments: object) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "hpacells", *map(str, arguments)], check=True)


def copy_run(small: Path, images: Path, out: Path, n_cells: int) -> Path:
    """Give many ids to the fields of a run, in turn, until it has so many cells to review."""
    shutil.rmtree(out, ignore_errors=True)
    cells = pq.read_table(small / "cells.parquet")
    cells = cells.filter(pc.not_equal(cells["status"], "rejected"))
    fields = pq.read_table(small / "fields.parquet")
    names = fields["fov_id"].to_pylist()
    by_name = {name: cells.filter(pc.equal(cells["fov_id"], name)) for name in names}
    pairs: list[tuple[str, str]] = []
    total = 0
    while total < n_cells:
        name = names[len(pairs) % len(names)]
        pairs.append((f"copy{len(pairs):06d}", name))
        total += by_name[name].num_rows
    write_copies(pairs, by_name, out / "cells.parquet", limit=n_cells)
    by_field = {name: fields.filter(pc.equal(fields["fov_id"], name)) for name in names}
    write_copies(pairs, by_field, out / "fields.parquet")
    for folder in ("masks", "previews/stains", "previews/composite", "images"):
        (out / folder).mkdir(parents=True)
    for copy, name in pairs:
        os.link(small / "masks" / f"{name}_cells.png", out / "masks" / f"{copy}_cells.png")
        for kind in ("stains", "composite"):
            path = Path("previews") / kind
            os.link(small / path / f"{name}.jpg", out / path / f"{copy}.jpg")
        for channel in CHANNELS:
            source = images / f"{name}_{channel.value}.png"
            os.link(source, out / "images" / f"{copy}_{channel.value}.png")
    provenance = read_run(small) or {}
    digests = provenance["inputs_sha256"]
    provenance |= {
        "images": str(out / "images"),
        "inputs_sha256": {copy: digests[name] for copy, name in pairs},
    }
    write_json(out / "run.json", provenance)
    return out


def write_copies(
    pairs: list[tuple[str, str]], tables: dict[str, pa.Table], path: Path, limit: int | None = None
) -> None:
    """Write the rows of every copy under its own id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for copy, name in pairs:
        table = tables[name]
        ids = pa.array([copy] * table.num_rows, pa.string())
        place = table.schema.get_field_index("fov_id")
        parts.append(table.set_column(place, table.schema.field(place), ids))
    pq.write_table(pa.concat_tables(parts).slice(0, limit), path)


def measure(run: Path, n_cells: int) -> Iterator[dict[str, Any]]:
    """Open the page and press keys at each pace."""
    browser = shutil.which("chromium") or sys.exit("chromium is not installed")
    with served(run) as (address, start_s), sync_playwright() as playwright:
        yield row(f"review: command to page, {n_cells} cells", f"{start_s:.1f} s")
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1366, "height": 820})
        page.goto(address)
        page.fill("#name", "bench")
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-shown]")
        page.evaluate(_WATCH)
        for pace, (wait_s, n) in PACES.items():
            page.wait_for_timeout(5000)  # as if somebody read the page
            times = press(page, wait_s, n)
            slow = statistics.quantiles(times, n=20)[-1]
            text = f"median {statistics.median(times):.0f} ms, 95 % {slow:.0f} ms"
            load = os.getloadavg()[0]
            print(f"{pace}: {text}, slowest {max(times):.0f} ms (load {load:.1f})")
            what = f"review: next cell shown after a key, {pace}, {n_cells} cells, {n} keys"
            yield row(what, text, f"at most {ASKED_MS} ms", met=bool(slow <= ASKED_MS))
        chromium.close()


def press(page: Page, wait_s: float, n: int) -> list[float]:
    """Press keys that show another cell; give how long each took, in ms."""
    page.evaluate("() => { times.length = 0; }")
    for i in range(n):
        page.keyboard.press(KEYS[i % len(KEYS)])
        page.wait_for_timeout(1000 * wait_s)
    page.wait_for_timeout(3000)
    times = page.evaluate("() => times")
    if len(times) < n - 1:  # a cell that came after the next key had been pressed counts once
        print(f"{n - len(times)} of {n} keys came before the cell of the key before was shown")
    return times


@contextmanager
def served(run: Path) -> Iterator[tuple[str, float]]:
    """Serve the review; give its address and the seconds until it answered."""
    started = time.monotonic()
    command = [sys.executable, "-m", "hpacells", "review", str(run), "--port", "0"]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as server:
        line = server.stdout.readline() if server.stdout else ""
        found = re.search(r"http://\S+", line)
        if found is None:
            sys.exit(f"no address in {line!r}")
        try:
            yield found[0], time.monotonic() - started
        finally:
            server.terminate()


def row(what: str, measured: str, asked: str = "", *, met: bool | None = None) -> dict[str, Any]:
    """Make a row of the table of results."""
    return {"what": what, "asked": asked, "measured": measured, "met": met}


if __name__ == "__main__":
    main()
