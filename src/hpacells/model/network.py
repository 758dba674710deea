"""The cell classifier: one masked crop to one logit per location, and an embedding.

Everything between stored grey values and logits happens here, so that training, export and every
runtime compute the same thing: scale and mask (``model.encoder_input``; the square root where
stains of 1 % and of 100 % of full scale stand together in one field), the backbone, the head.
"""

from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from hpacells.core.errors import ConfigError
from hpacells.core.locations import N_LOCATIONS
from hpacells.model.backbone import OWN_BACKBONES, build_backbone, feature_size
from hpacells.model.encoder_input import (
    NORMALISATION,
    EncoderInput,
    count_planes,
    default_input,
    make_input,
)
from hpacells.model.subcell import SUBCELL_STAINS

__all__ = ["NORMALISATION", "CellClassifier", "FeatureClassifier", "Views", "encoder_input_of"]

Views = Literal[1, 2, 4, 8]


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
    encoder_input
        What the backbone is given, see ``model.encoder_input``; None: ``stains``, that of models
        which don't say.
    dropout
        Probability in [0, 1), in training only, of dropping a feature.
    views
        How many ways of turning and mirroring a cell its embedding is averaged over, in use only
        (not in training mode, and not of planes prepared before): 1, 2, 4 or 8.
    **backbone_kwargs
        Passed on to the backbone, ``weights`` and ``drop_path`` among them.

    Raises
    ------
    ConfigError
        When ``views`` is another number; else as ``model.backbone.build_backbone``.
    """

    def __init__(
        self,
        backbone: str,
        *,
        crop_px: int,
        embedding_size: int = 128,
        outside: Literal["keep", "zero"] = "zero",
        encoder_input: EncoderInput | None = None,
        dropout: float = 0.0,
        views: Views = 1,
        **backbone_kwargs: Any,
    ) -> None:
        super().__init__()
        if views not in get_args(Views):
            raise ConfigError(f"views: expected 1, 2, 4 or 8, got {views}")
        self.outside = outside
        self.views = views
        self.crop_px = crop_px
        self.frozen = False
        self.embedding_size = embedding_size
        kind = encoder_input or ("cell_min_max" if backbone in SUBCELL_STAINS else "stains")
        planes = count_planes(kind, backbone)
        self.backbone = build_backbone(
            backbone, crop_px=crop_px, n_planes=planes, **backbone_kwargs
        )
        self.input = make_input(kind, backbone, self.backbone)
        size = feature_size(self.backbone, crop_px, n_planes=planes)
        self.embed, self.drop, self.head = _make_head(size, embedding_size, dropout)

    def forward(self, crops: Tensor, cell_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Classify cells.

        Parameters
        ----------
        crops
            ``(N, C, S, S)``, 0-255, uint8 or float32; without ``cell_mask``, what ``prepare`` made.
        cell_mask
            ``(N, S, S)``, 0 or 1, any dtype; None: ``crops`` are prepared already.

        Returns
        -------
        logits
            ``(N, K)`` float32.
        embedding
            ``(N, D)`` float32.
        """
        planes = crops if cell_mask is None else self.prepare(crops, cell_mask)
        views = 1 if self.training or cell_mask is None else self.views
        features = self.backbone(_turn(planes, views))  # (views * N, F)
        embedding = nn.functional.relu(self.embed(features))
        if views > 1:
            embedding = embedding.reshape(views, -1, self.embedding_size).mean(dim=0)  # (N, D)
        return self.head(self.drop(embedding)), embedding

    def prepare(self, crops: Tensor, cell_mask: Tensor) -> Tensor:
        """Turn grey values into the backbone's input ``(N, C, S, S)`` float32, channels last.

        Crops that lie channel after channel in memory are prepared fastest.
        """
        planes: Tensor = self.input(crops, None if self.outside == "keep" else cell_mask)
        return planes.contiguous(memory_format=torch.channels_last)

    def freeze_backbone(self) -> None:
        """Train only what stands on the backbone: it gets no gradient and stays as in use."""
        self.frozen = True
        self.backbone.requires_grad_(requires_grad=False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  torch's own signature
        """Switch dropout and batch statistics on or off; a frozen backbone's stay off."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def _turn(planes: Tensor, views: int) -> Tensor:
    """Give ``planes`` ``(N, C, S, S)`` in so many of its eight forms, one after the other.

    Each set of forms is a group: turned by one of them, the planes give the same set.
    """
    if views == 1:
        return planes
    turned_by = {2: (0,), 4: (0, 2), 8: (0, 1, 2, 3)}[views]
    quarters = [planes.rot90(turns, (2, 3)) for turns in turned_by]
    forms = [form for turned in quarters for form in (turned, turned.flip(3))]
    return torch.cat(forms).contiguous(memory_format=torch.channels_last)


class FeatureClassifier(nn.Module):
    """What stands on a backbone, by itself: features to logits and embeddings.

    Its weights have the names that they have in ``CellClassifier``.

    Parameters
    ----------
    n_features
        ``F``, of the backbone.
    embedding_size
        Length ``D`` of the embedding.
    dropout
        Probability of dropping an entry of the embedding, in training only.
    """

    def __init__(self, n_features: int, embedding_size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed, self.drop, self.head = _make_head(n_features, embedding_size, dropout)

    def forward(self, features: Tensor, cell_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute logits ``(N, K)`` and embedding ``(N, D)`` of ``(N, F)``; masks say nothing."""
        del cell_mask
        embedding = nn.functional.relu(self.embed(features))
        return self.head(self.drop(embedding)), embedding

    def prepare(self, features: Tensor, cell_mask: Tensor) -> Tensor:
        """Give the features as they are."""
        del cell_mask
        return features


def _make_head(
    n_features: int, embedding_size: int, dropout: float
) -> tuple[nn.Linear, nn.Dropout, nn.Linear]:
    """Make the layer that embeds, dropout, and the layer that answers."""
    embed = nn.Linear(n_features, embedding_size)
    head = nn.Linear(embedding_size, N_LOCATIONS)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(head.bias, -2.0)  # most classes are absent from most cells
    return embed, nn.Dropout(dropout), head


def encoder_input_of(backbone: str, *, pretrained: bool = False) -> EncoderInput:
    """Give what a backbone is given, by its name and whether it starts from a file's weights."""
    return default_input(backbone, pretrained=pretrained, own=backbone in OWN_BACKBONES)
