"""Train the shipped model: simulated fields, image labels only.

Simulates fields, deletes their truth, trains by ``configs/shipped.yaml`` and installs the model
folder as ``nfnet-sim``. Each step continues where a killed one stopped.

    python scripts/train_shipped.py --work scratch/shipped

With ``--control`` the image labels are shuffled between fields before a short training: what is
left is chance. The control uses the crops of the shipped model's training, so it comes after that;
it is kept in the work folder and never installed.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / "src" / "hpacells" / "runtime" / "weights" / "nfnet-sim"
SHIPPED_FILES = ("variation_null.json", "model.onnx", "model.safetensors", "model.json")


def main() -> None:
    """Simulate, delete the truth, train, install."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "shipped")
    parser.add_argument("--fields", type=int, default=5500)
    parser.add_argument("--seed", type=int, default=4000, help="below 900,000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--control", action="store_true", help="shuffled labels, not installed")
    options = parser.parse_args()

    data = options.work / "data"
    if not _is_simulated(data, fields=options.fields, seed=options.seed):
        _hpacells(
            "simulate", data, "--fields", options.fields, "--seed", options.seed,
            "--size", 768, "--pixel-size-um", 0.16, "--samples", "single",
            "--workers", options.workers,
        )  # fmt: skip
    for name in ("truth", "truth.csv"):
        path = data / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)

    name = "control" if options.control else "shipped"
    model = options.work / name
    source = options.work / "shipped" / "crops" if options.control else data
    _hpacells(
        "train", source, model, "--config", ROOT / "configs" / f"{name}.yaml",
        "--workers", options.workers, "--threads", options.threads,
    )  # fmt: skip
    if options.control:
        print(f"control model in {model}")
        return
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for file in SHIPPED_FILES:
        if (model / file).is_file():  # few held-out fields make no null: fit_variation_null.py does
            shutil.copyfile(model / file, INSTALLED / file)
    print(f"installed {INSTALLED}")


def _is_simulated(data: Path, *, fields: int, seed: int) -> bool:
    """Say whether the fields are all there; those of a finished folder have no truth any more."""
    file = data / "simulate.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not known.get("finished"):
        return False
    if (made := (known["fields"], known["settings"]["seed"])) != (fields, seed):
        sys.exit(
            f"{data}: holds {made[0]} fields of seed {made[1]}, asked for are {fields} of seed "
            f"{seed}. Choose another --work."
        )
    return True


def _hpacells(*arguments: object) -> None:
    command = [str(Path(sys.executable).with_name("hpacells")), *map(str, arguments)]
    print("$", " ".join(command), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
