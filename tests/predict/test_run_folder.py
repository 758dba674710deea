import pytest

from hpacells.core.errors import OutputError
from hpacells.predict.run_folder import check_owner, prepare_run_folder, read_run


def test_a_new_folder_is_prepared_and_known_again(tmp_path):
    out = tmp_path / "out"
    prepare_run_folder_in(out, {"a": 1, "b": (2, 3)})
    check_owner(out, {"a": 1, "b": (2, 3)})
    assert read_run(out) is None
    with pytest.raises(OutputError, match=r"another a \(there 1, asked for 2\)\. Choose"):
        check_owner(out, {"a": 2, "b": (2, 3)})
    # a folder of 'segment' was told by ten settings that a run doesn't have
    with pytest.raises(OutputError, match="made by another command, or another version"):
        check_owner(out, {"a": 1})


def prepare_run_folder_in(out, settings):
    out.mkdir(exist_ok=True)
    prepare_run_folder(out, settings)


def test_what_a_killed_process_left_is_removed(tmp_path):
    prepare_run_folder_in(tmp_path, {})
    (tmp_path / "masks" / ".a_cells.77.tmp.png").write_bytes(b"half")
    (tmp_path / "masks" / "a_cells.png").write_bytes(b"whole")
    (tmp_path / "previews" / "stains" / ".a.77.tmp.jpg").write_bytes(b"half")
    prepare_run_folder_in(tmp_path, {})
    assert not list((tmp_path / "previews" / "stains").iterdir())
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a_cells.png"]


@pytest.mark.parametrize("content", ["{", "[]"])
def test_malformed_settings_are_refused(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(OutputError, match=r"settings\.json"):
        check_owner(tmp_path, {})


def test_a_malformed_run_json_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(OutputError, match="Delete it and run again"):
        read_run(tmp_path)
