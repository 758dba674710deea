import numpy as np
import pytest

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import TableError
from hpacells.core.fov import FovRecord
from hpacells.images.labels import add_labels, match_labels, read_labels


def write(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text, encoding="utf-8")
    return path


def record(tmp_path, fov_id):
    return FovRecord(fov_id, {c: tmp_path / f"{fov_id}_{c.value}.png" for c in CHANNELS})


def test_labels_metadata_and_pixel_size(tmp_path):
    labels = read_labels(
        write(
            tmp_path, "ID,Label,cell_line,gene,pixel_size_um,odd\na,7|1,U-2 OS,,0.16,x\nb,18,,,,\n"
        )
    )
    assert labels["a"].class_ids == (1, 7)
    assert dict(labels["a"].metadata) == {"cell_line": "U-2 OS"}
    assert labels["a"].pixel_size_um == 0.16
    assert labels["b"].row == 3
    assert labels["b"].pixel_size_um is None
    given = add_labels(record(tmp_path, "a"), labels["a"])
    assert given.image_locations == (1, 7)
    assert (given.cell_line, given.gene, given.pixel_size_um) == ("U-2 OS", None, 0.16)
    assert add_labels(given, None) is given


def test_all_malformed_rows_are_told_at_once(tmp_path):
    path = write(
        tmp_path,
        "ID,Label,pixel_size_um\n"
        "a,1,\n"
        "b,19,\n"  # a class id too high
        "c,1||2,\n"
        "d,one,\n"
        "a,2,\n"  # twice
        ",3,\n"  # no id
        "e,,\n"  # no label
        "f,1,80nm\n"
        "g,1,0\n"
        "h,1\n",
    )
    with pytest.raises(TableError) as caught:
        read_labels(path)
    text = str(caught.value)
    assert "train.csv: 9 problem(s)" in text
    for row in range(3, 12):
        assert f"row {row}:" in text
    assert "row 2:" not in text


def test_counts_add_up(tmp_path):
    labels = read_labels(write(tmp_path, "ID,Label\nb,1\nc,2\nd,3\n"))
    records = [record(tmp_path, name) for name in "abc"]
    match = match_labels(records, labels)
    assert match.matched == ("b", "c")
    assert match.fields_without_row == ("a",)
    assert match.rows_without_field == ("d",)
    assert len(match.matched) + len(match.fields_without_row) == len(records)
    assert len(match.matched) + len(match.rows_without_field) == len(labels)


@pytest.mark.realdata
def test_the_competitions_own_table(real_data):
    labels = read_labels(real_data / "kaggle" / "train.csv")
    assert len(labels) == 21_806
    counts = np.bincount([i for row in labels.values() for i in row.class_ids])
    assert counts[[0, 1, 11, 18]].tolist() == [8797, 1095, 78, 34]  # published
