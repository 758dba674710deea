"""The parts of timm and torchvision that hpacells uses; nothing else imports them.

``import timm`` imports torchvision, which needs the remedy first (``torchvision_remedy``).
"""

from hpacells.model.torchvision_remedy import ensure_torchvision_imports

ensure_torchvision_imports()

from timm import create_model, is_model  # noqa: E402  needs the remedy above
from timm.layers import (  # noqa: E402
    ScaledStdConv2d,
    ScaledStdConv2dSame,
    resample_abs_pos_embed,
)
from timm.loss import AsymmetricLossMultiLabel  # noqa: E402
from timm.models import VisionTransformer, get_pretrained_cfg, load_state_dict  # noqa: E402
from timm.models.nfnet import NfCfg, NormFreeNet  # noqa: E402
from timm.optim import Muon  # noqa: E402
from timm.utils import ModelEmaV3  # noqa: E402
from timm.utils.agc import adaptive_clip_grad  # noqa: E402
from torchvision.ops import sigmoid_focal_loss  # noqa: E402

__all__ = [
    "AsymmetricLossMultiLabel",
    "ModelEmaV3",
    "Muon",
    "NfCfg",
    "NormFreeNet",
    "ScaledStdConv2d",
    "ScaledStdConv2dSame",
    "VisionTransformer",
    "adaptive_clip_grad",
    "create_model",
    "get_pretrained_cfg",
    "is_model",
    "load_state_dict",
    "resample_abs_pos_embed",
    "sigmoid_focal_loss",
]
