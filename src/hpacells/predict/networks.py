"""What runs a run's networks, on which device, in which precision: decided here, for both networks.

PyTorch is imported only where it is asked for, or where the driver of a GPU answers.

Published segmenters are not opened here: they stay on the CPU.
"""

import ctypes
import json
import logging
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, MissingExtraError, ModelError
from hpacells.predict.run_folder import SETTINGS_FILE
from hpacells.runtime.model_folder import WEIGHTS_FILE, ModelFolder, load_model
from hpacells.runtime.segmenter_folder import load_segmenter
from hpacells.runtime.session import CellSession, Device, Precision, open_session
from hpacells.segment.registry import Segmenter
from hpacells.segment.unet import UnetSegmenter

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "Networks",
    "RuntimeName",
    "choose_networks",
    "has_gpu",
    "open_classifier",
    "place_segmenter",
]

RuntimeName = Literal["onnx", "torch"]

logger = logging.getLogger(__name__)

_TOLERANCE = 0.1
"""How far a GPU's logits may be from the CPU's, as a share of the largest, or of 1."""

_NEEDED = ("torch", "torchvision", "timm", "onnx", "safetensors")
_DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}


@dataclass(frozen=True)
class Networks:
    """How networks are run; it decides a run's results, to rounding.

    Parameters
    ----------
    runtime
        ``onnx``: ONNX Runtime, on the CPU in float32. ``torch``: PyTorch.
    device
        Where.
    precision
        Of the arithmetic.

    Raises
    ------
    ConfigError
        When the runtime does not run there, or the device does not compute so.
    """

    runtime: RuntimeName = "onnx"
    device: Device = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.runtime == "onnx" and self.device == "cuda":
            raise ConfigError(
                "--device cuda: expected --runtime torch, got onnx, which runs on the CPU here."
            )
        if self.device == "cpu" and self.precision != "float32":
            raise ConfigError(
                f"--precision: expected float32 on the CPU, got {self.precision}. Leave it out, or "
                "take --device cuda."
            )

    def describe(self) -> dict[str, str]:
        """Give what a run's settings say of it."""
        return {"runtime": self.runtime, "device": self.device, "precision": self.precision}

    def __str__(self) -> str:
        place = "GPU" if self.device == "cuda" else "CPU"
        return f"{self.runtime} runtime on the {place}, {self.precision}"


def choose_networks(
    model: Path,
    *,
    runtime: RuntimeName | Literal["auto"] = "auto",
    device: Device | Literal["auto"] = "auto",
    precision: Precision | Literal["auto"] = "auto",
    over_cluster: bool = False,
    begun: Path | None = None,
) -> Networks:
    """Decide what was left open: PyTorch on a GPU that answers right, else ONNX Runtime.

    Parameters
    ----------
    model
        The classifier's folder; one without weights has only a graph, for ONNX Runtime.
    runtime, device
        What was asked for.
    precision
        What was asked for; ``auto``: bfloat16 on a GPU that computes in it, else float32.
    over_cluster
        Whether nodes of a cluster do the work, on their CPUs.
    begun
        Output folder, new or to be continued: what began it goes on, where all is ``auto``.

    Raises
    ------
    ConfigError
        When what was asked for does not go together, or there is no GPU.
    MissingExtraError
        When PyTorch was asked for and is not installed.
    ModelError
        When PyTorch was asked for and the model has no weights.
    """
    if over_cluster and device == "cuda":
        raise ConfigError("--device cuda: expected --engine local, got ray, which uses CPUs alone.")
    if begun is not None and runtime == device == precision == "auto":
        runtime, device, precision = _networks_of(begun) or (runtime, device, precision)
    has_weights = (model / WEIGHTS_FILE).is_file()
    if device == "auto":
        may_be_gpu = runtime != "onnx" and not over_cluster and has_weights
        device = "cuda" if may_be_gpu and _gpu_answers(model, precision) else "cpu"
    if runtime == "auto":
        runtime = "torch" if device == "cuda" else "onnx"
    found = Networks(runtime, device)
    if runtime == "torch":
        _torch_session().prepare_device(device)
        if not has_weights:
            raise ModelError(
                f"{model}: expected {WEIGHTS_FILE}, which the torch runtime needs, there is none. "
                "Take --runtime onnx."
            )
    return replace(found, precision=_decide_precision(device, precision))


