"""What is lost when ``hpacells run`` is killed: ``kill -9`` at random instants, then run again.

Each round starts a fresh run of small fields, kills it with all its processes at a random instant
of its life, once to three times, and lets it finish. Its tables and masks must then be, byte for
byte, those of a run that nobody disturbed: cells that are lost, doubled or different are counted.
A field that was finished before a kill must not be worked out again: its files keep their times.

Also: a disk that runs full (a small tmpfs, where this may be mounted), then given more room.

    python bench/run_faults.py           # 8 minutes on two idle cores
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from run_speed import CALL, Row, draw, row

from hpacells.core.storage import write_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "run_faults.json"
TABLES = (
    "cells.parquet",
    "fields.parquet",
    "embeddings.parquet",
    "variation.parquet",
    "submission.csv",
)
MOST_KILLS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "run_faults")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--fields", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="Of the instants.")
    options = parser.parse_args()
    images = draw(options.work / "drawn512", options.fields, 512, 701_000)
    whole = options.work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    started = time.monotonic()
    run(images, whole).wait()
    lasts = time.monotonic() - started
    rows = [*kills(images, whole, lasts, options), full_disk(images, whole, options.work)]
    write_json(RESULTS, {"rows": rows, "seed": options.seed})
    for line in rows:
        print(f"{line['what']:<80}{line['asked']:>4}  {line['measured']}")


def run(images: Path, out: Path) -> "subprocess.Popen[bytes]":
    """Begin a run in a process group of its own."""
    command = [sys.executable, "-c", CALL, "run", str(images), str(out), "--workers", "2"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kills(images: Path, whole: Path, lasts: float, options: argparse.Namespace) -> list[Row]:
    """Kill and resume; count what differs from the undisturbed run."""
    rng = np.random.default_rng(options.seed)
    wrong: Counter[str] = Counter()
    struck, again, unfinished = 0, 0, 0
    for k in range(options.rounds):
        out = options.work / "killed"
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(int(rng.integers(1, MOST_KILLS + 1))):
            before = finished(out)
            process = run(images, out)
            try:
                process.wait(float(rng.uniform(0.1, 1.0)) * lasts)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                struck += 1
            again += sum(finished(out).get(name) != stamp for name, stamp in before.items())
        before = finished(out)
        unfinished += run(images, out).wait() != 0
        again += sum(finished(out).get(name) != stamp for name, stamp in before.items())
        wrong.update(compare(whole, out))
        print(f"round {k + 1}: {len(before)} fields were finished, wrong {dict(wrong)}", flush=True)
    bad = sum(wrong.values())
    return [
        row(
            f"kill -9 at random, {options.rounds} fresh runs of {options.fields} fields 512², "
            f"{struck} kills: lost, doubled or different cells and files",
            "0",
            f"{bad} {dict(wrong) if bad else ''}".strip(),
            bad == 0,
        ),
        row("of these runs, resumed: did not finish", "0", str(unfinished), unfinished == 0),
        row("fields finished before a kill and worked out again", "0", str(again), again == 0),
    ]


def finished(out: Path) -> dict[str, int]:
    """Give when the last file of every finished field was written."""
    parts = (out / "parts").glob("*.field.arrow")
    return {path.name: path.stat().st_mtime_ns for path in parts}


def compare(whole: Path, out: Path) -> dict[str, int]:
    """Count cells that are lost, doubled or different, and files that are not the same."""
    if not (out / "run.json").is_file():
        return {"runs": 1}
    expected, found = (cell_rows(folder) for folder in (whole, out))
    names = {path.name for folder in (whole, out) for path in (folder / "masks").iterdir()}
    files = [*TABLES, *(f"masks/{name}" for name in sorted(names))]
    counts = {
        "lost": sum((expected - found).values()),
        "doubled or different": sum((found - expected).values()),
        "files": sum(read(whole / name) != read(out / name) for name in files),
        "left over": sum(1 for _ in out.rglob(".*.tmp*")),
    }
    return {name: n for name, n in counts.items() if n}


def cell_rows(folder: Path) -> Counter[str]:
    """Count every row of the cells table, as text."""
    return Counter(str(cell) for cell in pq.read_table(folder / "cells.parquet").to_pylist())


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def full_disk(images: Path, whole: Path, work: Path) -> Row:
    """Let the disk run full, give it room, run again."""
    what = "disk full mid-run, room made, run again: lost, doubled or different"
    disk = work / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())

    def mount(size: int) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    if not mount(needed // 2):
        return row(what, "0", "not seen: no right to mount a tmpfs")
    try:
        stopped = run(images, disk / "out").wait()
        kept = len(finished(disk / "out"))
        mounted = ["mount", "-o", f"remount,size={4 * needed}", str(disk)]
        subprocess.run(mounted, check=True)
        resumed = run(images, disk / "out").wait()
        wrong = compare(whole, disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    ok = (stopped, resumed, wrong) == (2, 0, {})
    return row(what, "0", f"{sum(wrong.values())} ({kept} fields kept, exit {stopped})", ok)


if __name__ == "__main__":
    main()
