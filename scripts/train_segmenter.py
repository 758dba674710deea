"""Train the ``unet`` segmenter: simulated fields with true masks, nothing else.

Simulates fields, brings them to the network's resolution, trains and installs the segmenter folder
as ``unet-sim``. Each step continues where a killed one stopped, and refuses a folder that was made
with other settings.

    python scripts/train_segmenter.py --work scratch/segmenter
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from hpacells.cli.progress import show_progress
from hpacells.core.errors import HpacellsError, OutputError
from hpacells.runtime.segmenter_folder import (
    SEGMENTER_GRAPH,
    SEGMENTER_SPEC,
    SEGMENTER_WEIGHTS,
    SegmenterSpec,
)
from hpacells.train.segmentation.config import SegmentTrainConfig
from hpacells.train.segmentation.run import prepare_fields, train_segmenter

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / "src" / "hpacells" / "runtime" / "weights" / "unet-sim"


def main() -> int:
    """Simulate, prepare, train, install."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "segmenter")
    parser.add_argument("--fields", type=int, default=1600)
    parser.add_argument("--data-seed", type=int, default=1000, help="below 900,000")
    parser.add_argument("--steps", type=int, default=SegmentTrainConfig().steps)
    parser.add_argument("--batch", type=int, default=SegmentTrainConfig().batch)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-install", action="store_true", help="leave it in the work folder")
    options = parser.parse_args()
    try:
        spec = _train(options)
    except HpacellsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"trained: {spec.training['last']}")
    if options.no_install:
        return 0
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for file in (SEGMENTER_WEIGHTS, SEGMENTER_GRAPH, SEGMENTER_SPEC):  # the last makes it valid
        shutil.copyfile(options.work / "trained" / file, INSTALLED / file)
    print(f"installed {INSTALLED}")
    return 0


def _train(options: argparse.Namespace) -> SegmenterSpec:
    data, out = options.work / "data", options.work / "trained"
    command = [  # makes what is missing; refuses fields of other settings
        Path(sys.executable).with_name("hpacells"), "simulate", data,
        "--fields", options.fields, "--seed", options.data_seed,
        "--size", 768, "--pixel-size-um", 0.16, "--class-frequencies", "uniform",
        "--workers", options.workers,
    ]  # fmt: skip
    print("$", *command, flush=True)
    if subprocess.run([str(word) for word in command], check=False).returncode:
        raise OutputError(f"{data}: its fields could not be made, see above")
    config = SegmentTrainConfig(
        steps=options.steps, batch=options.batch, seed=options.seed, device=options.device
    )
    with show_progress("prepare") as progress:
        cache = prepare_fields(data, out, config, workers=options.workers, progress=progress)
    with show_progress("train", "steps") as progress:
        return train_segmenter(cache, out, config, threads=options.threads, progress=progress)


if __name__ == "__main__":
    sys.exit(main())
