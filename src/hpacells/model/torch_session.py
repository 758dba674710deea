"""Both networks on PyTorch, on a GPU or a CPU: cells to logits and embeddings, stains to maps.

Batches go to two lanes, each a thread with pinned memory and a CUDA stream of its own, so that one
batch is copied while another is computed, of one field or of several. A batch holds cells of one
call and is filled up to one size: the same kernels run whatever stands beside a cell, and no batch
changes a result beyond rounding. With ``bfloat16``, convolutions and the layers of an encoder are
reduced; what is done to the grey values, the last linear layers and the sums are not.

Not here: CUDA graphs and ``torch.compile``. A capture must not meet the allocations of other
threads, and launching these small networks is little beside reading a field.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hpacells.core.errors import ConfigError, WorkerError
from hpacells.core.locations import N_LOCATIONS
from hpacells.model.export import fold_weight_standardisation, load_classifier
from hpacells.model.subcell_classifier import load_subcell
from hpacells.model.unet import CellUnet
from hpacells.model.unet_export import load_unet
from hpacells.runtime.model_folder import ModelFolder
from hpacells.runtime.segmenter_folder import SegmenterFolder
from hpacells.runtime.segmenter_session import check_maps, check_stains
from hpacells.runtime.session import Device, Precision, check_answers, check_cells

__all__ = [
    "TorchSegmenterSession",
    "TorchSession",
    "explain_no_gpu",
    "has_bfloat16",
    "open_torch_segmenter",
    "open_torch_session",
    "prepare_device",
]

logger = logging.getLogger(__name__)

_BATCH = {"cpu": 8, "cuda": 32}  # one for most fields, which hold about 20 cells
_LANES = 2

_Arrays = tuple[npt.NDArray[Any], ...]


class TorchSession:
    """A classifier ready to run; made by ``open_torch_session``. May be used from several threads.

    Parameters
    ----------
    model
        Its folder.
    lanes
        What computes its batches.
    batch
        Cells of one; halved, once, when the GPU's memory does not hold them.
    """

    def __init__(self, model: ModelFolder, lanes: "_Lanes", *, batch: int) -> None:
        self.model = model
        self._lanes = lanes
        self._sizes = [batch, max(1, batch // 2)]

    def run(
        self, crops: npt.NDArray[np.uint8], cell_mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Classify cells, as ``runtime.session.Session.run`` does.

        Raises
        ------
        ModelError
            When shapes or dtypes are not the model's, or the network gives NaN or infinity.
        WorkerError
            When the GPU's memory does not hold half a batch.
        """
        masks = check_cells(self.model, crops, cell_mask)
        if len(crops) == 0:
            size = self.model.spec.embedding_size
            return np.zeros((0, N_LOCATIONS), np.float32), np.zeros((0, size), np.float32)
        for size in tuple(self._sizes):
            try:
                logits, embedding = self._classify(crops, masks, size)
            except RuntimeError as error:
                if not _is_memory(error):
                    raise
                # other threads may be at the same point: it is the same half for all of them
                self._sizes = self._sizes[-1:]
            else:
                check_answers(self.model, logits, embedding)
                return logits, embedding
            torch.cuda.empty_cache()
            logger.warning("the GPU's memory does not hold %d cells at a time", size)
        raise _too_little_memory(f"{self._sizes[-1]} cells of model {self.model.model_id}")

    def _classify(
        self, crops: npt.NDArray[np.uint8], masks: npt.NDArray[np.uint8], size: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        starts = range(0, len(crops), size)
        batches = [(crops[i : i + size], masks[i : i + size]) for i in starts]
        logits, embedding = zip(*self._lanes.compute(batches, size), strict=True)
        n = len(crops)
        return np.concatenate(logits)[:n], np.concatenate(embedding)[:n]


class TorchSegmenterSession:
    """A segmenter ready to run; made by ``open_torch_segmenter``. May be used from several threads.

    Parameters
    ----------
    path
        Of its weights, for messages.
    lanes
        What computes its images.
    """

    def __init__(self, path: Path, lanes: "_Lanes") -> None:
        self._path = path
        self._lanes = lanes

    def run(
        self, stains: npt.NDArray[np.float32], present: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Compute the maps of one image, as ``SegmenterSession.run`` does.

        Raises
        ------
        ModelError
            When the sizes are not the network's, or it gives NaN.
        WorkerError
            When the GPU's memory does not hold the image.
        """
        check_stains(self._path, stains, present)
        image = (stains[None].astype(np.float32, copy=False), present[None].astype(np.float32))
        with _memory_told(f"an image of {stains.shape[1]} x {stains.shape[2]} pixels"):
            (maps,) = self._lanes.compute([image], 1)[0]
        check_maps(self._path, maps)
        found: npt.NDArray[np.float32] = maps[0]
        return found


def open_torch_session(
    model: ModelFolder, *, device: Device, precision: Precision, threads: int = 1
) -> TorchSession:
    """Open a model's network; calls ``prepare_device``.

    Parameters
    ----------
    device
        Where it runs.
    precision
        Of its arithmetic.
    threads
        Batches at the same time on a CPU.

    Raises
    ------
    ConfigError
        When there is no such GPU.
    ModelError
        When the folder holds no weights, or those of another network.
    WorkerError
        When the GPU's memory does not hold the network.
    """
    prepare_device(device)
    network = _keep_linear_layers_exact(_load_network(model))
    n_lanes = _LANES if device == "cuda" else threads
    lanes = _Lanes(network, device=device, precision=precision, n_lanes=n_lanes)
    return TorchSession(model, lanes, batch=_BATCH[device])


def open_torch_segmenter(
    folder: SegmenterFolder, *, device: Device, precision: Precision
) -> TorchSegmenterSession:
    """Open a segmenter's network.

    Parameters
    ----------
    device, precision
        As in ``open_torch_session``.

    Raises
    ------
    ConfigError, ModelError, WorkerError
        As in ``open_torch_session``.
    """
    prepare_device(device)
    network = _ExactSigmoid(load_unet(folder.path)[0])
    n_lanes = _LANES if device == "cuda" else 1
    lanes = _Lanes(network, device=device, precision=precision, n_lanes=n_lanes)
    return TorchSegmenterSession(folder.path, lanes)


def explain_no_gpu() -> str:
    """Say why PyTorch finds no GPU; empty where it finds one."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU or no driver of one"


def has_bfloat16() -> bool:
    """Say whether the GPU computes in bfloat16 itself."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def prepare_device(device: Device) -> None:
    """Make results independent of cores and of what ran before, in the whole process.

    On a CPU, torch works on one thread a batch; on a GPU, with deterministic convolutions and
    without TF32.

    Raises
    ------
    ConfigError
        When there is no GPU that PyTorch can use.
    """
    if device == "cpu":
        torch.set_num_threads(1)
        return
    reason = explain_no_gpu()
    if reason:
        raise ConfigError(
            f"--device cuda: expected a GPU that PyTorch can use, but {reason}. Install the GPU's "
            "driver and a torch that is built for it, or take --device cpu. 'hpacells doctor' "
            "shows what this machine has."
        )
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


class _Lanes:
    """Threads that compute batches of one network, on a GPU each on a stream of its own.

    A single lane is the caller's own thread, so that callers do not wait for each other.
    """

    def __init__(
        self, network: nn.Module, *, device: Device, precision: Precision, n_lanes: int
    ) -> None:
        self._device = torch.device(device)
        self._reduced = precision == "bfloat16"
        network = network.eval().requires_grad_(requires_grad=False)
        with _memory_told("the network"):
            placed = network.to(self._device)
        # torch's stubs know of no memory format
        self._network = placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._on_gpu:
            torch.cuda.synchronize()  # lanes do not wait for the stream that copied the weights
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(n_lanes, "network") if n_lanes > 1 else None

    @property
    def _on_gpu(self) -> bool:
        return self._device.type == "cuda"

    def compute(self, batches: Sequence[_Arrays], size: int) -> list[_Arrays]:
        """Give the network's float32 answers to each batch, filled up to ``size`` rows."""
        run = self._pool.map if self._pool else map
        return list(run(lambda batch: self._compute(batch, size), batches))

    def _compute(self, batch: _Arrays, size: int) -> _Arrays:
        kind = self._device.type
        with (
            torch.inference_mode(),
            self._stream(),
            torch.autocast(kind, dtype=torch.bfloat16, enabled=self._reduced),
        ):
            answers = self._network(*(self._send(array, size) for array in batch))
            parts = (answers,) if isinstance(answers, Tensor) else answers
            return tuple(part.float().cpu().numpy() for part in parts)

    def _stream(self) -> AbstractContextManager[Any]:
        """Give this thread's stream; made here, for an initializer would keep the network alive."""
        if not self._on_gpu:
            return nullcontext()
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)
        stream: AbstractContextManager[Any] = torch.cuda.stream(self._own.stream)
        return stream

    def _send(self, array: npt.NDArray[Any], size: int) -> Tensor:
        """Copy rows to the device, zeros below them, without waiting where they are pinned."""
        dtype = torch.uint8 if array.dtype == np.uint8 else torch.float32
        staged = torch.zeros((size, *array.shape[1:]), dtype=dtype, pin_memory=self._on_gpu)
        staged.numpy()[: len(array)] = array
        return staged.to(self._device, non_blocking=True)


class _InFloat32(nn.Module):
    """A layer that is computed in float32 whatever stands around it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            answer: Tensor = self.layer(x.float())
            return answer


class _ExactSigmoid(nn.Module):
    """The segmenter's network with maps in float32: bfloat16 knows few values near 1."""

    def __init__(self, network: CellUnet) -> None:
        super().__init__()
        self.network = network

    def forward(self, stains: Tensor, present: Tensor) -> Tensor:
        stains = stains.contiguous(memory_format=torch.channels_last)
        return torch.sigmoid(self.network(stains, present).float())


def _load_network(model: ModelFolder) -> nn.Module:
    if model.spec.terms and model.weights_path is not None:  # SubCell as it was published
        return load_subcell(model.spec, model.weights_path)
    return fold_weight_standardisation(load_classifier(model.path)[0])


def _keep_linear_layers_exact(network: nn.Module) -> nn.Module:
    """Put linear layers that stand on the backbone in float32; the backbone stays as it is."""
    backbone = set(network.get_submodule("backbone").modules())
    for parent in [part for part in network.modules() if part not in backbone]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, _InFloat32(child))
    return network


@contextmanager
def _memory_told(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not _is_memory(error):
            raise
        raise _too_little_memory(what) from error


def _is_memory(error: RuntimeError) -> bool:
    """Say whether memory is what lacks: the libraries beneath torch tell it by message alone."""
    told = ("out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in told)


def _too_little_memory(what: str) -> WorkerError:
    return WorkerError(
        f"--device cuda: the GPU's memory does not hold {what}. End what else uses it "
        "('nvidia-smi' lists it) and run the same command, or take --device cpu and another output "
        "folder."
    )
