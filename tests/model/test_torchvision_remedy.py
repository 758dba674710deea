import subprocess
import sys
from pathlib import Path

import torch

import hpacells
from hpacells.model import torchvision_remedy as remedy


def test_timm_imports_in_a_fresh_process():
    code = "import hpacells.model.timm_parts, torchvision; print(torchvision.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_a_file_that_is_no_extension_does_not_load(tmp_path):
    broken = tmp_path / "_C.so"
    broken.write_bytes(b"not an extension")
    assert not remedy.extension_loads([broken])
    assert not remedy.extension_loads([])


def test_nothing_is_declared_where_the_extension_loads(monkeypatch):
    monkeypatch.setattr(remedy, "_declared", [])
    monkeypatch.setattr(remedy, "extension_loads", lambda candidates: True)
    assert not remedy.ensure_torchvision_imports()
    assert remedy._declared == []


def test_nothing_is_declared_beside_a_cuda_torch(monkeypatch):
    monkeypatch.setattr(remedy, "_declared", [])
    monkeypatch.setattr(remedy, "extension_loads", lambda candidates: False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert not remedy.ensure_torchvision_imports()
    assert remedy._declared == []


def test_declaring_is_kept_and_done_once(monkeypatch):
    monkeypatch.setattr(remedy, "_declared", [])
    remedy.declare_missing_operators()
    assert len(remedy._declared) == 1
    assert hasattr(torch.ops.torchvision, "nms")
    assert remedy.ensure_torchvision_imports()
    assert len(remedy._declared) == 1


def test_only_one_module_imports_timm():
    source = Path(hpacells.__file__).parent
    importers = [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("import timm", "from timm", "import torchvision"))
    ]
    assert set(importers) == {"model/timm_parts.py"}
