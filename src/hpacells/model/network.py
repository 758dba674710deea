"""The cell classifier: one masked crop to one logit per location, and an embedding.

Everything between stored grey values and logits happens here, so that training, export and every
runtime compute the same thing: 8-bit scale, square root (stains of 1 % and of 100 % of full scale
stand together in one field), the mask, the backbone.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from hpacells.core.locations import N_LOCATIONS
from hpacells.model.backbone import build_backbone, feature_size

__all__ = ["NORMALISATION", "CellClassifier"]

_GAIN = 4.0

NORMALISATION = "4 * sqrt(grey / 255); outside the cell 0 where outside is 'zero'"
"""What ``CellClassifier.prepare`` does, in words, for ``model.json``."""


class CellClassifier(nn.Module):
    """Masked crops to logits and embeddings.

    Parameters
    ----------
    backbone
        Name, see ``model.backbone``.
    crop_px
        Side ``S`` of the crops.
    embedding_size
        Length ``D`` of the embedding.
    outside
        ``zero``: pixels outside the cell are set to 0; ``keep``: they stay.
    drop_path, dropout
        Probabilities in [0, 1), in training only: of dropping a residual branch, a feature.
    **backbone_kwargs
        Passed on to the backbone.
    """

    def __init__(
        self,
        backbone: str,
        *,
        crop_px: int,
        embedding_size: int = 128,
        outside: Literal["keep", "zero"] = "zero",
        drop_path: float = 0.0,
        dropout: float = 0.0,
        **backbone_kwargs: Any,
    ) -> None:
        super().__init__()
        self.outside = outside
        self.crop_px = crop_px
        self.embedding_size = embedding_size
        self.backbone = build_backbone(backbone, drop_path=drop_path, **backbone_kwargs)
        self.embed = nn.Linear(feature_size(self.backbone, crop_px), embedding_size)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(embedding_size, N_LOCATIONS)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, -2.0)  # most classes are absent from most cells

    def forward(self, crops: Tensor, cell_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Classify cells.

        Parameters
        ----------
        crops
            ``(N, C, S, S)``, 0-255, uint8 or float32.
        cell_mask
            ``(N, S, S)``, 0 or 1, any dtype.

        Returns
        -------
        logits
            ``(N, K)`` float32.
        embedding
            ``(N, D)`` float32.
        """
        features = self.backbone(self.prepare(crops, cell_mask))
        embedding = nn.functional.relu(self.embed(features))  # (N, D)
        return self.head(self.drop(embedding)), embedding

    def prepare(self, crops: Tensor, cell_mask: Tensor) -> Tensor:
        """Turn grey values into the backbone's input ``(N, C, S, S)`` float32, 0 to 4."""
        pixels = torch.sqrt(crops.float() / 255.0) * _GAIN
        if self.outside == "keep":
            return pixels
        return pixels * cell_mask.float().unsqueeze(1)
