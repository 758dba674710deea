"""What a bundle's ``predict.py`` is: it installs hpacells from the folder it lies in and predicts.

Copied into the bundle as it is, so it imports nothing but the standard library. Everything comes
from the folder; no network is asked.

Usage: python predict.py TEST [--sample-submission CSV] [--out submission.csv] [--work FOLDER]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Install, run on the test images, write the submission; give the exit code of the run."""
    parser = argparse.ArgumentParser(description="Write submission.csv for a folder of images.")
    parser.add_argument("test", type=Path, help="folder of <ID>_<colour>.png")
    parser.add_argument("--sample-submission", type=Path, help="gives the order of the images")
    parser.add_argument("--out", type=Path, default=Path("submission.csv"))
    parser.add_argument("--work", type=Path, default=Path("hpacells-work"))
    given, run_options = parser.parse_known_args(arguments)
    bundle = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    command = install(given.work / "site")
    environment = {**os.environ, "PYTHONPATH": str((given.work / "site").resolve())}
    run = given.work / "run"
    done = subprocess.run(
        [
            *command,
            *("run", str(given.test), str(run)),
            *("--model", str(HERE / "model"), "--segmenter", bundle["segmenter"]),
            *("--runtime", "onnx"),  # a torch that is installed there may be any version
            *run_options,
        ],
        env=environment,
        check=False,
    )
    if done.returncode not in (0, 1):  # 1: some images could not be used; their rows are empty
        return done.returncode
    sample = []
    if given.sample_submission is not None:
        sample = ["--sample-submission", str(given.sample_submission)]
    exported = given.work / "kaggle"
    subprocess.run(
        [*command, "export", str(run), "--to", "kaggle", "--out", str(exported), *sample],
        env=environment,
        check=True,
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(exported / "submission.csv", given.out)
    return done.returncode


def install(site: Path) -> list[str]:
    """Unpack the wheels into a folder of their own; give the command that runs hpacells there."""
    if not (site / "hpacells").is_dir():
        temporary = site.with_name(site.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--no-index", "--quiet"]
        where = ["--find-links", str(HERE / "wheels"), "--target", str(temporary)]
        subprocess.run([*pip, "--disable-pip-version-check", *where, "hpacells"], check=True)
        temporary.replace(site)
    return [sys.executable, "-m", "hpacells"]


if __name__ == "__main__":
    sys.exit(main())
