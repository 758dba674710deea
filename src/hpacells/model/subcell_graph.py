"""SubCell's encoder as ONNX Runtime computes it fastest on a CPU; the numbers stay the same.

Three things are put otherwise in the graph, and in nothing else:

- attention is one operator of ONNX Runtime, which never holds the weights of all tokens by all
  tokens;
- tokens of all cells are rows of one matrix, so that a bias is part of its product;
- the hidden layer has 16 more units, all zero: rows of 3,072 float32 are a multiple of 4 KiB
  apart, which lie on top of each other in the processor's first cache.

What they bring: ``bench/published_models.py``, docs/models.md. Only ONNX Runtime runs the graph.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from hpacells.model.subcell import SubcellEncoder

__all__ = ["fuse_layers"]

_MORE_UNITS = 16  # a cache line of float32


def fuse_layers(network: nn.Module) -> nn.Module:
    """Put the layers of SubCell's encoder in the form of the graph.

    Parameters
    ----------
    network
        Holds such an encoder, or none; it is left as it is.

    Returns
    -------
    Module
        A copy in evaluation mode. It can be exported only: run in torch, its attention computes
        nothing.
    """
    fused = copy.deepcopy(network).eval()
    for part in fused.modules():
        if isinstance(part, SubcellEncoder):
            part.vit.blocks = nn.Sequential(*map(_GraphLayer, part.vit.blocks))
    return fused


class _GraphLayer(nn.Module):
    """A layer of a ViT, without dropout: attention, then the two-layer perceptron."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.heads = block.attn.num_heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.qkv = nn.ModuleList(_linear(*part) for part in _thirds(block.attn.qkv))
        self.proj = block.attn.proj
        up, down = block.mlp.fc1, block.mlp.fc2
        pad = nn.functional.pad
        self.up = _linear(pad(up.weight, (0, 0, 0, _MORE_UNITS)), pad(up.bias, (0, _MORE_UNITS)))
        self.down = _linear(pad(down.weight, (0, _MORE_UNITS)), down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(N, T, W)`` of ``(N, T, W)``."""
        rows = x.flatten(0, 1)  # (N * T, W)
        normed = self.norm1(rows)
        mixed = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            [part(normed).view(x.shape) for part in self.qkv],
            {"num_heads": self.heads},
            dtype=x.dtype,
            shape=x.shape,
            version=1,
        )
        rows = rows + self.proj(mixed.flatten(0, 1))
        rows = rows + self.down(nn.functional.gelu(self.up(self.norm2(rows))))
        return rows.view(x.shape)


def _thirds(qkv: nn.Linear) -> list[tuple[Tensor, Tensor]]:
    return list(zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight = nn.Parameter(weight.detach())
    made.bias = nn.Parameter(bias.detach())
    return made
