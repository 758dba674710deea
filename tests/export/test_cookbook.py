"""The cookbook's lines run on a drawn run, where the tools they need are installed."""

import re
import shlex
import warnings
from pathlib import Path

import pytest

from hpacells.cli.app import main

PAGES = sorted((Path(__file__).parents[2] / "docs" / "cookbook").glob("*.md"))
BLOCK = re.compile(r"^(<!-- not executed: .*-->\n)?```(sh|python)\n(.*?)^```$", re.M | re.S)
IMPORTED = re.compile(r"^(?:import|from) (\w+)", re.M)


def run_shell(text):
    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "hpacells"
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_lines_of_a_page_run(page, pictured_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    pictured_run.rename("results")
    sample = (tmp_path / "results" / "submission.csv").read_text()
    Path("sample_submission.csv").write_text(sample)
    Path("truth.csv").write_text(sample)
    names = {}
    for left_out, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if left_out:
            continue
        if kind == "sh":
            run_shell(text)
            continue
        for module in IMPORTED.findall(text):
            pytest.importorskip(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tools' own
            exec(compile(text, str(page), "exec"), names)
    check = CHECKS.get(page.stem)
    assert check is None or check(names)


CHECKS = {
    "qupath": lambda n: len(n["cells"]) == 5 and n["cells"]["plain", 2]["outline"].is_valid,
    "napari": lambda n: n["pixels"].shape == n["image"].shape and set(n["score_of"]) >= {2, 700},
    "scanpy": lambda n: n["scores"].shape == (4, 19) and "X_umap" in n["cells"].obsm,
    "tables": lambda n: len(n["with_gene"]) == 4 and n["by_gene"][0][:2] == ("ACTB", 4),
    "pycytominer": lambda n: n["wells"]["Metadata_Well"].tolist() == ["B2"],
    "kaggle": lambda n: len(n["masks"]) == 4,
}
