import pytest

from hpacells.core.errors import InputError, TableError
from hpacells.images.tables import raise_problems, read_csv


def read(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return read_csv(path, ("ID", "Label"))


@pytest.mark.parametrize(
    "content",
    [
        b"ID,Label\na,1\nb,2\n",
        b"\xef\xbb\xbfID,Label\r\na,1\r\nb,2",
        b' ID ,"Label"\n"a", 1\n\n  ,\nb,2\n',
    ],
)
def test_marks_line_ends_and_blanks_do_not_matter(tmp_path, content):
    rows, problems = read(tmp_path, content)
    assert [row.cells for row in rows] == [
        {"ID": "a", "Label": "1"},
        {"ID": "b", "Label": "2"},
    ]
    assert rows[0].number == 2
    assert rows[0].get("Label") == "1"
    assert rows[0].get("other") is None
    assert not problems


def test_rows_of_another_length_are_problems_with_their_number(tmp_path):
    rows, problems = read(tmp_path, b"ID,Label\na,1,x\nb,2\nc\n")
    assert [row.cells["ID"] for row in rows] == ["b"]
    assert problems == ["row 2: expected 2 cells, got 3", "row 4: expected 2 cells, got 1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got no header"),
        (b"ID;Label\na;1\n", "Add ID, Label"),
        (b"ID,Label,Label\n", "column Label stands twice"),
        (b"ID,Label\n\xff\xfe,1\n", "UTF-8"),
        (b"ID,Label\n\0,1\n", "binary data"),
        (b'ID,Label\n"a"b,1\n', "row 2"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, content, message):
    with pytest.raises(TableError, match=message):
        read(tmp_path, content)


def test_a_table_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(tmp_path / "no.csv", ("ID",))


def test_problems_are_raised_together_and_cut_at_twenty(tmp_path):
    raise_problems(tmp_path, [])
    with pytest.raises(TableError, match=r"23 problem(?s:.*)row 20(?s:.*)and 3 more") as caught:
        raise_problems(tmp_path, [f"row {i}" for i in range(1, 24)])
    assert "row 21" not in str(caught.value)
