import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.submission import parse_predictions, read_submission
from hpacells.export import offline_script
from hpacells.export.bundle import find_package, write_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make(tmp_path, tiny_model_folder):
    """Makes a bundle with wheels that are none; keywords as of ``write_bundle``."""
    wheel = tmp_path / "hpacells-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")

    def call(out=tmp_path / "bundle", **given):
        commands = []
        options = {"model": tiny_model_folder, "segmenter": "watershed", "package": wheel}
        made = write_bundle(out, **(options | {"run": commands.append} | given))
        return made, commands

    return call


def test_a_bundle_holds_wheels_model_script_and_notebook(make, tmp_path, tiny_model_folder):
    made, commands = make(python="3.12")
    out = tmp_path / "bundle"
    assert made
    assert sorted(path.name for path in out.iterdir()) == [
        "bundle.json",
        "model",
        "notebook.ipynb",
        "predict.py",
        "wheels",
    ]
    ((verb, *options),) = commands
    assert verb == "download"
    assert options[options.index("--python-version") + 1] == "3.12"
    assert options[-1].endswith("wheels/hpacells-0.1.0-py3-none-any.whl")
    assert (out / "predict.py").read_text() == Path(offline_script.__file__).read_text()
    assert (out / "model" / "model.onnx").read_bytes() == (
        tiny_model_folder / "model.onnx"
    ).read_bytes()
    notebook = json.loads((out / "notebook.ipynb").read_text())
    compile(notebook["cells"][1]["source"], "notebook", "exec")
    assert json.loads((out / "bundle.json").read_text())["model"] == "tiny-1"


def test_asked_again_there_is_nothing_to_do_and_other_content_is_refused(make, tmp_path):
    assert make()[0]
    assert make() == (False, [])
    with pytest.raises(OutputError, match="another python"):
        make(python="3.13")
    with pytest.raises(OutputError, match="not empty and not a bundle"):
        make(tmp_path)


def test_a_failed_bundle_leaves_nothing(make, tmp_path):
    with pytest.raises(InputError, match="expected a wheel or the source"):
        make(package=tmp_path)
    assert not (tmp_path / "bundle").exists()
    assert not list(tmp_path.glob(".bundle*"))
    with pytest.raises(ConfigError, match="weights come with the package: unet, watershed"):
        make(segmenter="cellpose")


def test_pip_that_fails_is_told(make, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match="pip wheel failed"):
        make(package=tmp_path / "empty", run=None)


def test_a_package_of_unknown_origin_has_to_be_named(monkeypatch):
    class FromIndex:
        def read_text(self, name):
            return None

    assert (find_package() / "pyproject.toml").is_file()
    monkeypatch.setattr("hpacells.export.bundle.distribution", lambda name: FromIndex())
    with pytest.raises(InputError, match="--package"):
        find_package()


def test_the_script_runs_the_commands_and_writes_the_submission(tmp_path, monkeypatch):
    commands = []

    def pretend(command, *, check, env=None):
        commands.append([str(word) for word in command[2:]])
        if "install" in command:
            (tmp_path / "work" / "site.tmp" / "hpacells").mkdir(parents=True)
        if "export" in command:
            (tmp_path / "work" / "kaggle").mkdir()
            (tmp_path / "work" / "kaggle" / "submission.csv").write_text("ID\n")
        return subprocess.CompletedProcess(command, 1 if "run" in command else 0)

    (tmp_path / "bundle.json").write_text('{"segmenter": "unet"}')
    monkeypatch.setattr(offline_script, "HERE", tmp_path)
    monkeypatch.setattr(subprocess, "run", pretend)
    out = tmp_path / "made" / "submission.csv"
    work = ["--work", str(tmp_path / "work"), "--sample-submission", "s.csv", "--out", str(out)]
    assert offline_script.main(["test", *work, "--pixel-size-um", "0.1"]) == 1
    assert out.read_text() == "ID\n"
    install, run, export = commands
    assert install[:2] == ["pip", "install"]
    assert "--no-index" in install
    assert run[1:3] == ["run", "test"]
    assert run[-6:-2] == ["--segmenter", "unet", "--runtime", "onnx"]
    assert export[-2:] == ["--sample-submission", "s.csv"]
    commands.clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2))
    assert offline_script.main(["test", *work]) == 2  # installed before; the run cannot be done


@pytest.mark.slow
def test_without_any_network_a_fresh_python_writes_the_submission(
    tmp_path, tiny_model_folder, write_quadruplet
):
    unshare = ["unshare", "-rn"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made here: {error}")
    bundle, images, out = tmp_path / "bundle", tmp_path / "test", tmp_path / "submission.csv"
    try:
        write_bundle(bundle, model=tiny_model_folder, segmenter="watershed", package=ROOT)
    except OutputError as error:
        pytest.skip(f"no package index here: {error}")
    write_quadruplet(images, "one", seed=1, pixel_size_um=0.32)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    options = ["--work", tmp_path / "work", "--out", out, "--pixel-size-um", "0.32"]
    command = [*unshare, python, bundle / "predict.py", images, *options]
    subprocess.run(list(map(str, command)), check=True, env=quiet, cwd=tmp_path)
    row = read_submission(out)["one"]
    assert (row.width, row.height) == (400, 300)
    assert len(parse_predictions(row.predictions, where="one")) > 19
