"""Published classifiers in their real layouts with random weights, and a server for them."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import yaml

from hpacells.runtime.published_models import PublishedModel

SUBCELL_ENTRY = {
    "name": "small-subcell",
    "task": "classifier",
    "format": "subcell",
    "family": "small",
    "title": "SubCell of one layer",
    "good_for": "tests",
    "stains": ["red", "yellow", "blue", "green"],
    "pixel_size_um": 0.8,
    "classes": "31 terms",
    "size_mb": 30,
    "licence": "MIT",
    "citation": "nobody",
    "options": {"depth": 1, "crop_px": 64},
}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(tmp_path):
    """A folder, and the address that a local server gives its files at."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """Makes entries the user's own list, in a cache of their own."""
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPACELLS_MODELS", str(tmp_path / "models.yaml"))

    def write(*entries):
        (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": list(entries)}))
        return [PublishedModel.model_validate(entry) for entry in entries]

    return write


LAYER = {
    "attention.attention.query": (768, 768),
    "attention.attention.key": (768, 768),
    "attention.attention.value": (768, 768),
    "attention.output.dense": (768, 768),
    "intermediate.dense": (3072, 768),
    "output.dense": (768, 3072),
    "layernorm_before": (768,),
    "layernorm_after": (768,),
}


def layout(*, n_stains, depth):
    """Names and shapes of a published encoder file, and of a classifier's."""
    linear = {"encoder.embeddings.patch_embeddings.projection": (768, n_stains, 16, 16)}
    for i in range(depth):
        linear |= {f"encoder.encoder.layer.{i}.{part}": shape for part, shape in LAYER.items()}
    linear |= {"encoder.layernorm": (768,), "pool_model.attention": (2, 512)}
    linear |= {f"pool_model.attention_{gate}.1": (512, 768) for gate in "uv"}
    shapes = {
        "encoder.embeddings.cls_token": (1, 1, 768),
        "encoder.embeddings.position_embeddings": (1, 785, 768),
    }
    head = {"0": (512, 1536), "3": (256, 512), "6": (31, 256)}
    both = [{}, {}]
    for found, parts in zip(both, (linear, head), strict=True):
        for name, shape in parts.items():
            found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes | both[0], both[1]


@pytest.fixture
def publish_subcell(serve, own_models):
    """Serves SubCell's files with random weights; gives the entry, and name → state."""
    folder, address = serve

    def make(*, n_stains=4, depth=1, n_heads=2, **fields):
        shapes = layout(n_stains=n_stains, depth=depth)
        states = {"encoder.pth": random_state(shapes[0], 1)}
        for i in range(n_heads):
            states[f"classifier_seed_{i}.pth"] = random_state(shapes[1], 10 + i)
        for name, state in states.items():
            torch.save(state, folder / name)
        files = [{"url": f"{address}/encoder.pth"}]
        files.append({"url": f"{address}/classifier_seed_[0-{n_heads - 1}].pth"})
        (entry,) = own_models({**SUBCELL_ENTRY, "files": files, **fields})
        return entry, states

    return make


def random_state(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        shift = "layernorm" in name and name.endswith("weight")
        state[name] = 0.05 * torch.randn(shape, generator=generator) + float(shift)
    return state
