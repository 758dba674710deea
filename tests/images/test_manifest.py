import pytest

from hpacells.core.channels import Channel
from hpacells.core.errors import ImageError, InputError, TableError
from hpacells.images.discover import discover_fields
from hpacells.images.manifest import read_manifest
from hpacells.images.read import read_field

HEADER = "fov_id,red,green,blue,yellow"


def write(tmp_path, text, name="fields.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_column_says_the_stain_not_the_file_name(tmp_path, write_field, planes):
    write_field(tmp_path / "data", "x")
    path = write(
        tmp_path,
        "yellow,blue,fov_id,green,red,pixel_size_um,Label,well,note\n"
        f"data/x_green.png,data/x_blue.png,f1,data/x_yellow.png,{tmp_path}/data/x_red.png,"
        "0.2,3|2,A1,hello\n",
    )
    (record,) = discover_fields(path)
    assert record.pixel_size_um == 0.2
    assert record.image_locations == (2, 3)
    assert record.well == "A1"
    field = read_field(record)
    assert (field.channel(Channel.PROTEIN) == planes["yellow"]).all()
    assert (field.channel(Channel.ER) == planes["green"]).all()
    assert (field.channel(Channel.MICROTUBULES) == planes["red"]).all()


def test_an_option_wins_over_the_column(tmp_path):
    path = write(tmp_path, f"{HEADER},pixel_size_um\nf,a.png,b.png,c.png,d.png,0.2\n")
    assert discover_fields(path, pixel_size_um=0.3)[0].pixel_size_um == 0.3


def test_without_a_label_column_nothing_is_known_of_the_image(tmp_path):
    (record,) = read_manifest(write(tmp_path, f"{HEADER},Label\nf,a.png,b.png,c.png,d.png,\n"))
    assert record.image_locations is None


def test_an_empty_or_missing_path_fails_when_read(tmp_path, write_field):
    write_field(tmp_path, "x", yellow=None)
    path = write(tmp_path, f"{HEADER}\nf,x_red.png,,x_blue.png,no.png\n")
    (record,) = discover_fields(path)
    with pytest.raises(ImageError, match=r"no file for green, yellow.*x_red\.png, x_blue\.png"):
        read_field(record)


def test_all_problems_are_told_at_once(tmp_path):
    rows = "a.png,b.png,c.png,d.png"
    path = write(
        tmp_path,
        f"{HEADER},pixel_size_um,Label\n"
        f"ok,{rows},,\n"
        f"ok,{rows},,\n"
        f",{rows},,\n"
        f"../up,{rows},,\n"
        f"e,{rows},abc,\n"
        f"f,{rows},,99\n"
        "g\n",
    )
    with pytest.raises(TableError) as caught:
        read_manifest(path)
    text = str(caught.value)
    assert "fields.csv: 6 problem(s)" in text
    assert "row 3: ok stands in row 2 too" in text
    for row in range(3, 9):
        assert f"row {row}:" in text


def test_no_rows_and_no_columns(tmp_path):
    with pytest.raises(InputError, match="one row per field, got none"):
        read_manifest(write(tmp_path, HEADER + "\n"))
    with pytest.raises(TableError, match="Add yellow"):
        read_manifest(write(tmp_path, "fov_id,red,green,blue\n"))


def test_unused_columns_are_logged(tmp_path, caplog):
    read_manifest(write(tmp_path, f"{HEADER},pixel_size\nf,a,b,c,d,0.2\n"))
    assert "columns not used: pixel_size" in caplog.text
