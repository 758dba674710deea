import pytest

from hpacells.core.errors import TableError
from hpacells.core.submission import read_submission
from hpacells.export.config import ExportSettings
from hpacells.export.write import export_run

HEADER = "ID,ImageWidth,ImageHeight,PredictionString\n"


def test_without_a_sample_it_is_the_runs_own_submission(run_folder):
    summary = export_run(run_folder, ExportSettings(to="kaggle"))
    made, source = (folder / "submission.csv" for folder in (summary.out, run_folder))
    assert made.read_bytes() == source.read_bytes()
    assert (summary.n_fields, summary.n_failed, summary.n_cells) == (3, 1, 10)


def test_a_sample_gives_the_order_and_the_missing(run_folder, tmp_path):
    sample = tmp_path / "sample_submission.csv"
    sample.write_text(
        HEADER + 'plain,130,90,0 1 eNo=\nother,7,8,0 1 eNo=\n"a,b ""c"" <d>",130,90,\n'
    )
    settings = ExportSettings(to="kaggle", sample_submission=sample)
    summary = export_run(run_folder, settings)
    made = read_submission(summary.out / "submission.csv")
    source = read_submission(run_folder / "submission.csv")
    assert list(made) == ["plain", "other", 'a,b "c" <d>']
    assert made["other"].predictions == ""
    assert (made["other"].width, made["other"].height) == (7, 8)
    assert all(made[name] == source[name] for name in ("plain", 'a,b "c" <d>'))
    assert len(summary.notes) == 2
    assert "1 images of the sample are not in the run" in summary.notes[0]
    assert "2 images of the run are not in the sample" in summary.notes[1]


def test_a_run_without_its_submission_is_told(run_folder):
    (run_folder / "submission.csv").unlink()
    with pytest.raises(TableError, match="not there"):
        export_run(run_folder, ExportSettings(to="kaggle"))
