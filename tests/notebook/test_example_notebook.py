"""The notebook in docs/ runs from top to bottom, and is stored without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_stored_without_outputs():
    cells = code_cells(nbformat.read(NOTEBOOK, as_version=4))
    assert len(cells) > 5
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


# of the kernel's client, not of this project
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=where).execute()
    shown = [output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs]
    assert sum("image/png" in data for data in shown) == 2  # the field and the cell
    assert any("2 fields" in data.get("text/html", "") for data in shown)
    assert (tmp_path / "example" / "field.pdf").is_file()
    assert (tmp_path / "example" / "cell.png").is_file()
