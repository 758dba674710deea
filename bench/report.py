"""The report of 100 fields of 2048² px: time on two cores, size of the file, first paint.

The fields are simulated one by one, all different, and run once. Timed is ``hpacells report`` as a
whole process, start-up included; beside wall time stands processor time, which other work on the
machine disturbs less. The file is opened in Chromium from the disk, without network: first
contentful paint, and the time until the page's script has run. Without Chromium those rows are left
out.

    python bench/report.py            # 8 minutes on two idle cores, most of it drawing

Prediction written down before the first measurement: 12 s, 45 MB, 0.5 s.
"""

import argparse
import shutil
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from simulated_data import add_options, dataset, hpacells, run_folder

from hpacells.core.storage import write_json

ASKED_S, ASKED_MB, ASKED_PAINT_S = 60.0, 60.0, 2.0
ROUNDS = 3

Row = dict[str, object]


def main() -> None:
    """Make the run folder once, report on it, open the file, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add_options(parser, fields=100)
    options = parser.parse_args()

    run = run_folder(dataset(options))
    times = sorted(hpacells("report", run, "--pages", 1) for _ in range(ROUNDS))
    seconds, busy = times[len(times) // 2]
    page = run / "report.html"
    size_mb = page.stat().st_size / 1e6
    what = f"report of {options.fields} fields of 2048² px"
    rows: list[Row] = [
        row(f"{what}, median of {ROUNDS} processes", seconds, ASKED_S, "s"),
        row(f"{what}: size of the file", size_mb, ASKED_MB, "MB"),
        *open_page(page, what),
    ]
    write_json(options.results / "report.json", {"rows": rows, "wall_and_processor_s": times})
    for line in rows:
        print(f"{line['what']}: {line['measured']} (asked {line['asked']})")
    print(f"processor time {busy:.1f} s, {1000 * busy / options.fields:.0f} ms a field")


def row(what: str, measured: float, asked: float, unit: str) -> Row:
    """Give a row of the table of results."""
    return {
        "what": what,
        "asked": f"<= {asked:g} {unit}",
        "measured": f"{measured:.2g} {unit}" if measured < 10 else f"{measured:.0f} {unit}",
        "met": measured <= asked,
    }


def open_page(page: Path, what: str) -> list[Row]:
    """Open the file in a browser; give first paint and the time until the page is ready."""
    executable = shutil.which("chromium")
    if executable is None:
        print("no chromium: first paint is not measured")
        return []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        painted, ready = [], []
        for _ in range(ROUNDS):
            window = browser.new_context(offline=True).new_page()
            started = time.perf_counter()
            window.goto(page.as_uri(), wait_until="commit")
            window.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
            ready.append(time.perf_counter() - started)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            painted.append(window.evaluate(paint) / 1000)
            window.context.close()
        browser.close()
    return [
        row(f"{what}: first paint", sorted(painted)[ROUNDS // 2], ASKED_PAINT_S, "s"),
        {
            "what": f"{what}: opened until everything answers",
            "asked": "",
            "measured": f"{sorted(ready)[ROUNDS // 2]:.2g} s",
            "met": None,
        },
    ]


if __name__ == "__main__":
    main()
