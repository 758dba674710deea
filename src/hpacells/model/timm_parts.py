"""The parts of timm that hpacells uses; nothing else imports timm.

``import timm`` imports torchvision, which needs the remedy first (``torchvision_remedy``).
"""

from hpacells.model.torchvision_remedy import ensure_torchvision_imports

ensure_torchvision_imports()

from timm import create_model, is_model  # noqa: E402  needs the remedy above
from timm.layers import ScaledStdConv2d, ScaledStdConv2dSame  # noqa: E402
from timm.models.nfnet import NfCfg, NormFreeNet  # noqa: E402
from timm.utils import ModelEmaV3  # noqa: E402
from timm.utils.agc import adaptive_clip_grad  # noqa: E402

__all__ = [
    "ModelEmaV3",
    "NfCfg",
    "NormFreeNet",
    "ScaledStdConv2d",
    "ScaledStdConv2dSame",
    "adaptive_clip_grad",
    "create_model",
    "is_model",
]
