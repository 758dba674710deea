"""``hpacells doctor``: what this machine has, what it lacks, and whether the main job can run.

Nothing is installed, fetched or changed. PyTorch is imported only where it is installed, to ask it
for a GPU; timm never is.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
import typer

from hpacells import __version__
from hpacells.core.errors import ModelError
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.published_weights import missing_files
from hpacells.runtime.registry import DEFAULT_MODEL, list_models, resolve_model
from hpacells.segment.adapters.atlas import BIOIMAGEIO
from hpacells.segment.adapters.catalogue import SEGMENTER_WEIGHTS
from hpacells.segment.adapters.cellpose import CELLPOSE
from hpacells.segment.adapters.instanseg import INSTANSEG

__all__ = ["Finding", "State", "app", "examine"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_GB = 1e9
_LEAST_DISK_GB = 0.1
_WANTED_DISK_GB = 5.0
_WANTED_MEMORY_GB = 2.0
_LEAST_PYTHON = (3, 11)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)[^;]*(?:;.*extra == ['\"]([a-z]+)['\"])?")
_NATIVE_MODULES = ("cv2", "onnxruntime", "pyarrow", "skimage", "scipy", "tifffile", "imagecodecs")


class State(StrEnum):
    """How a finding weighs: fine, worth knowing, or in the way of the main job."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``remedy`` says what to do, empty where nothing is to be done."""

    what: str
    found: str
    state: State = State.OK
    remedy: str = ""


@app.command()
def doctor() -> None:
    """Say what is there and what is missing on this machine.

    Ends with 0 when the main job (images to run folder) can run here, with 2 when not; the lines
    marked PROBLEM then say what to do. Lines marked note are about optional things.

    Example: hpacells doctor
    """
    findings = list(examine())
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.state.value:<7}  {finding.what:<{width}}  {finding.found}")
        if finding.remedy:
            typer.echo(f"{'':<7}  {'':<{width}}  → {finding.remedy}")
    n_problems = sum(finding.state is State.PROBLEM for finding in findings)
    if n_problems:
        typer.echo(f"The main job cannot run here: {n_problems} problem(s), named above.")
        raise typer.Exit(2)
    typer.echo("The main job can run here. Next: hpacells demo")


def examine() -> Iterator[Finding]:
    """Look at the machine, one finding after the other."""
    yield Finding("hpacells", __version__)
    yield _python()
    yield _processors()
    yield _memory()
    yield _disk(Path.cwd())
    yield from _packages()
    yield _native_modules()
    yield _accelerator()
    yield from _models()
    yield from _published_segmenters()
    yield _real_data()


def _python() -> Finding:
    found = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    if sys.version_info[:2] >= _LEAST_PYTHON:
        return Finding("Python", found)
    return Finding("Python", found, State.PROBLEM, "Install Python 3.11 or later.")


def _processors() -> Finding:
    # a container or a batch system may allow fewer cores than the machine has
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return Finding("cores", f"{usable} usable of {total}")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / _GB:.1f} GB free of {memory.total / _GB:.1f} GB"
    if memory.available >= _WANTED_MEMORY_GB * _GB:
        return Finding("memory", found)
    return Finding(
        "memory",
        found,
        State.NOTE,
        f"A run wants about {_WANTED_MEMORY_GB:.0f} GB: close programs, or use --workers 1.",
    )


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / _GB
    found = f"{free:.1f} GB free in the current folder"
    if free < _LEAST_DISK_GB:
        return Finding("disk", found, State.PROBLEM, "Free some space or work in another folder.")
    if free < _WANTED_DISK_GB:
        return Finding("disk", found, State.NOTE, "Enough for a demo, little for many fields.")
    return Finding("disk", found)


