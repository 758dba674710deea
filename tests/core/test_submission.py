import csv

import numpy as np
import pytest

from hpacells.core.errors import InputError, TableError
from hpacells.core.submission import (
    SUBMISSION_COLUMNS,
    SubmissionRow,
    encode_mask,
    format_predictions,
    parse_predictions,
    read_submission,
    write_submission,
)

HEADER = ",".join(SUBMISSION_COLUMNS)
MASK = encode_mask(np.ones((4, 5), bool))


def write(path, *lines, header=HEADER):
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_confidences_come_back_to_the_last_bit():
    numbers = [0.1, 1 / 3, 1e-300, -2.5, 1e22, 5e-324, 0.123456789012, 0.1234567890121]
    numbers += np.random.default_rng(0).normal(size=50).tolist()
    text = format_predictions((i % 19, x, MASK) for i, x in enumerate(numbers))
    triples = parse_predictions(text, where="here")
    assert [x for _, x, _ in triples] == numbers
    assert [c for c, _, _ in triples] == [i % 19 for i in range(len(numbers))]


def test_numpy_numbers_are_written_as_plain_ones():
    assert format_predictions([(np.int64(3), np.float32(0.5), MASK)]) == f"3 0.5 {MASK}"


@pytest.mark.parametrize(
    "triple", [(19, 0.5, "m"), (-1, 0.5, "m"), (0, np.nan, "m"), (0, -np.inf, "m")]
)
def test_what_cannot_be_read_is_not_written(triple):
    with pytest.raises(InputError, match="expected a class id"):
        format_predictions([triple])


def test_an_empty_string_is_no_triples_and_spaces_may_repeat():
    assert parse_predictions("", where="here") == []
    assert parse_predictions("  3  1e-2 m ", where="here") == [(3, 0.01, "m")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5", "2 words"),
        ("0 0.5 m 1", "4 words"),
        ("0 0.5 m 19 0.5 m", "triple 2: expected a class id"),
        ("-1 0.5 m", "triple 1: expected a class id"),
        ("0.0 0.5 m", "triple 1: expected a class id"),
        ("0 nan m", "triple 1: expected a finite number"),
        ("0 inf m", "triple 1: expected a finite number"),
        ("0 1e999 m", "triple 1: expected a finite number"),
        ("0 1_0 m", "triple 1: expected a finite number"),
        ("0 \u0661 m", "triple 1: expected a finite number"),
        ("0 high m", "triple 1: expected a finite number"),
        ("0 " + "9" * 60 + "x m", r"9\.\.\.'"),
    ],
)
def test_malformed_triples_name_the_place(text, message):
    with pytest.raises(TableError, match=f"^f.csv, ID a.*{message}"):
        parse_predictions(text, where="f.csv, ID a")


def test_rows_come_back_even_with_cells_longer_than_the_csv_module_allows(tmp_path):
    long = format_predictions((c % 19, 0.5, "m" * 400) for c in range(1000))
    rows = [
        SubmissionRow("b", 5, 4, long),
        SubmissionRow('a, "odd"', 7, 9, ""),
        SubmissionRow("unreadable", 0, 0, ""),
    ]
    before = csv.field_size_limit()
    write_submission(tmp_path / "new" / "s.csv", iter(rows))
    assert list(read_submission(tmp_path / "new" / "s.csv").values()) == rows
    assert csv.field_size_limit() == before
    assert (tmp_path / "new" / "s.csv").read_text().splitlines()[0] == HEADER


@pytest.mark.parametrize(
    "text", ["", "3 0.5 eNp", "a,b", 'say "x"', "two\nlines", "and\rback", "é"]
)
def test_rows_are_written_as_the_csv_module_does(tmp_path, text):
    rows = [SubmissionRow(name, 5, 4, text) for name in ("a", 'b, "odd"', "c ' d")]
    write_submission(tmp_path / "s.csv", rows)
    with (tmp_path / "expected.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SUBMISSION_COLUMNS)
        writer.writerows((row.fov_id, row.width, row.height, text) for row in rows)
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_columns_may_stand_in_any_order_and_others_beside_them(tmp_path):
    path = write(
        tmp_path / "s.csv", "x,,4,a,5", header="Usage,PredictionString,ImageHeight,ID,ImageWidth"
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_submission(path) == {"a": SubmissionRow("a", 5, 4, "")}


def test_an_id_twice_leaves_no_file_behind(tmp_path):
    rows = [SubmissionRow("a", 5, 4, ""), SubmissionRow("a", 5, 4, "")]
    with pytest.raises(InputError, match="a comes twice"):
        write_submission(tmp_path / "s.csv", rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,5,4,", "a,5,4,"], "line 3: ID a stands twice"),
        (["a,5"], "as many cells"),
        (["a,5,4,,x"], "as many cells"),
        (["a,5.0,4,"], "whole numbers"),
        (["a,-5,4,"], "whole numbers"),
        (["a,,4,"], "whole numbers"),
        (["a,5,0,"], "at least 1"),
        (["a,0,0,0 1 m"], "at least 1"),
        ([",5,4,"], "no ID"),
        (['a,5,4,"open'], "not a CSV"),
    ],
)
def test_malformed_rows_are_refused_by_file_and_line(tmp_path, lines, message):
    with pytest.raises(TableError, match=f"s.csv.*{message}"):
        read_submission(write(tmp_path / "s.csv", *lines))


def test_what_is_no_submission_is_refused(tmp_path):
    with pytest.raises(TableError, match="ImageWidth, ImageHeight, PredictionString missing"):
        read_submission(write(tmp_path / "s.csv", header="ID,Label"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TableError, match="missing"):
        read_submission(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(TableError, match="UTF-8"):
        read_submission(tmp_path / "binary.csv")
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableError, match="found none"):
            read_submission(path)
