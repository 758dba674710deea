"""Peak memory of ``hpacells run``: 200 fields of 2048² px over 40 fields.

Memory must not grow with the number of fields. A few simulated fields stand under many ids (links
to the same files: what the run holds doesn't depend on what is in them). The peak is that of the
whole process tree, by sampling the resident memory of every process every 20 ms.

Prediction written down before the first measurement: ratio 1.02.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from hpacells.core.channels import CHANNELS

ROOT = Path(__file__).parents[1]
ASKED_RATIO = 1.05
SAMPLE_EVERY_S = 0.02
N_DRAWN = 4


def main() -> None:
    """Simulate, link, run twice, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_memory")
    parser.add_argument("--fields", type=int, nargs=2, default=(40, 200))
    parser.add_argument("--seed", type=int, default=899_000)
    parser.add_argument("--model", default="nfnet-sim")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    drawn = options.work / "drawn"
    simulate = ["simulate", drawn, "--fields", N_DRAWN, "--seed", options.seed, "--workers", 2]
    measure_peak(simulate)
    measured = {}
    for n in options.fields:
        images, out = options.work / f"images{n}", options.work / f"run{n}"
        link_fields(drawn / "train", images, n)
        shutil.rmtree(out, ignore_errors=True)
        run = ["run", images, out, "--model", options.model, "--workers", options.workers]
        measured[n] = measure_peak(run)
        print(f"{n} fields: peak {measured[n][0] / 2**20:.0f} MiB, {measured[n][1]:.1f} s")
    write_result(measured, options)


def link_fields(source: Path, images: Path, n: int) -> None:
    """Give ``n`` ids to the fields of ``source``, in turn."""
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    stems = sorted(path.name.removesuffix("_red.png") for path in source.glob("*_red.png"))
    for i in range(n):
        for channel in CHANNELS:
            target = source / f"{stems[i % len(stems)]}_{channel.value}.png"
            (images / f"copy{i:04d}_{channel.value}.png").symlink_to(target.resolve())


def measure_peak(arguments: list[object]) -> tuple[int, float]:
    """Run a command of ``hpacells``; give the tree's peak resident bytes and the seconds."""
    code = "from hpacells.cli.app import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    started, peak = time.monotonic(), 0
    with subprocess.Popen(command) as process:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, resident_bytes(tree))
            time.sleep(SAMPLE_EVERY_S)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    return peak, time.monotonic() - started


def resident_bytes(tree: psutil.Process) -> int:
    """Add up the resident memory of a process and its children."""
    total = 0
    try:
        for process in (tree, *tree.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def write_result(measured: dict[int, tuple[int, float]], options: argparse.Namespace) -> None:
    """Write ``bench/results/memory.json``."""
    few, many = options.fields
    ratio = measured[many][0] / measured[few][0]
    rows = [
        {
            "what": f"peak memory of run, whole process tree, {many} fields 2048² over {few}",
            "asked": f"≤ {ASKED_RATIO}",
            "measured": f"{ratio:.3f}",
            "met": ratio <= ASKED_RATIO,
        },
        *(
            {
                "what": f"{n} fields 2048², {options.workers} workers",
                "asked": "",
                "measured": f"{peak / 2**20:.0f} MiB, {n / seconds:.2f} fields/s",
                "met": None,
            }
            for n, (peak, seconds) in measured.items()
        ),
    ]
    path = ROOT / "bench" / "results" / "memory.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"rows": rows, "model": Path(options.model).name, "seed": options.seed}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