def _packages() -> Iterator[Finding]:
    """Compare what the package asks for, extra by extra, with what is installed."""
    try:
        wanted = requires("hpacells") or []
    except PackageNotFoundError:
        yield Finding("packages", "hpacells is not installed", State.PROBLEM, _install(""))
        return
    by_extra: dict[str, list[str]] = {}
    for text in wanted:
        name, extra = _split_requirement(text)
        if name != "hpacells":
            by_extra.setdefault(extra, []).append(name)
    for extra, names in sorted(by_extra.items()):
        missing = [name for name in names if _version(name) is None]
        what = f"extra '{extra}'" if extra else "base packages"
        if not missing:
            yield Finding(what, f"all {len(names)} installed")
            continue
        state = State.NOTE if extra else State.PROBLEM
        yield Finding(what, f"missing: {', '.join(missing)}", state, _install(extra))


def _install(extra: str) -> str:
    what = f"'.[{extra}]'" if extra else "."
    return f"in the repository, pip install -c constraints.txt {what}"


def _split_requirement(text: str) -> tuple[str, str]:
    """Split ``torch>=2.6; extra == "train"`` into name and extra (empty for the base)."""
    found = _REQUIREMENT.match(text)
    return (found.group(1), found.group(2) or "") if found else (text, "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _native_modules() -> Finding:
    """Import the compiled libraries: an installed one may lack a system library."""
    broken = []
    for name in _NATIVE_MODULES:
        try:
            import_module(name)
        except (ImportError, OSError) as error:
            broken.append(f"{name} ({error})")
    if not broken:
        return Finding("libraries", f"{', '.join(_NATIVE_MODULES)} load")
    return Finding(
        "libraries",
        f"do not load: {'; '.join(broken)}",
        State.PROBLEM,
        "Make a fresh environment in the repository: make demo",
    )


def _accelerator() -> Finding:
    installed = _version("torch")
    if installed is None:
        return Finding(
            "PyTorch",
            "not installed: prediction runs on the processor, training cannot run",
            State.NOTE,
            f"For training or a GPU: {_install('train')}",
        )
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:
        return Finding(
            "PyTorch",
            f"{installed} does not load ({error})",
            State.NOTE,
            f"Install it anew: {_install('train')}",
        )
    if not torch.cuda.is_available():
        return Finding("PyTorch", f"{installed}, no GPU: training and prediction on the processor")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("PyTorch", f"{installed}, GPU: {', '.join(names)}")


def _models() -> Iterator[Finding]:
    """Verify the shipped models by their checksums."""
    names = list_models()
    if DEFAULT_MODEL not in names:
        yield Finding(
            f"model {DEFAULT_MODEL}",
            "not there",
            State.PROBLEM,
            "Install hpacells anew; until then give --model a model folder.",
        )
    for name in names:
        try:
            model = load_model(resolve_model(name))
        except ModelError as error:
            is_default = name == DEFAULT_MODEL
            state = State.PROBLEM if is_default else State.NOTE
            yield Finding(f"model {name}", str(error), state, "Install hpacells anew.")
        else:
            size_mb = model.size_bytes / 1e6
            yield Finding(f"model {name}", f"{model.model_id}, {size_mb:.1f} MB, verified")


def _published_segmenters() -> Iterator[Finding]:
    """Say for each published segmenter whether its library and its weights are there."""
    libraries = {"hpa-unet": BIOIMAGEIO, "cellpose": CELLPOSE, "instanseg": INSTANSEG}
    for name, library in libraries.items():
        absent = missing_files(SEGMENTER_WEIGHTS[name])
        weights = "weights not fetched" if absent else "weights in the cache"
        if library.installed():
            remedy = f"hpacells models install {name}" if absent else ""
            state = State.NOTE if absent else State.OK
            yield Finding(f"segmenter {name}", weights, state, remedy)
        else:
            found = f"{library.distribution} is not installed, {weights}"
            yield Finding(f"segmenter {name}", found, State.NOTE, _install(library.extra))


def _real_data() -> Finding:
    folder = os.environ.get("HPACELLS_REAL_DATA")
    what = "HPACELLS_REAL_DATA"
    if not folder:
        return Finding(what, "not set: tests on real images are skipped", State.NOTE)
    if not Path(folder).is_dir():
        return Finding(what, f"{folder} is no folder", State.NOTE, "Set it to the data's folder.")
    return Finding(what, folder)
