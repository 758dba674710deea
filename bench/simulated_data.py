"""Dataset folders of the benchmarks: options, making, and what a folder says of itself."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "RESULTS",
    "ROOT",
    "SimulatedData",
    "add_options",
    "dataset",
    "hpacells",
    "open_data",
    "run_folder",
]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
DEFAULT_SEED = 880_000
FIRST_JUDGING_SEED = 900_000


@dataclass(frozen=True)
class SimulatedData:
    """A finished dataset folder, as its own ``simulate.json`` describes it.

    Parameters
    ----------
    path
        The folder.
    seed, size_px, pixel_um
        It was made with these.
    fields
        How many of its fields are used, the first ones.
    digest
        Of what is in the folder: settings, counts, versions and the table of images.
    """

    path: Path
    seed: int
    size_px: int
    pixel_um: float
    fields: int
    digest: str

    def facts(self) -> dict[str, str | int | float]:
        """Give what a result says about its data."""
        return {
            "data": self.path.name,
            "seed": self.seed,
            "size_px": self.size_px,
            "pixel_size_um": self.pixel_um,
            "fields": self.fields,
            "data_digest": self.digest,
        }


def add_options(
    parser: argparse.ArgumentParser, *, fields: int, size: int = 2048, pixel_size_um: float = 0.08
) -> None:
    """Add the options that the benchmarks of the simulator share."""
    parser.add_argument("--data", type=Path, help="dataset folder; else made as below")
    parser.add_argument("--fields", type=int, default=fields, help="to make or to use: %(default)s")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="%(default)s; below 900000")
    parser.add_argument("--judging", action="store_true", help="allow seeds from 900000")
    parser.add_argument("--size", type=int, default=size, help="side, px: %(default)s")
    parser.add_argument(
        "--pixel-size-um", type=float, default=pixel_size_um, help="of the fields: %(default)s"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "scratch" / "bench_simulator",
        help="folder for data and features, kept: scratch/bench_simulator",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder for the result: bench/results"
    )
    parser.add_argument("--workers", type=int, default=2, choices=(1, 2), help="%(default)s")


def open_data(path: Path, fields: int, *, judging: bool = False) -> SimulatedData:
    """Describe a finished dataset folder that has at least the fields asked for.

    Ends the program where the folder is not finished, has fewer fields, or was made by a seed for
    judging without ``judging``.
    """
    file = path / "simulate.json"
    if not file.is_file():
        sys.exit(f"{path}: expected a dataset folder made by hpacells simulate, no {file.name}")
    text = file.read_bytes()
    known = json.loads(text)
    settings = known["settings"]
    if not known.get("finished"):
        sys.exit(f"{path}: is not finished; continue it with hpacells simulate")
    if known["fields"] < fields:
        sys.exit(f"{path}: expected at least {fields} fields, it has {known['fields']}")
    if settings["seed"] >= FIRST_JUDGING_SEED and not judging:
        sys.exit(
            f"{path}: made by seed {settings['seed']}, seeds from {FIRST_JUDGING_SEED} are for "
            "judging only; say --judging if that is meant"
        )
    digest = hashlib.sha256(text + (path / "train.csv").read_bytes()).hexdigest()[:12]
    return SimulatedData(
        path, settings["seed"], settings["size_px"], settings["pixel_size_um"], fields, digest
    )


def dataset(options: argparse.Namespace) -> SimulatedData:
    """Give the dataset asked for; made, or continued, where ``--data`` names none."""
    if options.data is not None:
        return open_data(Path(options.data), options.fields, judging=options.judging)
    if options.seed < 0 or (options.seed >= FIRST_JUDGING_SEED and not options.judging):
        sys.exit(f"--seed: expected 0 to {FIRST_JUDGING_SEED - 1}, got {options.seed}")
    out = Path(options.work) / f"data_{options.seed}_{options.size}_{options.pixel_size_um:g}"
    file = out / "simulate.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    fields = max(options.fields, known.get("fields", 0))  # a folder never gets smaller
    if not known.get("finished") or known["fields"] < fields:
        settings: list[object] = ["--fields", fields]
        for name in ("seed", "size", "pixel-size-um", "workers"):
            settings += [f"--{name}", getattr(options, name.replace("-", "_"))]
        hpacells("simulate", out, *settings)
    return open_data(out, options.fields, judging=options.judging)


def run_folder(data: SimulatedData) -> Path:
    """Give the dataset's finished run folder, which lies beside it; made where it is not there."""
    run = data.path.with_name(f"run_{data.path.name.removeprefix('data_')}")
    if not (run / "run.json").is_file():
        hpacells("run", data.path, run)
    return run


def hpacells(*arguments: object) -> tuple[float, float]:
    """Run one of the project's own commands; give wall and processor seconds, start-up included.

    CalledProcessError where it fails.
    """
    command = [str(Path(sys.executable).with_name("hpacells")), *map(str, arguments)]
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True)
    after = os.times()
    busy = after.children_user + after.children_system
    busy -= before.children_user + before.children_system
    return time.perf_counter() - started, busy