def open_classifier(model: ModelFolder, networks: Networks, *, threads: int) -> CellSession:
    """Open a model's network.

    Parameters
    ----------
    networks
        How it is run.
    threads
        Cells, or on torch batches, at the same time within one call; a GPU goes by its own.

    Raises
    ------
    ConfigError
        When there is no such GPU.
    MissingExtraError
        When PyTorch is needed and not installed.
    ModelError
        When the network cannot be loaded.
    WorkerError
        When the GPU's memory does not hold it.
    """
    if networks.runtime == "onnx":
        return open_session(model, threads=threads)
    session: CellSession = _torch_session().open_torch_session(
        model, device=networks.device, precision=networks.precision, threads=threads
    )
    return session


def place_segmenter(segmenter: Segmenter, networks: Networks) -> Segmenter:
    """Put the network of the ``unet`` segmenter where the classifier's is; others stay.

    Raises
    ------
    ConfigError, MissingExtraError, ModelError, WorkerError
        As in ``open_classifier``.
    """
    if networks.runtime == "onnx" or not isinstance(segmenter, UnetSegmenter):
        return segmenter
    session = _torch_session().open_torch_segmenter(
        load_segmenter(segmenter.folder),
        device=networks.device,
        precision=networks.precision,
    )
    return replace(segmenter, open_network=lambda _: session)


def has_gpu() -> bool:
    """Ask the driver of NVIDIA's GPUs, not PyTorch, whether this process may use one."""
    try:
        driver = ctypes.CDLL(_DRIVERS[sys.platform])
    except (KeyError, OSError):
        return False
    count = ctypes.c_int(0)
    ready = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return ready and count.value > 0


def _gpu_answers(model: Path, precision: Precision | Literal["auto"]) -> bool:
    """Say whether a GPU is there and answers for one cell about what the CPU does.

    Nobody asked for this GPU: a torch that cannot be imported, a driver that fails or a kernel that
    errs gets a warning and must not cost the run.
    """
    if not has_gpu() or _missing_packages():
        return False
    folder = load_model(model)
    side = folder.spec.crop_px
    crop = np.random.default_rng(0).integers(0, 256, (1, len(CHANNELS), side, side), np.uint8)
    cell = crop, np.ones((1, side, side), np.bool_)
    expected = open_session(folder).run(*cell)[0]
    try:
        if _torch_session().explain_no_gpu():  # one built for CPUs only
            return False
        networks = Networks("torch", "cuda", _decide_precision("cuda", precision))
        found = open_classifier(folder, networks, threads=1).run(*cell)[0]
    except Exception as error:  # noqa: BLE001  whatever it is, the CPU does the work
        logger.warning("the GPU is left alone, it failed on one cell: %s", error)
        return False
    gap = float(np.abs(found - expected).max())
    if gap <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        return True
    logger.warning(
        "the GPU is left alone: its scores of one cell are off by %.2g in %s. "
        "--device cuda takes it all the same.",
        gap,
        networks.precision,
    )
    return False


def _networks_of(begun: Path) -> tuple[Any, Any, Any] | None:
    """Read runtime, device and precision of a run folder; None where it tells none."""
    try:
        content = json.loads((begun / SETTINGS_FILE).read_text(encoding="utf-8"))
        return content["runtime"], content["device"], content["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _decide_precision(device: Device, asked: Precision | Literal["auto"]) -> Precision:
    if asked != "auto":
        return asked
    reduced = device == "cuda" and _torch_session().has_bfloat16()
    return "bfloat16" if reduced else "float32"


def _missing_packages() -> list[str]:
    return [name for name in _NEEDED if find_spec(name) is None]


def _torch_session() -> "ModuleType":
    missing = _missing_packages()
    if missing:
        raise MissingExtraError(
            f"--runtime torch: expected the packages {', '.join(_NEEDED)}, there is no "
            f"{', '.join(missing)}. In the repository: pip install -c constraints.txt '.[train]', "
            "or take --runtime onnx."
        )
    from hpacells.model import torch_session  # an extra, slow to import  # noqa: PLC0415

    return torch_session
