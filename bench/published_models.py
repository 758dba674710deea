"""What published models cost: SubCell's network, a field around it, a head on its embeddings.

No published weights are needed: files in their layout with random numbers take as long.

1. ``layout``: cells/s of SubCell's layout at 448 px, ONNX Runtime as ``run`` uses it (as many
   cells side by side as threads) against torch eager on the published code's layout (separate
   query, key and value, attention written out), in turn with each other, so that other work on the
   machine falls on both. Beside it int8 (ONNX Runtime's dynamic quantisation) and bf16 (torch) with
   the cosine of their embeddings to those of float32. **With random weights that cosine says that
   the arithmetic works, not what it does to the published ones**: ``--files FOLDER`` takes those.
   The matrix products of the layers by themselves, by torch, say how fast float32 can be at all.
   ``OMP_NUM_THREADS`` is unset first: at 1 it slows torch's eager by a quarter, whatever torch is
   told, and the ratio flatters.
2. ``field``: a field of about 20 cells through a SubCell model folder, everything but the
   network's own calls: reading, outlines, crops, scores, terms, masks, previews, the part.
3. ``head``: one epoch of a head on 100,000 cached embeddings.

    python bench/published_models.py [--part layout|field|head] [--threads 2] [--repeats 5]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.pop("OMP_NUM_THREADS", None)  # before the libraries read it

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from hpacells.core.channels import Channel
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.storage import write_json
from hpacells.images.discover import discover_fields
from hpacells.images.read import read_field
from hpacells.model.subcell import SubcellEncoder
from hpacells.model.subcell_classifier import convert_subcell
from hpacells.predict.field import FieldTools, commit_field, predict_field, read_input
from hpacells.predict.run_folder import prepare_run_folder
from hpacells.runtime.model_folder import (
    GRAPH_FILE,
    Architecture,
    ModelFolder,
    ModelSpec,
    Training,
    load_model,
)
from hpacells.runtime.session import open_session
from hpacells.segment.registry import get_segmenter
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.loop import train_classifier

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
SIDE, N_HEADS, N_CELLS = 448, 10, 100_000
STAINS = (Channel.MICROTUBULES, Channel.ER, Channel.NUCLEUS, Channel.PROTEIN)
WIDTH, HEADS = 768, 12


class PublishedLayer(nn.Module):
    """A layer as the published code computes it: attention written out, three projections."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = (nn.LayerNorm(WIDTH, eps=1e-12) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then the two-layer perceptron, each on what was normalised."""
        normed = self.before(x)
        parts = [part(normed) for part in (self.query, self.key, self.value)]
        q, k, v = (p.view(*p.shape[:2], HEADS, -1).permute(0, 2, 1, 3) for p in parts)
        weights = (q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        mixed = (weights @ v).permute(0, 2, 1, 3).contiguous().view(x.shape)
        x = x + self.out(mixed)
        return x + self.down(nn.functional.gelu(self.up(self.after(x))))


class PublishedEncoder(nn.Module):
    """The published encoder's layout; its numbers are random."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(len(STAINS), WIDTH, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(torch.zeros(1, (SIDE // 16) ** 2 + 1, WIDTH))
        self.layers = nn.ModuleList(PublishedLayer() for _ in range(12))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.pool = SubcellEncoder(len(STAINS), depth=1).pool

    def forward(self, stains: Tensor) -> Tensor:
        """Compute ``(N, 1536)`` of ``(N, 4, 448, 448)``."""
        x = self.patches(stains).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        for layer in self.layers:
            x = layer(x)
        pooled: Tensor = self.pool(self.norm(x))
        return pooled


def make_folder(out: Path, files: Path | None) -> ModelFolder:
    """Make SubCell's model folder, of the given files or of random ones in their layout."""
    if files is None:
        files = out / "files"
        write_random_files(files)
    spec = ModelSpec(
        name="subcell",
        version="1",
        architecture=Architecture(backbone="subcell"),
        crop_px=SIDE,
        pixel_size_um=0.1144,
        normalisation="",
        embedding_size=2 * WIDTH,
        training=Training(data_hash="0", n_fields=0, seed=0),
        licence="MIT",
    )
    found = {path.name: path for path in sorted(files.glob("*.pth"))}
    convert_subcell(spec, STAINS, found, out / "model")
    return load_model(out / "model")


def write_random_files(folder: Path) -> None:
    """Write an encoder and classifiers under the published tensors' names."""
    folder.mkdir(parents=True)
    rng = torch.Generator().manual_seed(0)
    state = {
        "encoder.embeddings.cls_token": torch.zeros(1, 1, WIDTH),
        "encoder.embeddings.position_embeddings": torch.zeros(1, (SIDE // 16) ** 2 + 1, WIDTH),
    }
    linear = {
        "encoder.embeddings.patch_embeddings.projection": (WIDTH, len(STAINS), 16, 16),
        "encoder.layernorm": (WIDTH,),
        "pool_model.attention_v.1": (512, WIDTH),
        "pool_model.attention_u.1": (512, WIDTH),
        "pool_model.attention": (2, 512),
    }
    for i in range(12):
        layer = f"encoder.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear[f"{layer}.attention.attention.{part}"] = (WIDTH, WIDTH)
        linear[f"{layer}.attention.output.dense"] = (WIDTH, WIDTH)
        linear[f"{layer}.intermediate.dense"] = (4 * WIDTH, WIDTH)
        linear[f"{layer}.output.dense"] = (WIDTH, 4 * WIDTH)
        linear |= {f"{layer}.layernorm_{when}": (WIDTH,) for when in ("before", "after")}
    for name, shape in linear.items():
        normal = 0.05 * torch.randn(shape, generator=rng)
        state[f"{name}.weight"] = normal + float("layernorm" in name)
        state[f"{name}.bias"] = torch.zeros(shape[0])
    torch.save(state, folder / "encoder.pth")
    shapes = {"0": (512, 2 * WIDTH), "3": (256, 512), "6": (31, 256)}
    for seed in range(N_HEADS):
        head = {f"{k}.weight": 0.05 * torch.randn(s, generator=rng) for k, s in shapes.items()}
        head |= {f"{k}.bias": torch.zeros(s[0]) for k, s in shapes.items()}
        torch.save(head, folder / f"classifier_seed_{seed}.pth")


def draw_cells(n: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw crops of noise at several scales, and round masks."""
    rng = np.random.default_rng(1)
    coarse = rng.random((n, 4, 14, 14)).repeat(32, 2).repeat(32, 3)
    fine = rng.random((n, 4, SIDE, SIDE))
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    mask = np.broadcast_to(np.hypot(rows, columns) < 0.35 * SIDE, (n, SIDE, SIDE))
    return (200 * coarse * fine).astype(np.uint8), mask.astype(np.uint8)


def cells_per_s(run: Callable[[], object], n: int) -> float:
    """Time one call."""
    started = time.perf_counter()
    run()
    return n / (time.perf_counter() - started)


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Give the least cosine of the rows of two arrays."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / norms).min())


def measure_layout(folder: ModelFolder, threads: int, repeats: int) -> list[dict[str, object]]:
    """Compare the ways of computing the same layout."""
    n = 2 * threads
    crops, masks = draw_cells(n)
    stains = torch.from_numpy((crops / 255).astype(np.float32))
    eager = PublishedEncoder().eval()
    exact = SubcellEncoder(len(STAINS))
    exact.load(folder.path / "model.safetensors")
    half = exact.bfloat16().eval()
    quantised = quantise(folder)
    session, small = (open_session(one, threads=threads) for one in (folder, quantised))
    with torch.inference_mode():
        ways = {
            "eager": lambda: eager(stains),
            "onnx": lambda: session.run(crops, masks),
            "int8": lambda: small.run(crops, masks),
            "bf16": lambda: half(stains.bfloat16()),
            "products": layer_products(n),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(repeats + 1):
            for name, run in ways.items():
                speed = cells_per_s(run, n)
                if turn:  # the first warms up
                    speeds[name].append(speed)
        embedding = session.run(crops, masks)[1]
        like = cosine(small.run(crops, masks)[1], embedding)
        full = SubcellEncoder(len(STAINS))
        full.load(folder.path / "model.safetensors")
        bf16 = cosine(half(stains.bfloat16()).float().numpy(), full.eval()(stains).numpy())
    middle = {name: float(np.median(values)) for name, values in speeds.items()}
    ratio = {
        name: float(np.median(np.divide(values, speeds["eager"])))
        for name, values in speeds.items()
    }
    what = f"SubCell layout, 448 px, {threads} threads"
    told = {
        name: f"{middle[name]:.2f} cells/s, {ratio[name]:.2f} times torch eager's "
        f"{middle['eager']:.2f}"
        for name in ways
    }
    return [
        row(f"{what}: ONNX Runtime, float32", ">= 1.8 times", told["onnx"], ratio["onnx"] >= 1.8),
        row(f"{what}: its matrix products alone, float32", "reported", told["products"], None),
        row(f"{what}: int8", "reported", f"{told['int8']}; cosine {like:.5f}", None),
        row(f"{what}: bf16 in torch", "reported", f"{told['bf16']}; cosine {bf16:.5f}", None),
    ]


def layer_products(n: int) -> Callable[[], object]:
    """Give a function that computes the matrix products of all layers for n cells, nothing else."""
    tokens, per_head = (SIDE // 16) ** 2 + 1, WIDTH // HEADS
    x, wide = torch.randn(n * tokens, WIDTH), torch.randn(n * tokens, 4 * WIDTH)
    qkv, out, up, down = (
        torch.randn(shape)
        for shape in ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH))
    )
    q, k = (torch.randn(n, HEADS, *shape) for shape in ((tokens, per_head), (per_head, tokens)))
    weights = torch.randn(n, HEADS, tokens, tokens)

    def run() -> None:
        for _ in range(12):
            for a, b in ((x, qkv), (q, k), (weights, q), (x, out), (x, up), (wide, down)):
                a @ b

    return run


def quantise(folder: ModelFolder) -> ModelFolder:
    """Make the int8 twin of a model folder: weights and matrix products, nothing else."""
    twin = folder.path.with_name("int8")
    twin.mkdir(exist_ok=True)
    quantize_dynamic(
        folder.graph_path,
        twin / GRAPH_FILE,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    onnx.checker.check_model(twin / GRAPH_FILE)
    return ModelFolder(twin, folder.spec)


def measure_field(folder: ModelFolder, threads: int, out: Path) -> list[dict[str, object]]:
    """Time a field from its files to its part, but for the network's own calls."""
    write_dataset(out / "data", SimulateConfig(), fields=6, seed=42)
    segmenter = get_segmenter("unet")
    record = min(
        discover_fields(out / "data" / "train"),
        key=lambda one: abs(int(segmenter(read_field(one)).cells.max()) - 20),
    )
    session = open_session(folder, threads=threads)
    network_s = 0.0
    inner = session.run

    def timed(
        crops: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        nonlocal network_s
        started = time.perf_counter()
        answers = inner(crops, masks)
        network_s += time.perf_counter() - started
        return answers

    session.run = timed  # type: ignore[method-assign,assignment]
    tools = FieldTools(segmenter, session)
    prepare_run_folder(out / "run", {})
    taken = []
    for _ in range(2):  # the first opens what is opened once
        network_s = 0.0
        started = time.perf_counter()
        result = predict_field(*read_input(record), tools)
        commit_field(out / "run", result)
        taken.append(time.perf_counter() - started - network_s)
    n = len(result.part.cells)
    return [
        row(
            f"a field of {n} cells, 2048 px, through SubCell: all but the network's calls, s",
            "<= 1",
            f"{taken[-1]:.2f} (the network {network_s:.1f}; the first field {taken[0]:.2f})",
            taken[-1] <= 1,
        )
    ]


def measure_head(threads: int, out: Path, n_cells: int = N_CELLS) -> list[dict[str, object]]:
    """Time one epoch of a head on embeddings that lie in memory."""
    bag, rng = 16, np.random.default_rng(0)
    n_fields = n_cells // bag
    config = TrainConfig(
        backbone="subcell",
        weights=Path("subcell.safetensors"),
        freeze="cached",
        bag_size=bag,
        bags_per_batch=16,
        epochs=1,
        val_fraction=0,
    )
    data = TrainingData(
        crops=rng.standard_normal((n_cells, 2 * WIDTH), np.float32),
        cell_masks=np.zeros((n_cells, 0), np.uint8),
        offsets=np.arange(n_fields + 1, dtype=np.int64) * bag,
        targets=(rng.random((n_fields, N_LOCATIONS)) < 0.1).astype(np.float32),
        fov_ids=tuple(f"f{i}" for i in range(n_fields)),
        groups=tuple(f"g{i}" for i in range(n_fields)),
        group_kind="gene",
        data_hash="drawn",
    )
    torch.set_num_threads(threads)
    started = time.perf_counter()
    path = out / "checkpoint.pt"
    train_classifier(data, np.zeros(n_fields, np.bool_), config, checkpoint_path=path)
    taken = time.perf_counter() - started
    what = f"a head on {n_cells:,} cached embeddings of 1536, one epoch, {threads} threads, s"
    return [row(what, "<= 60", f"{taken:.1f}", taken <= 60)]


def row(what: str, asked: str, measured: str, met: bool | None) -> dict[str, object]:  # noqa: FBT001
    """Give a row of the table of results."""
    return {"what": what, "asked": asked, "measured": measured, "met": met}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("layout", "field", "head"), help="only this one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns: %(default)s")
    parser.add_argument("--cells", type=int, default=N_CELLS, help="of the head: %(default)s")
    parser.add_argument("--files", type=Path, help="folder of SubCell's published files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    onnxruntime.set_default_logger_severity(3)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="hpacells-") as name:
        out = Path(name)
        if given.part in (None, "head"):
            rows += measure_head(given.threads, out, given.cells)
        if given.part in (None, "layout", "field"):
            folder = make_folder(out, given.files)
            if given.part != "layout":
                rows += measure_field(folder, given.threads, out)
            if given.part != "field":
                rows += measure_layout(folder, given.threads, given.repeats)
    for one in rows:
        print(f"{one['what']}: {one['measured']} (asked {one['asked']})")
    if given.part is None:
        weights = "random" if given.files is None else str(given.files)
        write_json(RESULTS / "published_models.json", {"rows": rows, "weights": weights})


if __name__ == "__main__":
    main()
