import pytest

from hpacells.core.errors import InputError
from hpacells.report.origin import flatten_provenance, read_provenance


def test_run_json_wins_over_settings_json(tmp_path):
    assert read_provenance(tmp_path) == {}
    (tmp_path / "settings.json").write_text('{"model": "early"}', encoding="utf-8")
    assert read_provenance(tmp_path) == {"model": "early"}
    (tmp_path / "run.json").write_text('{"model": "final"}', encoding="utf-8")
    assert read_provenance(tmp_path) == {"model": "final"}


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[1]", "a JSON object")])
def test_damaged_provenance_is_refused(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_provenance(tmp_path)


def test_flatten_counts_what_is_long():
    content = {
        "b": {"y": 1, "x": None},
        "a": "text",
        "inputs": {str(i): "hash" for i in range(99)},
        "list": [1, 2],
        "models": [{"name": "m"}],
        "empty": {},
    }
    assert flatten_provenance(content) == [
        ("a", "text"),
        ("b.x", "null"),
        ("b.y", "1"),
        ("empty", "{}"),
        ("inputs", "99 entries, see run.json"),
        ("list", "[1, 2]"),
        ("models[0].name", "m"),
    ]
