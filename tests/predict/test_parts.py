import pytest

from hpacells.core.errors import OutputError
from hpacells.predict.parts import finished_fields, read_digest, read_part


def test_a_part_is_found_by_its_id_even_with_dots_in_it(run, images):
    for path in sorted(images.glob("field1_*")):
        path.rename(path.with_name(path.name.replace("field1", "field1.cells")))
    out = run().out
    assert finished_fields(out) == ["field0", "field1.cells", "field2"]
    row, cells = read_part(out, "field1.cells")
    assert row["fov_id"] == "field1.cells"
    assert cells.num_rows == row["n_ok"] + row["n_border"] + row["n_rejected"]
    assert read_digest(out, "field1.cells") == row["digest"]


def test_a_damaged_part_is_named(run):
    out = run().out
    (out / "parts" / "field0.field.arrow").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match=r"field0\.field\.arrow: missing or damaged"):
        read_part(out, "field0")
    (out / "parts" / "field2.cells.arrow").unlink()
    with pytest.raises(OutputError, match=r"field2\.cells\.arrow: missing or damaged"):
        read_part(out, "field2")
