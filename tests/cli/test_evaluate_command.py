import json

import numpy as np
import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.evaluate import app
from hpacells.core.submission import SubmissionRow, encode_cells, write_submission
from hpacells.images.mask_files import write_label_image


@pytest.fixture
def cells():
    image = np.zeros((30, 40), np.int32)
    image[2:12, 3:15] = 1
    image[15:28, 20:39] = 2
    return image


@pytest.fixture
def files(tmp_path, cells):
    texts = encode_cells(cells)
    paths = []
    for name, triples in (
        ("truth", f"0 1 {texts[1]} 16 1 {texts[2]}"),
        ("submission", f"0 0.9 {texts[1]} 0 0.95 {texts[2]} 16 0.5 {texts[2]}"),
    ):
        paths.append(tmp_path / f"{name}.csv")
        write_submission(paths[-1], [SubmissionRow("a", 40, 30, triples)])
    return [str(path) for path in paths]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_submission_gets_a_table_and_json(files, tmp_path):
    result = run(*files, "--json", tmp_path / "scores.json")
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split() for line in result.output.splitlines()}
    assert lines["0"][1:] == ["Nucleoplasm", "0.5000", "1", "2"]
    assert lines["1"][1:] == ["Nuclear", "membrane", "-", "0", "0"]
    assert lines["mean"] == ["mean", "(mAP)", "0.7500", "2", "3"]
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["map"] == 0.75
    assert list(map(int, content["ap"])) == sorted(range(19), key=str)
    assert (content["ap"]["0"], content["ap"]["16"], content["ap"]["5"]) == (0.5, 1.0, None)


def test_masks_get_f1_and_ap_by_threshold(tmp_path, cells):
    found = cells.copy()
    found[15:28, 20:23] = 0  # IoU 16/19 with the second cell
    write_label_image(tmp_path / "f" / "a_cells.png", found)
    write_label_image(tmp_path / "t" / "a_cells.png", cells)
    write_label_image(tmp_path / "t" / "b_cells.png", cells)
    write_label_image(tmp_path / "f" / "c_cells.png", cells)
    out = tmp_path / "scores.json"
    result = run("--masks", tmp_path / "f", tmp_path / "t", "--json", out)
    assert result.exit_code == 0
    assert "1 true fields have no found masks" in result.output
    assert "1 found fields have no true masks" in result.output
    content = json.loads(out.read_text())
    assert content["f1"]["0.60"] == pytest.approx(2 / 3)
    assert content["ap"]["0.60"] == 0.5
    assert content["f1"]["0.90"] == pytest.approx(1 / 3)
    assert (content["matched"], content["merges"], content["splits"]) == (2, 0, 0)


def test_masks_tell_recall_nuclei_and_each_field(tmp_path, cells):
    nuclei = np.zeros_like(cells)
    nuclei[4:8, 5:9], nuclei[18:24, 25:30] = 1, 2
    for folder, own in (("f", np.where(nuclei == 1, 1, 0)), ("t", nuclei)):
        write_label_image(tmp_path / folder / "a_cells.png", cells)
        write_label_image(tmp_path / folder / "a_nuclei.png", own)
    out = tmp_path / "scores.json"
    result = run("--masks", tmp_path / "f", tmp_path / "t", "--json", out)
    assert "1 of 2 matched cells have their nucleus" in result.output
    content = json.loads(out.read_text())
    assert (content["recall_inside"]["0.60"], content["n_inside"]) == (1.0, 2)
    assert content["nucleus_rate"] == 0.5
    assert [field["fov_id"] for field in content["per_field"]] == ["a"]
    assert content["per_field"][0]["f1"]["0.90"] == 1.0


def test_masks_draw_their_worst_fields(tmp_path, cells):
    for fov_id in "abc":
        write_label_image(tmp_path / "t" / f"{fov_id}_cells.png", cells)
        found = cells if fov_id == "a" else np.minimum(cells, 1)
        write_label_image(tmp_path / "f" / f"{fov_id}_cells.png", found)
    result = run(
        "--masks", tmp_path / "f", tmp_path / "t", "--overlays", tmp_path / "o", "--worst", 2
    )
    assert result.exit_code == 0
    assert "2 overlays of the worst fields" in result.output
    assert [path.name for path in sorted((tmp_path / "o").iterdir())] == ["01_b.png", "02_c.png"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--overlays", "o"], "expected --masks with them"),
        (["--masks", "--images", "i"], "expected --overlays DIR with it"),
        (["--masks", "--overlays", __file__], "expected a folder, there is a file"),
    ],
)
def test_overlays_that_cannot_be_drawn_are_refused(files, capsys, extra, message):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *files, *extra])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_help_tells_the_arguments_and_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert result.output.index("TRUTH") < result.output.index("SUBMISSION")
    assert "hpacells evaluate DATA/truth.csv" in result.output


def test_a_bad_file_gives_one_message_and_exit_code_2(files, tmp_path, capsys):
    (tmp_path / "submission.csv").write_text("ID,ImageWidth,ImageHeight,PredictionString\na,4,4,x")
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *files])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "submission.csv" in message
    assert message.count("\n") == 1


def test_scores_cannot_be_written_over_a_folder(files, tmp_path, capsys):
    # the whole submission was scored, then a traceback came
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *files, "--json", str(tmp_path)])
    assert ended.value.code == 2
    assert "expected a file, there is a folder" in capsys.readouterr().err


def test_files_about_different_images_score_0_and_the_user_is_told(files, tmp_path, cells):
    # a submission with renamed ids once scored 0.0000 without a word
    assert "do the IDs" not in run(*files).output
    text = f"0 0.9 {encode_cells(cells)[1]}"
    write_submission(tmp_path / "other.csv", [SubmissionRow("b", 40, 30, text)])
    result = run(files[0], tmp_path / "other.csv")
    assert result.exit_code == 0
    assert "do the IDs of both files agree?" in result.output
