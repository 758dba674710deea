"""How fast the simulator writes fields, and whether its files depend on the number of workers.

2048² fields, files written. One worker, kept on one processor, and two workers by turns; the ratio
is of the medians of the whole commands, so what else the machine does falls on both. Seconds a
field: the time between one field's last file and the next one's, in the runs of one worker; a
straight line of seconds against cells of the field is fitted and its value at 20 cells reported.
The folders made by one worker, by two, and by a run that was killed after its first field and
continued are compared file by file.

Example: python bench/simulator_speed.py --fields 16 --rounds 3
"""

import argparse
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import numpy.typing as npt
from cell_samples import truth_rows
from simulated_data import add_options

from hpacells.core.storage import write_json

ASKED_SECONDS, ASKED_RATIO = 3.0, 1.8
CELLS = 20
VARYING = (".lock",)


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep this process, and what it starts, on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds_and_cells(out: Path) -> npt.NDArray[np.float64]:
    """Give ``(F - 1, 2)``: seconds from the field before to each field's end, and its cells."""
    cells = Counter(row["ID"] for row in truth_rows(out))
    ends = [
        (p.stat().st_mtime_ns / 1e9, cells[p.stem]) for p in sorted((out / ".fields").iterdir())
    ]
    return np.array([(b[0] - a[0], b[1]) for a, b in pairwise(ends)])


def seconds_at(measured: npt.NDArray[np.float64], cells: int) -> float:
    """Fit seconds against cells by least squares; the value at a number of cells."""
    return float(np.polyval(np.polyfit(measured[:, 1], measured[:, 0], 1), cells))


def simulate(out: Path, options: argparse.Namespace, workers: int, fields: int) -> float:
    """Make a dataset and give its wall time in s, start of the program included."""
    started = time.perf_counter()
    subprocess.run(_command(out, options, workers, fields), check=True, capture_output=True)
    return time.perf_counter() - started


def _command(out: Path, options: argparse.Namespace, workers: int, fields: int) -> list[str]:
    command = [str(Path(sys.executable).with_name("hpacells")), "simulate", str(out)]
    command += ["--fields", str(fields), "--seed", str(options.seed)]
    return [*command, "--size", str(options.size), "--workers", str(workers)]


def simulate_interrupted(out: Path, options: argparse.Namespace) -> int:
    """Start with two workers, kill after the first field, continue with one.

    Returns
    -------
    int
        Whole fields that the killed run left; the program ends where it left none or all.
    """
    with subprocess.Popen(
        _command(out, options, 2, options.fields),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while process.poll() is None and not any((out / ".fields").glob("*.json")):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)  # the workers too
    made = len(list((out / ".fields").glob("*.json")))
    if not 1 <= made < options.fields:
        sys.exit(f"the killed run made {made} of {options.fields} fields: ask for more --fields")
    simulate(out, options, 1, options.fields)
    return made


def digest_folder(folder: Path) -> dict[str, str]:
    """Hash every file but the lock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in VARYING
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add_options(parser, fields=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    work = options.work / "speed"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    one, two = [], []
    for i in range(options.rounds):
        with one_processor():
            one.append(simulate(work / f"one{i}", options, 1, options.fields))
        two.append(simulate(work / f"two{i}", options, 2, options.fields))
        print(f"round {i + 1}/{options.rounds}: {one[-1]:.1f} s, two workers {two[-1]:.1f} s")
    left = simulate_interrupted(work / "resumed", options)
    rounds = [seconds_and_cells(work / f"one{i}") for i in range(options.rounds)]
    measured: npt.NDArray[np.float64] = np.median(np.stack(rounds), axis=0)
    at_cells = seconds_at(measured, CELLS)
    ratio = statistics.median(one) / statistics.median(two)
    folders = {name: digest_folder(work / name) for name in ("one0", "two0", "resumed")}
    same = all(files == folders["one0"] for files in folders.values())
    rows: list[dict[str, Any]] = [
        {
            "what": f"simulate, {options.size}² fields, files written, one core, s a field of "
            f"{CELLS} cells (line through {len(measured)} fields of {measured[:, 1].min():.0f}-"
            f"{measured[:, 1].max():.0f} cells, {measured[:, 0].mean():.2f} s each)",
            "asked": f"<= {ASKED_SECONDS:g} s",
            "measured": f"{at_cells:.2f} s",
            "met": at_cells <= ASKED_SECONDS,
        },
        {
            "what": f"two workers against one, {options.fields} fields, whole command, medians of "
            f"{options.rounds}",
            "asked": f">= {ASKED_RATIO}x",
            "measured": f"{ratio:.2f}x",
            "met": ratio >= ASKED_RATIO,
        },
        {
            "what": f"same files, byte for byte ({len(folders['one0'])}): one worker, two, "
            f"killed after {left} fields and continued",
            "asked": "yes",
            "measured": "yes" if same else "no",
            "met": same,
        },
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    result = {"rows": rows, "one_s": one, "two_s": two, "seconds_and_cells": measured.tolist()}
    write_json(options.results / "simulator_speed.json", result)
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked']})")
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
