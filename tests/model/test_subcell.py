import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hpacells.core.errors import ModelError
from hpacells.model.backbone import build_backbone
from hpacells.model.export import write_graph
from hpacells.model.subcell import (
    SUBCELL_LOCATIONS,
    SUBCELL_STAINS,
    SubcellEncoder,
    load_subcell_classifier,
)
from hpacells.model.subcell_classifier import TermHeads
from hpacells.model.subcell_graph import fuse_layers
from hpacells.runtime.graph import open_graph

PARTS = {
    "attention.attention.query": (768, 768),
    "attention.attention.key": (768, 768),
    "attention.attention.value": (768, 768),
    "attention.output.dense": (768, 768),
    "intermediate.dense": (3072, 768),
    "output.dense": (768, 3072),
    "layernorm_before": (768,),
    "layernorm_after": (768,),
}


def encoder_shapes(n_stains=4, depth=12):
    """Names and shapes of a published encoder file."""
    linear = {"encoder.embeddings.patch_embeddings.projection": (768, n_stains, 16, 16)}
    for i in range(depth):
        linear |= {f"encoder.encoder.layer.{i}.{part}": shape for part, shape in PARTS.items()}
    linear["encoder.layernorm"] = (768,)
    linear |= {"pool_model.attention_v.1": (512, 768), "pool_model.attention_u.1": (512, 768)}
    linear["pool_model.attention"] = (2, 512)
    shapes = {
        "encoder.embeddings.cls_token": (1, 1, 768),
        "encoder.embeddings.position_embeddings": (1, 785, 768),
    }
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def classifier_shapes():
    shapes = {}
    for index, shape in ((0, (512, 1536)), (3, (256, 512)), (6, (31, 256))):
        shapes |= {f"{index}.weight": shape, f"{index}.bias": shape[:1]}
    return shapes


