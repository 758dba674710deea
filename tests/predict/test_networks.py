"""Which runtime, device and precision a run gets, and what becomes of it."""

import json
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.errors import (
    ConfigError,
    MissingExtraError,
    ModelError,
    OutputError,
    WorkerError,
)
from hpacells.predict import networks as networks_module
from hpacells.predict.config import RunSettings
from hpacells.predict.networks import Networks, choose_networks, place_segmenter
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.runtime.session import open_session
from hpacells.segment.registry import get_segmenter

SHIPPED = resolve_model(DEFAULT_MODEL)
ON_GPU = Networks("torch", "cuda", "bfloat16")
TORCH = Networks("torch")


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, or without: its driver and PyTorch answer so."""

    def be(*, there, bfloat16=True, off_by=0.01, error=None):
        class OnGpu:
            def __init__(self, model, **_):
                self.session = open_session(model)

            def run(self, crops, masks):
                if error:
                    raise error
                logits, embedding = self.session.run(crops, masks)
                return logits + off_by, embedding

        answers = type(
            "TorchSession",
            (),
            {
                "prepare_device": staticmethod(lambda device: None),
                "explain_no_gpu": staticmethod(lambda: "" if there else "no GPU"),
                "has_bfloat16": staticmethod(lambda: bfloat16),
                "open_torch_session": OnGpu,
            },
        )
        monkeypatch.setattr(networks_module, "has_gpu", lambda: there)
        monkeypatch.setattr(networks_module, "_torch_session", lambda: answers)

    return be


@pytest.mark.parametrize(
    ("asked", "with_gpu", "without"),
    [
        ({}, ON_GPU, Networks()),
        ({"runtime": "onnx"}, Networks(), Networks()),
        ({"runtime": "torch"}, ON_GPU, TORCH),
        ({"device": "cpu"}, Networks(), Networks()),
        ({"runtime": "torch", "device": "cpu"}, TORCH, TORCH),
        ({"over_cluster": True}, Networks(), Networks()),
        ({"runtime": "torch", "over_cluster": True}, TORCH, TORCH),
    ],
)
def test_what_is_left_open_is_decided_by_the_machine(gpu, asked, with_gpu, without):
    for there, expected in ((True, with_gpu), (False, without)):
        gpu(there=there)
        assert choose_networks(SHIPPED, **asked) == expected


def test_precision_is_what_the_gpu_computes_in_or_what_was_asked(gpu):
    gpu(there=True, bfloat16=False)
    assert choose_networks(SHIPPED).precision == "float32"
    gpu(there=True)
    assert choose_networks(SHIPPED, precision="float32") == Networks("torch", "cuda", "float32")
    assert str(ON_GPU) == "torch runtime on the GPU, bfloat16"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"off_by": 9.0}, r"off by 9 in bfloat16.* --device cuda takes it"),
        ({"error": RuntimeError("CUDA error: no kernel image")}, "no kernel image"),
        ({"error": WorkerError("memory is full")}, "memory is full"),
    ],
)
def test_a_gpu_that_nobody_asked_for_must_answer_right(gpu, caplog, fault, said):
    gpu(there=True, **fault)
    assert choose_networks(SHIPPED) == Networks()
    assert re.search(said, caplog.text)
    assert choose_networks(SHIPPED, device="cuda") == ON_GPU


def test_the_gpu_is_tried_in_the_precision_that_was_asked_for(gpu, caplog):
    gpu(there=True, off_by=9.0)
    assert choose_networks(SHIPPED, precision="float32") == Networks()
    assert "off by 9 in float32" in caplog.text


def test_a_torch_that_cannot_be_imported_costs_no_run(gpu, monkeypatch, caplog):
    gpu(there=True)

    def broken():
        raise ImportError("libtorch_cuda.so: cannot open shared object file")

    monkeypatch.setattr(networks_module, "_torch_session", broken)
    assert choose_networks(SHIPPED) == Networks()
    assert "libtorch_cuda" in caplog.text


def test_what_began_a_run_goes_on(gpu, tmp_path):
    gpu(there=True)
    (tmp_path / "settings.json").write_text(json.dumps(Networks().describe()))
    assert choose_networks(SHIPPED, begun=tmp_path) == Networks()
    assert choose_networks(SHIPPED, begun=tmp_path, device="cuda") == ON_GPU
    for other in ("{", "[]", "{}"):
        (tmp_path / "settings.json").write_text(other)
        assert choose_networks(SHIPPED, begun=tmp_path) == ON_GPU
    assert choose_networks(SHIPPED, begun=tmp_path / "new") == ON_GPU


def test_a_model_without_weights_is_left_to_onnx_runtime(gpu, tiny_model_folder):
    gpu(there=True)
    assert choose_networks(tiny_model_folder) == Networks()
    with pytest.raises(ModelError, match=r"expected model\.safetensors.* Take --runtime onnx"):
        choose_networks(tiny_model_folder, runtime="torch")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"runtime": "onnx", "device": "cuda"}, "expected --runtime torch, got onnx"),
        ({"precision": "bfloat16"}, "expected float32 on the CPU, got bfloat16"),
        ({"device": "cuda", "over_cluster": True}, "expected --engine local"),
    ],
)
def test_what_does_not_go_together_is_refused(gpu, asked, message):
    gpu(there=False)
    with pytest.raises(ConfigError, match=message):
        choose_networks(SHIPPED, **asked)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="expected --runtime torch"):
        RunSettings(images="i", model="m", device="cuda")


def test_without_torch_the_extra_is_named(monkeypatch):
    known = networks_module.find_spec
    monkeypatch.setattr(
        networks_module, "find_spec", lambda name: None if name == "timm" else known(name)
    )
    with pytest.raises(MissingExtraError, match=r"there is no timm.*\.\[train\]"):
        choose_networks(SHIPPED, runtime="torch")
    monkeypatch.setattr(networks_module, "has_gpu", lambda: True)
    assert choose_networks(SHIPPED) == Networks()


@pytest.mark.parametrize(
    ("n", "answer", "expected"), [(2, 0, True), (0, 0, False), (2, 100, False)]
)
def test_the_driver_is_asked_for_its_gpus(monkeypatch, n, answer, expected):
    class Driver:
        def __init__(self, name):
            pass

        def cuInit(self, flags):  # noqa: N802  the driver's name
            return answer

        def cuDeviceGetCount(self, count):  # noqa: N802
            count._obj.value = n
            return 0

    monkeypatch.setattr(networks_module.ctypes, "CDLL", Driver)
    monkeypatch.setattr(networks_module.sys, "platform", "linux")
    assert networks_module.has_gpu() is expected
    monkeypatch.setattr(networks_module.sys, "platform", "darwin")
    assert not networks_module.has_gpu()


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(networks_module._DRIVERS, sys.platform, "no-such-library.so")
    assert not networks_module.has_gpu()


def test_a_run_without_a_gpu_never_imports_torch(write_quadruplet, tmp_path):
    images = tmp_path / "one"
    write_quadruplet(images, "one", seed=0, shape=(100, 120), pixel_size_um=0.64)
    code = (
        "import sys\n"
        "from hpacells.cli.app import app\n"
        "from hpacells.predict import networks\n"
        "networks.has_gpu = lambda: False\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    arguments = ["run", str(images), str(tmp_path / "out"), "--pixel-size-um", "0.64"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "onnx runtime on the CPU, float32" in done.stdout


def probabilities(folder):
    table = pq.read_table(folder / "cells.parquet")
    return np.column_stack([table[name].to_numpy() for name in PROBABILITY_COLUMNS])


def test_a_run_on_torch_gives_the_same_cells_and_scores_and_says_so(run, tmp_path):
    shipped = {"model": str(SHIPPED)}
    onnx = run(out=tmp_path / "onnx", **shipped)
    one = run(out=tmp_path / "one", runtime="torch", **shipped)
    two = run(out=tmp_path / "two", runtime="torch", workers=2, threads=2, **shipped)
    assert len(probabilities(onnx.out)) > 20
    np.testing.assert_allclose(probabilities(one.out), probabilities(onnx.out), atol=1e-4, rtol=0)
    for name in ("cells.parquet", "embeddings.parquet", "submission.csv"):
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()
    for file in ("run.json", "settings.json"):
        said = json.loads((one.out / file).read_text(encoding="utf-8"))
        assert {name: said[name] for name in ("runtime", "device", "precision")} == TORCH.describe()
    with pytest.raises(OutputError, match=r"another runtime \(there torch, asked for onnx\)"):
        run(out=one.out, **shipped)


def test_the_segmenter_s_network_goes_where_the_classifier_s_is():
    unet, watershed = get_segmenter("unet"), get_segmenter("watershed")
    placed = place_segmenter(unet, TORCH)
    assert type(placed.open_network(None)).__name__ == "TorchSegmenterSession"
    assert placed.settings == unet.settings
    assert place_segmenter(unet, Networks()) is unet
    assert place_segmenter(watershed, TORCH) is watershed
