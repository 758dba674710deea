"""``hpacells run`` on a GPU: fields per second from files to tables, and how busy the GPU is.

The rate is the slope between two runs of simulated fields of 2048² (links to a few of them under
many ids), so that the start doesn't count; beside it that of ONNX Runtime on the same cores. How
busy the GPU is, is what nvidia-smi says of it, asked twice a second during the longer run, its
start included: the share of time in which any kernel ran. Without a GPU it says so and writes
nothing.

    python bench/gpu_run.py                 # --model subcell: a large published network
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from memory import link_fields
from run_speed import CALL, draw, row

from hpacells.core.storage import write_json
from hpacells.predict.networks import Networks, choose_networks
from hpacells.runtime.registry import resolve_model

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "gpu_run.json"
ASK_EVERY_S = 0.5
QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,name"]
QUERY += ["--format=csv,noheader,nounits"]


def main() -> None:
    """Draw, run on the GPU and on the CPU, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "gpu_run")
    parser.add_argument("--fields", type=int, nargs=2, default=(100, 500))
    parser.add_argument("--drawn", type=int, default=24)
    parser.add_argument("--model", default="nfnet-sim")
    options = parser.parse_args()
    networks = choose_networks(resolve_model(options.model))
    if networks.device != "cuda":
        print("no GPU here")
        return
    drawn = draw(options.work / "drawn", options.drawn, 2048, 702_000)
    workers = min(os.cpu_count() or 1, options.fields[0])
    seconds = {}
    for found in (networks, Networks()):
        for n in options.fields:
            with GpuWatch() as watch:
                seconds[found.runtime, n] = time_run(drawn, n, found, workers, options)
            print(f"{n} fields, {found}: {seconds[found.runtime, n]:.1f} s", flush=True)
            if found is networks:
                busy = watch  # of the longer run in the end
    few, many = options.fields
    rates = {
        runtime: (many - few) / (seconds[runtime, many] - seconds[runtime, few])
        for runtime in ("torch", "onnx")
    }
    rows = [
        row(f"fields 2048² per second, {networks}, {workers} workers", "", f"{rates['torch']:.2f}"),
        row(
            f"the same on the CPU alone, {Networks()}",
            "",
            f"{rates['onnx']:.2f} ({rates['torch'] / rates['onnx']:.2f}x)",
        ),
        row(f"share of time that {busy.name} is busy", "", f"{statistics.mean(busy.busy):.0%}"),
        row("memory of the GPU, at most", "", f"{max(busy.memory_mib):.0f} MiB"),
    ]
    write_json(RESULTS, {"rows": rows, "model": options.model, "networks": networks.describe()})
    for line in rows:
        print(f"{line['what']:<90}{line['measured']}")


def time_run(
    drawn: Path, n: int, networks: Networks, workers: int, options: argparse.Namespace
) -> float:
    """Run the command in a process of its own, anew; give its seconds."""
    images, out = options.work / f"images{n}", options.work / "out"
    link_fields(drawn, images, n)
    shutil.rmtree(out, ignore_errors=True)
    command = ["run", images, out, "--model", options.model, "--workers", workers, "--threads", 1]
    for name, value in networks.describe().items():
        command += [f"--{name}", value]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", CALL, *map(str, command)], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


class GpuWatch:
    """Asks nvidia-smi about the first GPU, over and over, while a block runs."""

    def __init__(self) -> None:
        self.busy: list[float] = []
        self.memory_mib: list[float] = []
        self.name = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "GpuWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(ASK_EVERY_S):
            answer = subprocess.run(QUERY, capture_output=True, text=True, check=True).stdout
            busy, memory, self.name = answer.splitlines()[0].split(", ")
            self.busy.append(float(busy) / 100)
            self.memory_mib.append(float(memory))


if __name__ == "__main__":
    main()