def test_tensor(name, shape):
    """The test vector's rule for a tensor."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    values = rng.standard_normal(shape).astype(np.float32) * np.float32(0.05)
    shift = "layernorm" in name and name.endswith("weight")
    return torch.from_numpy(values + np.float32(shift))


test_tensor.__test__ = False


def write_encoder(path, **shape):
    generator = torch.Generator().manual_seed(1)
    state = {
        name: 0.05 * torch.randn(size, generator=generator)
        for name, size in encoder_shapes(**shape).items()
    }
    save_file(state, path)
    return state


@pytest.mark.slow
@torch.no_grad()
def test_the_published_networks_test_vector_in_torch_and_onnx(tmp_path):
    state = {name: test_tensor(name, shape) for name, shape in encoder_shapes().items()}
    torch.save(state, tmp_path / "encoder.pth")
    classes = {n: test_tensor(f"classifier.{n}", s) for n, s in classifier_shapes().items()}
    torch.save(classes, tmp_path / "classifier.pth")
    pixels = np.random.RandomState(7).rand(1, 4, 448, 448).astype(np.float32)

    encoder = build_backbone("subcell", crop_px=448, weights=tmp_path / "encoder.pth").eval()
    embedding = encoder(torch.from_numpy(pixels))
    assert embedding.shape == (1, 1536)
    begin = [1.254873, 0.805502, -0.375317, 0.723640, -0.044284, 0.184813]
    torch.testing.assert_close(embedding[0, :6], torch.tensor(begin), atol=1e-4, rtol=0)
    assert embedding.norm().item() == pytest.approx(38.818707, abs=1e-3)
    assert embedding.sum().item() == pytest.approx(-5.420024, abs=2e-3)

    heads = TermHeads([load_subcell_classifier(tmp_path / "classifier.pth")])
    probabilities = heads(embedding)[0]
    first = [0.346204, 0.659418, 0.459056, 0.565973, 0.612867, 0.230901]
    torch.testing.assert_close(probabilities[:6], torch.tensor(first), atol=1e-4, rtol=0)
    last = [0.292988, 0.648636, 0.431043]
    torch.testing.assert_close(probabilities[-3:], torch.tensor(last), atol=1e-4, rtol=0)

    whole = nn.Sequential(encoder, heads)
    example = (torch.zeros(2, 4, 448, 448),)
    for network, name in ((encoder, "embedding"), (whole, "terms")):
        graph = tmp_path / f"{name}.onnx"
        write_graph(fuse_layers(network), example, graph, inputs=["stains"], outputs=[name])
        found = open_graph(graph, input_sizes="equal").run([name], {"stains": pixels})[0][0]
        expected = begin if name == "embedding" else first
        np.testing.assert_allclose(found[:6], expected, atol=1e-3)
    np.testing.assert_allclose(found[-3:], last, atol=1e-3)


def reference_layer(x, state):
    """The first layer written out: normalise, attend with 12 heads, normalise, two-layer MLP."""

    def linear(x, part):
        name = f"encoder.encoder.layer.0.{part}"
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def normalise(x, name):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-12)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    normed = normalise(x, "encoder.encoder.layer.0.layernorm_before")
    q, k, v = (linear(normed, f"attention.attention.{p}") for p in ("query", "key", "value"))
    q, k, v = (part.unflatten(-1, (12, 64)).transpose(0, 1) for part in (q, k, v))
    mixed = (q @ k.transpose(1, 2) / 8).softmax(-1) @ v
    x = x + linear(mixed.transpose(0, 1).flatten(1), "attention.output.dense")
    normed = normalise(x, "encoder.encoder.layer.0.layernorm_after")
    hidden = linear(normed, "intermediate.dense")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return normalise(x + linear(hidden, "output.dense"), "encoder.layernorm")


@torch.no_grad()
def test_one_layer_and_the_pooling_written_out(tmp_path):
    state = write_encoder(tmp_path / "w.safetensors", depth=1)
    encoder = SubcellEncoder(4, crop_px=448, depth=1).eval()
    encoder.load(tmp_path / "w.safetensors")
    pixels = torch.rand(1, 4, 448, 448, generator=torch.Generator().manual_seed(2))
    patches = pixels[0].unfold(1, 16, 16).unfold(2, 16, 16)  # (4, 28, 28, 16, 16)
    projection = "encoder.embeddings.patch_embeddings.projection"
    kernel = state[f"{projection}.weight"].flatten(1)
    tokens = patches.permute(1, 2, 0, 3, 4).reshape(784, -1) @ kernel.T
    tokens = tokens + state[f"{projection}.bias"]
    tokens = torch.cat([state["encoder.embeddings.cls_token"][0], tokens])
    tokens = reference_layer(tokens + state["encoder.embeddings.position_embeddings"][0], state)

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    gelu = linear(tokens, "pool_model.attention_u.1")
    gelu = gelu * 0.5 * (1 + torch.erf(gelu / 2**0.5))
    gate = torch.tanh(linear(tokens, "pool_model.attention_v.1")) * gelu
    share = linear(gate, "pool_model.attention").softmax(0)  # (785, 2)
    expected = (share.T @ tokens).flatten()
    torch.testing.assert_close(encoder(pixels)[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SUBCELL_STAINS)
def test_variants_with_fewer_stains_and_crops_of_another_size(tmp_path, name):
    n_stains = len(SUBCELL_STAINS[name])
    state = write_encoder(tmp_path / "w.safetensors", n_stains=n_stains, depth=1)
    small = build_backbone(name, crop_px=112, depth=1, weights=tmp_path / "w.safetensors")
    with torch.no_grad():
        assert small(torch.zeros(2, n_stains, 112, 112)).shape == (2, 1536)
    # 28 by 28 learned places to 7 by 7, as the published code does it
    learned = state["encoder.embeddings.position_embeddings"]
    grid = learned[:, 1:].unflatten(1, (28, 28)).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (7, 7), mode="bicubic", align_corners=False)
    got = small.vit.pos_embed
    torch.testing.assert_close(got[:, 1:], grid.flatten(2).transpose(1, 2))
    torch.testing.assert_close(got[:, :1], learned[:, :1])


def test_another_variants_file_and_an_incomplete_one_are_refused(tmp_path):
    state = write_encoder(tmp_path / "w.safetensors", n_stains=3, depth=1)
    with pytest.raises(ModelError, match=r"another architecture.*patch_embed\.proj\.weight"):
        build_backbone("subcell", crop_px=448, depth=1, weights=tmp_path / "w.safetensors")
    del state["encoder.encoder.layer.0.attention.attention.key.weight"]
    save_file(state, tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match=r"another architecture.*qkv\.weight"):
        build_backbone(
            "subcell_mt_dna_protein", crop_px=448, depth=1, weights=tmp_path / "half.safetensors"
        )


def test_a_classifier_file_is_told_from_an_encoders(tmp_path):
    write_encoder(tmp_path / "w.safetensors", depth=1)
    with pytest.raises(ModelError, match="another architecture"):
        load_subcell_classifier(tmp_path / "w.safetensors")
    save_file(
        {n: torch.zeros(s) for n, s in classifier_shapes().items()}, tmp_path / "c.safetensors"
    )
    classifier = load_subcell_classifier(tmp_path / "c.safetensors")
    assert not classifier.training
    assert classifier(torch.zeros(2, 1536)).shape == (2, len(SUBCELL_LOCATIONS))
    assert len(set(SUBCELL_LOCATIONS)) == 31
