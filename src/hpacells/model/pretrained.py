"""Weights from a local file: read without running anything in it, checked before they are used.

A file is safetensors or a PyTorch file read with weights only; whether the tensors belong to the
network is decided by loading them strictly. Nothing is fetched.
"""

import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hpacells.core.errors import ModelError
from hpacells.model.timm_parts import load_state_dict

__all__ = ["HEAD_NAMES", "drop_heads", "load_strictly", "mismatch", "read_weights"]

HEAD_NAMES = ("classifier", "fc", "head", "head.fc", "head_dist", "last_linear")
"""Names under which published files hold the layer of their own classes."""

_SHOWN = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` or PyTorch file.

    Parameters
    ----------
    path
        The file. Of a training's checkpoint, the averaged weights are taken where there are some.

    Returns
    -------
    dict
        Name → tensor, on the CPU.

    Raises
    ------
    ModelError
        When the file is missing or damaged, holds anything but tensors, or a value that is not
        finite.
    """
    if not path.is_file():
        raise ModelError(f"weights: expected a file at {path}, there is none. Correct 'weights'.")
    try:
        state = load_state_dict(str(path), weights_only=True)
    except (UnpicklingError, SafetensorError, RuntimeError, EOFError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected safetensors, or a PyTorch file with nothing but tensors, got "
            f"something else ({_first_line(error)}). Convert it to safetensors."
        ) from error
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        raise ModelError(
            f"{path}: expected tensors by name, got {_some(strange) or 'none'}. "
            "Save the network's state_dict by itself."
        )
    broken = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ModelError(
            f"{path}: expected finite numbers, got NaN or infinity in {_some(broken)}. "
            "Fetch the file again."
        )
    return state


def drop_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the last layer, which knows the classes of another data set."""
    heads = {f"{name}.{part}" for name in HEAD_NAMES for part in ("weight", "bias")}
    return {name: value for name, value in state.items() if name not in heads}


def load_strictly(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load weights of exactly this network.

    Raises
    ------
    ModelError
        When a tensor is missing, unknown or of another shape.
    """
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise mismatch(path, type(module).__name__, error) from error


def mismatch(path: Path, name: str, error: Exception) -> ModelError:
    """Say in a few lines what torch says of weights that do not fit, a name or three of each."""
    lines = [line.strip() for line in str(error).splitlines()[1:]] or [_first_line(error)]
    listed = [line for line in lines if not line.startswith("size mismatch")]
    shapes = [line for line in lines if line.startswith("size mismatch")]
    told = [_shorten(line) for line in listed] + shapes[:_SHOWN]
    return ModelError(
        f"{path}: a checkpoint of another architecture: it does not fit {name}. "
        f"{' '.join(told)} Take the file of this backbone, or name its backbone and encoder_input."
    )


def _shorten(line: str) -> str:
    names = re.findall(r'"([^"]+)"', line)
    return f"{line.partition(':')[0]}: {_some(names)}." if names else line


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
