from collections import namedtuple

import pytest
from typer.testing import CliRunner

from hpacells.cli import doctor
from hpacells.cli.doctor import Finding, State, app, examine

runner = CliRunner()


@pytest.fixture
def healthy(monkeypatch, make_model_folder):
    """A machine with a good default model and no torch (whose import is slow)."""
    folder = make_model_folder(doctor.DEFAULT_MODEL)
    monkeypatch.setattr(doctor, "list_models", lambda: [doctor.DEFAULT_MODEL])
    monkeypatch.setattr(doctor, "resolve_model", lambda name: folder)
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else known(name))
    return folder


def states():
    return {finding.what: finding.state for finding in examine()}


def test_a_machine_that_can_run(healthy):
    result = runner.invoke(app)
    assert result.exit_code == 0, result.output
    assert "The main job can run here. Next: hpacells demo" in result.output
    assert "PROBLEM" not in result.output
    for what in ("Python", "cores", "memory", "disk", "base packages", "libraries", "PyTorch"):
        assert what in result.output
    assert f"model {doctor.DEFAULT_MODEL}" in result.output
    assert "verified" in result.output


def test_without_torch_the_extra_is_named_and_nothing_stops(healthy):
    output = runner.invoke(app).output
    assert "pip install -c constraints.txt '.[train]'" in output
    assert states()["PyTorch"] is State.NOTE
    assert states()["extra 'train'"] is State.NOTE


def test_a_damaged_default_model_stops(healthy):
    (healthy / "model.onnx").write_bytes(b"damaged")
    result = runner.invoke(app)
    assert result.exit_code == 2
    assert "expected sha256" in result.output
    assert "The main job cannot run here: 1 problem(s)" in result.output


def test_a_damaged_other_model_does_not_stop(healthy, monkeypatch, tmp_path):
    names = [doctor.DEFAULT_MODEL, "other"]
    monkeypatch.setattr(doctor, "list_models", lambda: names)
    monkeypatch.setattr(
        doctor, "resolve_model", lambda name: healthy if name == names[0] else tmp_path
    )
    assert states()["model other"] is State.NOTE
    assert runner.invoke(app).exit_code == 0


def test_a_missing_default_model_stops(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "list_models", list)
    result = runner.invoke(app)
    assert result.exit_code == 2
    assert "Install hpacells anew" in result.output


def test_a_missing_base_package_stops_and_one_of_an_extra_does_not(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy>=2", "no-such-one>=1"])
    result = runner.invoke(app)
    assert result.exit_code == 2
    assert "missing: no-such-one" in result.output
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy", 'no-such-one; extra == "scale"'])
    assert states()["base packages"] is State.OK
    assert states()["extra 'scale'"] is State.NOTE


def test_a_package_that_is_not_installed_itself(healthy, monkeypatch):
    def unknown(_):
        raise doctor.PackageNotFoundError

    monkeypatch.setattr(doctor, "requires", unknown)
    assert states()["packages"] is State.PROBLEM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy>=2.0", ("numpy", "")),
        ("typer", ("typer", "")),
        ('torch>=2.6; extra == "train"', ("torch", "train")),
        ("hpacells[test]; extra == 'dev'", ("hpacells", "dev")),
        ('a-b.c>=1; python_version < "3.12" and extra == "x"', ("a-b.c", "x")),
        ('tomli; python_version < "3.11"', ("tomli", "")),
        ("", ("", "")),
    ],
)
def test_requirements_are_split(text, expected):
    assert doctor._split_requirement(text) == expected


def test_a_library_that_does_not_load_stops(monkeypatch):
    monkeypatch.setattr(doctor, "_NATIVE_MODULES", ("math", "no_such_module_here"))
    finding = doctor._native_modules()
    assert finding.state is State.PROBLEM
    assert "no_such_module_here (No module named" in finding.found


@pytest.mark.parametrize(
    ("free", "state"), [(1e6, State.PROBLEM), (1e9, State.NOTE), (1e12, State.OK)]
)
def test_disk(monkeypatch, tmp_path, free, state):
    usage = namedtuple("Usage", "free")(free)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert doctor._disk(tmp_path).state is state


@pytest.mark.parametrize(("available", "state"), [(1e9, State.NOTE), (1e10, State.OK)])
def test_memory(monkeypatch, available, state):
    memory = namedtuple("Memory", "available total")(available, 2e10)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    assert doctor._memory().state is state


def test_an_old_python_stops(monkeypatch):
    monkeypatch.setattr(doctor, "_LEAST_PYTHON", (99, 0))
    assert doctor._python().state is State.PROBLEM


class FakeTorch:
    """Stands for torch with so many GPUs."""

    def __init__(self, names):
        self.cuda = self
        self.names = names

    def is_available(self):
        return bool(self.names)

    def device_count(self):
        return len(self.names)

    def get_device_name(self, i):
        return self.names[i]


@pytest.mark.parametrize(("names", "text"), [([], "no GPU"), (["H", "K"], "GPU: H, K")])
def test_gpus(monkeypatch, names, text):
    monkeypatch.setattr(doctor, "_version", lambda _: "2.13")
    monkeypatch.setattr(doctor, "import_module", lambda _: FakeTorch(names))
    finding = doctor._accelerator()
    assert text in finding.found
    assert finding.state is State.OK


def test_a_torch_that_does_not_load_is_noted(monkeypatch):
    def broken(_):
        raise OSError("libcudart.so is missing")

    monkeypatch.setattr(doctor, "_version", lambda _: "2.13")
    monkeypatch.setattr(doctor, "import_module", broken)
    finding = doctor._accelerator()
    assert finding.state is State.NOTE
    assert "libcudart.so is missing" in finding.found


def test_real_data(monkeypatch, tmp_path):
    monkeypatch.delenv("HPACELLS_REAL_DATA", raising=False)
    assert doctor._real_data().state is State.NOTE
    monkeypatch.setenv("HPACELLS_REAL_DATA", str(tmp_path / "no"))
    assert "is no folder" in doctor._real_data().found
    monkeypatch.setenv("HPACELLS_REAL_DATA", str(tmp_path))
    assert doctor._real_data() == Finding("HPACELLS_REAL_DATA", str(tmp_path))


def test_help_ends_with_an_example():
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: hpacells doctor" in result.output


def test_published_segmenters_are_told_with_what_they_lack(healthy, monkeypatch, tmp_path):
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(type(doctor.CELLPOSE), "installed", lambda self: self.package == "cellpose")
    found = {finding.what: finding for finding in doctor._published_segmenters()}
    assert found["segmenter cellpose"].remedy == "hpacells models install cellpose"
    assert found["segmenter hpa-unet"].remedy.endswith("'.[bioimageio]'")
    assert "instanseg-torch is not installed" in found["segmenter instanseg"].found
    (tmp_path / "cache" / "cellpose").mkdir(parents=True)
    (tmp_path / "cache" / "cellpose" / "cpsam_v2").write_bytes(b"")
    found = {finding.what: finding for finding in doctor._published_segmenters()}
    assert found["segmenter cellpose"] == Finding("segmenter cellpose", "weights in the cache")
