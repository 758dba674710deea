"""An offline folder for the code competition: wheels, model, script, notebook.

::

    OUT/wheels/             hpacells and everything it needs, for one Python on Linux x86-64
    OUT/model/              the model folder
    OUT/predict.py          installs from the folder and writes submission.csv (offline_script)
    OUT/notebook.ipynb      the same for the competition's page
    OUT/bundle.json         versions, model, segmenter, hashes

Only making it needs a package index; using it needs no network. The whole folder appears at the
end, or not at all.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from hpacells import __version__
from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.provenance import sha256_file
from hpacells.core.settings_difference import describe_difference
from hpacells.core.storage import atomic_folder, write_json
from hpacells.export import offline_script
from hpacells.runtime.model_folder import load_model
from hpacells.segment.registry import SEGMENTERS

__all__ = ["BUNDLE_FILE", "find_package", "write_bundle"]

BUNDLE_FILE = "bundle.json"

_PLATFORMS = tuple(
    f"manylinux{version}_x86_64"
    for version in ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "2010", "1")
)
"""What a system with glibc 2.28 or newer can use; pip takes the names literally."""
_INPUT = "/kaggle/input"
_COMPETITION = f"{_INPUT}/hpa-single-cell-image-classification"


def write_bundle(
    out: Path,
    *,
    model: Path,
    segmenter: str,
    python: str | None = None,
    package: Path | None = None,
    run: Callable[[list[str]], None] | None = None,
) -> bool:
    """Make the folder.

    Parameters
    ----------
    out
        New, or a bundle of the same content.
    model
        Model folder.
    segmenter
        One that comes with the package.
    python
        Version that will use it, like ``3.11``; None: that of this interpreter.
    package
        Wheel or source folder of hpacells; None: where it was installed from.
    run
        Runs a command; None: ``pip`` in a process, its output shown.

    Returns
    -------
    bool
        False: it was there already.

    Raises
    ------
    ConfigError
        A segmenter that does not come with the package.
    InputError
        No wheel or source of hpacells is known.
    OutputError
        ``out`` holds something else, or pip failed.
    """
    if segmenter not in SEGMENTERS:
        raise ConfigError(
            f"--segmenter {segmenter}: expected one whose weights come with the package: "
            f"{', '.join(sorted(SEGMENTERS))}."
        )
    spec = load_model(model).spec
    version = python or f"{sys.version_info.major}.{sys.version_info.minor}"
    request: dict[str, Any] = {
        "hpacells": __version__,
        "model": f"{spec.name}-{spec.version}",
        "model_sha256": {path.name: sha256_file(path) for path in sorted(model.iterdir())},
        "segmenter": segmenter,
        "python": version,
    }
    if _is_there(out, request):
        return False
    with atomic_folder(out) as folder:
        _gather_wheels(folder / "wheels", package or find_package(), version, run or _run_pip)
        shutil.copytree(model, folder / "model")
        shutil.copyfile(str(offline_script.__file__), folder / "predict.py")
        write_json(folder / "notebook.ipynb", _notebook())
        wheels = {path.name: sha256_file(path) for path in sorted((folder / "wheels").iterdir())}
        write_json(folder / BUNDLE_FILE, {**request, "wheels_sha256": wheels})
    return True


def find_package() -> Path:
    """Say where the source of the installed hpacells lies.

    Raises
    ------
    InputError
        When it was not installed from a folder.
    """
    text = distribution("hpacells").read_text("direct_url.json")
    url = urlparse(json.loads(text)["url"]) if text else None
    if url is None or url.scheme != "file":
        raise InputError(
            "hpacells was not installed from a folder, so its wheel cannot be built. Name a wheel "
            "or source folder with --package."
        )
    return Path(unquote(url.path))


def _is_there(out: Path, request: dict[str, Any]) -> bool:
    advice = "Choose another folder, or delete this one."
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / BUNDLE_FILE).is_file():
        raise OutputError(f"{out}: not empty and not a bundle. {advice}")
    earlier = json.loads((out / BUNDLE_FILE).read_text(encoding="utf-8"))
    earlier.pop("wheels_sha256", None)
    differing = describe_difference(earlier, request)
    if differing:
        raise OutputError(f"{out}: holds a bundle of another {differing}. {advice}")
    return True


def _gather_wheels(
    folder: Path, package: Path, python: str, run: Callable[[list[str]], None]
) -> None:
    """Put the wheel of hpacells and those of all it needs into a folder."""
    folder.mkdir()
    if package.suffix == ".whl":
        shutil.copy(package, folder)
    else:
        run(["wheel", "--no-deps", "--wheel-dir", str(folder), str(package)])
    own = [str(path) for path in folder.glob("hpacells-*.whl")]
    if not own:
        raise InputError(f"{package}: expected a wheel or the source of hpacells, found none.")
    platforms = [f"--platform={name}" for name in _PLATFORMS]
    run(
        [
            *("download", "--only-binary=:all:", "--dest", str(folder)),
            *("--python-version", python, "--implementation", "cp", *platforms),
            *own,
        ]
    )


def _run_pip(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise OutputError(
            f"pip {arguments[0]} failed (the lines above say why). Making a bundle needs a package "
            "index; using it does not."
        )


def _notebook() -> dict[str, Any]:
    """Give a notebook that finds the bundle among the inputs and runs its script."""
    text = (
        "Add this bundle and the competition as inputs and switch the internet off. The test "
        "images are outlined and classified, and `submission.csv` is written."
    )
    code = f"""import subprocess, sys
from pathlib import Path

bundle = next(Path("{_INPUT}").rglob("bundle.json")).parent
data = Path("{_COMPETITION}")
command = [sys.executable, bundle / "predict.py", data / "test"]
command += ["--sample-submission", data / "sample_submission.csv"]
command += ["--work", "/tmp/hpacells", "--out", "/kaggle/working/submission.csv"]
done = subprocess.run(list(map(str, command)))
if done.returncode not in (0, 1):  # 1: some images could not be used; their rows are empty
    raise SystemExit("no submission.csv: the lines above say why")"""
    cells = [
        {"cell_type": "markdown", "id": "what", "metadata": {}, "source": text},
        {
            "cell_type": "code",
            "id": "run",
            "metadata": {},
            "source": code,
            "outputs": [],
            "execution_count": None,
        },
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}
