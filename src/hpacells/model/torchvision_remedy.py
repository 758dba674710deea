"""Make ``import timm`` work where torchvision's compiled part cannot load.

A torchvision built for CUDA does not load its extension beside a CPU build of torch; then
``import torchvision`` (and with it timm) fails because two operators that it decorates at import
are unknown. Declaring their schemas is enough: nothing here calls them. Everything in hpacells
that imports timm calls ``ensure_torchvision_imports`` first. Nothing is declared where the
extension loads, nor beside a CUDA build of torch, where a failure is a real one.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

__all__ = ["declare_missing_operators", "ensure_torchvision_imports", "extension_loads"]

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
_declared: list[torch.library.Library] = []


def ensure_torchvision_imports() -> bool:
    """Declare torchvision's missing operators when its extension really cannot load.

    Returns
    -------
    bool
        Whether the remedy is in place (now, or from an earlier call).
    """
    if _declared:
        return True
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or torch.version.cuda is not None:
        return False
    if extension_loads(sorted(Path(spec.origin).parent.glob("_C.*"))):
        return False
    declare_missing_operators()
    return True


def extension_loads(candidates: Sequence[Path]) -> bool:
    """Try to load a compiled extension, and say whether one of the files did."""
    for path in candidates:
        try:
            torch.ops.load_library(str(path))
        except OSError:
            continue
        return True
    return False


def declare_missing_operators() -> None:
    """Declare the schemas that torchvision's import looks up, and keep them alive."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}{_SCHEMA}")
    _declared.append(library)
