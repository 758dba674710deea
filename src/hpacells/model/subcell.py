"""SubCell's published encoders and classifiers: a ViT-B/16 with gated attention over its tokens.

Weights are those of the published files (MIT), read from a local one; their tensors are renamed to
timm's ViT, which computes the same. What the encoder must be given (order of stains, scale) is in
``model.encoder_input``.

References
----------
https://github.com/czi-ai/sub-cell-embed
"""

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpacells.core.channels import Channel
from hpacells.model.pretrained import load_strictly, read_weights
from hpacells.model.timm_parts import VisionTransformer, resample_abs_pos_embed

__all__ = [
    "SUBCELL_LOCATIONS",
    "SUBCELL_STAINS",
    "SubcellEncoder",
    "build_subcell_classifier",
    "load_subcell_classifier",
]

_MT, _ER, _DNA, _PROTEIN = Channel.MICROTUBULES, Channel.ER, Channel.NUCLEUS, Channel.PROTEIN

SUBCELL_STAINS: dict[str, tuple[Channel, ...]] = {
    "subcell": (_MT, _ER, _DNA, _PROTEIN),
    "subcell_mt_dna_protein": (_MT, _DNA, _PROTEIN),
    "subcell_er_dna_protein": (_ER, _DNA, _PROTEIN),
    "subcell_dna_protein": (_DNA, _PROTEIN),
}
"""Stains of each published encoder in its own order, by the name of the backbone."""

SUBCELL_LOCATIONS = (
    "Actin filaments",
    "Aggresome",
    "Cell Junctions",
    "Centriolar satellite",
    "Centrosome",
    "Cytokinetic bridge",
    "Cytoplasmic bodies",
    "Cytosol",
    "Endoplasmic reticulum",
    "Endosomes",
    "Focal adhesion sites",
    "Golgi apparatus",
    "Intermediate filaments",
    "Lipid droplets",
    "Lysosomes",
    "Microtubules",
    "Midbody",
    "Mitochondria",
    "Mitotic chromosome",
    "Mitotic spindle",
    "Nuclear bodies",
    "Nuclear membrane",
    "Nuclear speckles",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nucleoli rim",
    "Nucleoplasm",
    "Peroxisomes",
    "Plasma membrane",
    "Vesicles",
    "Negative",
)
"""Atlas terms in the order of the published classifier's outputs."""

_PREFIX = "backbone."  # in a model folder
_WIDTH, _DEPTH, _GATE, _POOL_HEADS = 768, 12, 512, 2
_PARTS = {
    "encoder.embeddings.cls_token": "vit.cls_token",
    "encoder.embeddings.position_embeddings": "vit.pos_embed",
    "encoder.embeddings.patch_embeddings.projection": "vit.patch_embed.proj",
    "encoder.layernorm": "vit.norm",
    "pool_model.attention_v.1": "pool.v",
    "pool_model.attention_u.1": "pool.u",
    "pool_model.attention": "pool.weigh",
}
_LAYER_PARTS = {
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
}


class SubcellEncoder(nn.Module):
    """Cells to 1536 features.

    Parameters
    ----------
    n_stains
        Stains that it takes.
    crop_px
        Side of the crops, a multiple of 16; 448 in training.
    drop_path
        Probability that the last residual branch is dropped in training; earlier ones less.
    depth
        Layers; the published ones have 12.
    """

    def __init__(
        self, n_stains: int, *, crop_px: int = 448, drop_path: float = 0.0, depth: int = _DEPTH
    ) -> None:
        super().__init__()
        self.vit: Any = VisionTransformer(
            img_size=crop_px,
            patch_size=16,
            in_chans=n_stains,
            num_classes=0,
            global_pool="",
            embed_dim=_WIDTH,
            depth=depth,
            num_heads=12,
            norm_layer=partial(nn.LayerNorm, eps=1e-12),
            drop_path_rate=drop_path,
        )
        self.pool = _GatedPooling()

    def forward(self, stains: Tensor) -> Tensor:
        """Compute ``(N, 1536)`` features of ``(N, n_stains, S, S)`` float32."""
        return self.pool(self.vit.forward_features(stains))  # all tokens, the class token too

    def load(self, path: Path) -> None:
        """Load a published encoder file, or the one in a model folder made of it.

        Positions are interpolated to the crop's size.

        Raises
        ------
        ModelError
            When the file cannot be read or is not that of this encoder.
        """
        state = read_weights(path)
        inner = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
        state = inner or _renamed(state)
        positions = state.get("vit.pos_embed")
        if positions is not None and positions.ndim == 3:
            grid = list(self.vit.patch_embed.grid_size)
            state["vit.pos_embed"] = resample_abs_pos_embed(positions, grid, antialias=False)
        load_strictly(self, state, path)


class _GatedPooling(nn.Module):
    """Two weighted sums of the tokens: weights softmax of W(tanh(V x) · gelu(U x))."""

    def __init__(self) -> None:
        super().__init__()
        self.v = nn.Linear(_WIDTH, _GATE)
        self.u = nn.Linear(_WIDTH, _GATE)
        self.weigh = nn.Linear(_GATE, _POOL_HEADS)

    def forward(self, tokens: Tensor) -> Tensor:
        gate = torch.tanh(self.v(tokens)) * nn.functional.gelu(self.u(tokens))  # (N, T, 512)
        weights = self.weigh(gate).transpose(1, 2).softmax(dim=-1)  # (N, 2, T)
        return (weights @ tokens).flatten(1)  # (N, 1536)


def load_subcell_classifier(path: Path) -> nn.Sequential:
    """Load a published classifier file.

    Returns
    -------
    Sequential
        ``(N, 1536)`` features → ``(N, 31)`` logits in the order of ``SUBCELL_LOCATIONS``, in
        evaluation mode. Probabilities are their sigmoid, averaged over the published seeds.

    Raises
    ------
    ModelError
        When the file cannot be read or is not such a classifier.
    """
    classifier = build_subcell_classifier()
    load_strictly(classifier, read_weights(path), path)
    return classifier.eval()


def build_subcell_classifier() -> nn.Sequential:
    """Build such a classifier with random weights, in training mode."""
    sizes = (_POOL_HEADS * _WIDTH, 512, 256, len(SUBCELL_LOCATIONS))
    first, second, last = (nn.Linear(*pair) for pair in pairwise(sizes))
    between = (nn.ReLU(), nn.Dropout())
    return nn.Sequential(first, *between, second, *between, last)


def _renamed(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give timm's names to a file's tensors; query, key and value become one. Others stay."""
    state: dict[str, Tensor] = {}
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in published.items():
        if name in _PARTS:
            state[_PARTS[name]] = tensor
            continue
        stem, _, kind = name.rpartition(".")
        prefix, _, rest = stem.partition("encoder.encoder.layer.")
        index, _, part = rest.partition(".")
        if stem in _PARTS:
            state[f"{_PARTS[stem]}.{kind}"] = tensor
        elif not prefix and part in _LAYER_PARTS:
            state[f"vit.blocks.{index}.{_LAYER_PARTS[part]}.{kind}"] = tensor
        elif not prefix and part.startswith("attention.attention."):
            key = f"vit.blocks.{index}.attn.qkv.{kind}"
            layers.setdefault(key, {})[part.rpartition(".")[2]] = tensor
        else:
            state[name] = tensor
    for key, parts in layers.items():
        order = [parts[word] for word in ("query", "key", "value") if word in parts]
        state[key] = torch.cat(order)
    return state
