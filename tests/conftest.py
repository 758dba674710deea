"""What tests of several stages need: a tiny model folder, fields as image files, a browser."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from axe_playwright_python.sync_playwright import Axe
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Browser, Page, sync_playwright
from threadpoolctl import threadpool_info

from hpacells.core.channels import CHANNELS
from hpacells.core.locations import N_LOCATIONS
from hpacells.runtime.model_folder import (
    GRAPH_FILE,
    TERMS_FILE,
    Architecture,
    ModelSpec,
    Training,
    write_model_spec,
)
from hpacells.runtime.segmenter_folder import (
    SEGMENTER_GRAPH,
    SegmenterSpec,
    write_segmenter_spec,
)
from hpacells.segment.stain_input import NORMALISATION

TINY_CROP_PX = 32
TINY_EMBEDDING = 6


def pytest_configure() -> None:
    """Hear Ctrl-C also where a shell began the tests in the background, deaf to it as it is there.

    That deafness would be handed on to the commands that tests start and interrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def make_tiny_graph(seed: int, *, side: int = TINY_CROP_PX, width: int = TINY_EMBEDDING) -> bytes:
    """A network in a few lines: masked crops, one convolution, mean, two linear layers."""
    rng = np.random.default_rng(seed)
    weights = {
        "scale": np.float32(255),
        "kernel": rng.normal(0, 0.6, (8, len(CHANNELS), 3, 3)).astype(np.float32),
        "to_embedding": rng.normal(0, 4, (8, width)).astype(np.float32),
        "to_logits": rng.normal(0, 1, (width, N_LOCATIONS)).astype(np.float32),
        "prior": np.full(N_LOCATIONS, -1, np.float32),
        "channel_axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["grey", "scale"], ["unit"]),
        helper.make_node("Cast", ["cell_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "channel_axis"], ["mask4"]),
        helper.make_node("Mul", ["unit", "mask4"], ["masked"]),
        helper.make_node("Conv", ["masked", "kernel"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "to_embedding"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "to_logits"], ["raw"]),
        helper.make_node("Add", ["raw", "prior"], ["logits"]),
    ]
    image = [len(CHANNELS), side, side]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", *image]),
            helper.make_tensor_value_info("cell_mask", TensorProto.UINT8, ["n", side, side]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", N_LOCATIONS]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", width]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString()


def make_tiny_segmenter_graph() -> bytes:
    """Maps by thresholds: cells from microtubules and ER, nuclei and seeds from the nucleus stain;
    no borders. A missing stain is zeroed.
    """
    kernel = np.zeros((4, 3, 1, 1), np.float32)
    kernel[0, 1:] = 20
    kernel[2:, 0] = 40
    weights = {
        "kernel": kernel,
        "bias": np.array([-12, -9, -20, -24], np.float32),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["present", "axes"], ["flags"]),
        helper.make_node("Mul", ["stains", "flags"], ["seen"]),
        helper.make_node("Conv", ["seen", "kernel", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["maps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("stains", TensorProto.FLOAT, ["n", 3, "h", "w"]),
            helper.make_tensor_value_info("present", TensorProto.FLOAT, ["n", 3]),
        ],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def blas_threads() -> Callable[[], set[int]]:
    """How many threads each BLAS that is loaded may start, asked anew at every call."""
    return lambda: {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}


@pytest.fixture
def make_segmenter_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a tiny segmenter; keywords replace fields of its ``SegmenterSpec``."""

    def make(name: str = "tiny", *, graph: bytes | None = None, **fields) -> Path:
        folder = tmp_path / "segmenters" / name
        folder.mkdir(parents=True)
        content = make_tiny_segmenter_graph() if graph is None else graph
        (folder / SEGMENTER_GRAPH).write_bytes(content)
        spec = {
            "name": name,
            "version": "1",
            "pixel_size_um": 0.32,
            "normalisation": NORMALISATION,
            "licence": "BSD-3-Clause",
        }
        write_segmenter_spec(folder, SegmenterSpec(**(spec | fields)))
        return folder

    return make


def make_terms_graph() -> bytes:
    """As many terms as there are features: each its sigmoid."""
    sides = ["cells", TINY_EMBEDDING]
    nodes = [helper.make_node("Sigmoid", ["embedding"], ["terms"])]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, sides) for n in ("embedding", "terms")
    ]
    graph = helper.make_graph(nodes, "terms", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.fixture
def make_model_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a tiny model; keywords replace fields of its ``ModelSpec``."""

    def make(name: str = "tiny", *, seed: int = 1, graph: bytes | None = None, **fields) -> Path:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        content = make_tiny_graph(seed) if graph is None else graph
        (folder / GRAPH_FILE).write_bytes(content)
        if "terms" in fields:
            (folder / TERMS_FILE).write_bytes(make_terms_graph())
        spec = ModelSpec(
            **{
                "name": name,
                "version": "1",
                "description": "for tests",
                "architecture": Architecture(backbone="tiny"),
                "crop_px": TINY_CROP_PX,
                "pixel_size_um": 0.64,
                "normalisation": "grey / 255, outside the cell 0",
                "embedding_size": TINY_EMBEDDING,
                "training": Training(data_hash="0" * 64, n_fields=2, seed=seed),
                "licence": "CC0-1.0",
                **fields,
            }
        )
        write_model_spec(folder, spec)
        return folder

    return make


@pytest.fixture
def tiny_model_folder(make_model_folder: Callable[..., Path]) -> Path:
    """A tiny model folder."""
    return make_model_folder()


def draw_field(
    seed: int, *, shape: tuple[int, int] = (300, 400), pixel_size_um: float = 0.32
) -> np.ndarray:
    """Draw four stains ``(4, H, W)`` uint8 of about a dozen round cells, some cut by the frame."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((len(CHANNELS), *shape), np.float32)
    step = round(32 / pixel_size_um)
    for row in range(step // 2, shape[0] + step // 2, step):
        for column in range(step // 3, shape[1] + step // 2, step):
            centre = (int(column + rng.integers(-6, 7)), int(row + rng.integers(-6, 7)))
            nucleus = tuple(int(r / pixel_size_um) for r in rng.uniform(6.5, 9, 2))
            body = tuple(int(r / pixel_size_um) for r in rng.uniform(12, 14.5, 2))
            levels = (rng.uniform(40, 90), rng.uniform(20, 200), 0, rng.uniform(50, 110))
            for plane, level in zip(pixels, levels, strict=True):
                cv2.ellipse(plane, centre, body, 0, 0, 360, level, -1)
            cv2.ellipse(pixels[2], centre, nucleus, 0, 0, 360, rng.uniform(110, 190), -1)
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.5) for plane in pixels])
    return np.clip(blurred + rng.normal(2, 1, blurred.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def write_quadruplet() -> Callable[..., None]:
    """Writes a drawn field as four PNG files ``<fov_id>_<colour>.png``."""

    def write(folder: Path, fov_id: str, *, seed: int, **drawing) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for channel, plane in zip(CHANNELS, draw_field(seed, **drawing), strict=True):
            cv2.imwrite(str(folder / f"{fov_id}_{channel.value}.png"), plane)

    return write


CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, driven by Playwright; without one the test is skipped."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a window of its own; what the console calls an error fails the test.

    Keywords are those of Playwright's ``Browser.new_context``.
    """
    errors: list[str] = []
    contexts = []

    def open_address(address: str, *, width: int = 1280, height: int = 900, **options) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield open_address
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def find_faults() -> Callable[[Page], list[str]]:
    """Lists the serious faults of accessibility that axe finds in a page."""

    def find(page: Page) -> list[str]:
        found = Axe().run(page).response["violations"]
        return [
            f"{fault['id']}: {node['html'][:200]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"][:3]
        ]

    return find
