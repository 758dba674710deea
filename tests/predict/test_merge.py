"""Shards merged: the tables of one run, byte for byte; and every way in which runs do not fit."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from hpacells.core.errors import ImageError, InputError, OutputError
from hpacells.core.storage import output_lock
from hpacells.predict import engine
from hpacells.predict import merge as merge_module
from hpacells.predict.merge import merge_runs
from hpacells.predict.shard import Shard
from hpacells.report.page import write_report

TABLES = (
    "cells.parquet",
    "fields.parquet",
    "embeddings.parquet",
    "terms.parquet",
    "submission.csv",
    "variation.parquet",
    "report.html",
    "settings.json",
    "run.json",
)


@pytest.fixture
def tiny_model_folder(model_with_terms):
    """The runs of this file write ``terms.parquet`` too."""
    return model_with_terms


def with_report(out, provenance):
    write_report(out, provenance=provenance)


def read_all(out):
    folders = ("masks", "parts", "previews")
    files = [path for name in folders for path in (out / name).rglob("*") if path.is_file()]
    files += [out / name for name in TABLES]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@pytest.fixture
def shards(run, images, tmp_path, monkeypatch):
    """One whole run, and the same in two shards; field1 fails after it was read."""
    for path in images.glob("field2_*"):  # by its hash, in another shard than the first two
        path.rename(path.with_name(path.name.replace("field2", "field5")))
    predict_field = engine.predict_field

    def fail_on_one(fov, digest, tools):
        if fov.fov_id == "field1":
            raise ImageError("expected less")
        return predict_field(fov, digest, tools)

    monkeypatch.setattr(engine, "predict_field", fail_on_one)
    (images.parent / "train.csv").write_text("ID,Label,gene\nfield0,7|1,ABC1\nfield1,3,ABC1\n")
    images = images.rename(images.with_name("train"))
    options = {"images": str(images), "finish": with_report}
    run(out=tmp_path / "whole" / "run", **options)
    for i in (1, 2):
        run(out=tmp_path / f"s{i}", shard=Shard(i, 2), **options)
    return [tmp_path / "s1", tmp_path / "s2"]


def test_merged_shards_are_one_run_byte_for_byte(shards, run, tmp_path):
    sizes = [pq.read_metadata(shard / "fields.parquet").num_rows for shard in shards]
    assert sum(sizes) == 3
    assert min(sizes) > 0
    shards_said = [json.loads((s / "run.json").read_text())["shards"]["held"] for s in shards]
    assert shards_said == [[1], [2]]
    out = tmp_path / "merged" / "run"
    before = [read_all(shard) for shard in shards]
    seen = []
    summary = merge_runs(
        shards[::-1], out, finish=with_report, progress=lambda *step: seen.append(step)
    )
    assert (summary.n_new, summary.changed, list(summary.failures)) == (2, True, ["field1"])
    assert [step[:2] for step in seen] == [(1, 2), (2, 2)]
    assert read_all(out) == read_all(tmp_path / "whole" / "run")
    assert [read_all(shard) for shard in shards] == before
    # the same command over all fields continues it
    again = run(out=out, images=str(tmp_path / "train"))
    assert not again.changed


def test_the_report_does_not_tell_how_the_work_was_divided(shards, run, tmp_path):
    out = tmp_path / "other" / "run"
    run(out=out, workers=2, images=str(tmp_path / "train"), finish=with_report)
    assert (out / "report.html").read_bytes() == read_all(tmp_path / "whole" / "run")["report.html"]


def test_shards_of_an_older_version_keep_no_outlines(shards, tmp_path):
    shutil.rmtree(shards[0] / "previews" / "outlines")
    out = tmp_path / "merged" / "run"
    merge_runs(shards, out, finish=with_report)
    whole = tmp_path / "whole" / "run"
    assert len(list((out / "previews" / "outlines").iterdir())) == 1
    assert (out / "report.html").read_bytes() == (whole / "report.html").read_bytes()


def test_merged_again_there_is_nothing_to_do(shards, tmp_path):
    out = tmp_path / "merged"
    merge_runs(shards, out, finish=with_report)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}
    again = merge_runs(shards, out, finish=lambda *_: pytest.fail("made again"))
    assert (again.changed, again.n_new) == (False, 0)
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def test_missing_shards_are_refused_unless_asked_and_can_be_added(shards, tmp_path):
    out = tmp_path / "merged" / "run"
    with pytest.raises(InputError, match=r"expected 2 shards, 1 are missing: 2\. .*--missing-ok"):
        merge_runs(shards[:1], out)
    assert not out.exists()
    merge_runs(shards[:1], out, missing_ok=True, finish=with_report)
    assert json.loads((out / "run.json").read_text())["shards"] == {"of": 2, "held": [1]}
    merge_runs(shards, out, finish=with_report)
    assert read_all(out) == read_all(tmp_path / "whole" / "run")
    # what was merged can be merged
    half, whole = tmp_path / "half", tmp_path / "again" / "run"
    merge_runs(shards[1:], half, missing_ok=True)
    merge_runs([half, shards[0]], whole, finish=with_report)
    assert read_all(whole) == read_all(out)


def test_an_empty_shard_is_a_run_without_fields(run, tmp_path):
    summary = run(out=tmp_path / "none", shard=Shard(1, 50), finish=with_report)
    assert summary.provenance["counts"]["fields"] == 0
    assert not run(out=tmp_path / "none", shard=Shard(1, 50)).changed
    assert pq.read_table(tmp_path / "none" / "cells.parquet").num_rows == 0


def test_runs_that_do_not_belong_together_are_refused(shards, run, tmp_path):
    images, out = str(tmp_path / "train"), tmp_path / "out"
    other = tmp_path / "other"
    run(out=other, shard=Shard(2, 2), border="flag", images=images)
    with pytest.raises(InputError, match=r"other settings.*border \(there reject, here flag\)"):
        merge_runs([shards[0], other], out)
    with pytest.raises(InputError, match="holds shard 1, and so does"):
        merge_runs([*shards, shutil.copytree(shards[0], tmp_path / "copy")], out)
    thirds = tmp_path / "thirds"
    run(out=thirds, shard=Shard(1, 3), images=images)
    with pytest.raises(InputError, match=r"one of 3 shards, .*s1 is one of 2"):
        merge_runs([shards[0], thirds], out)
    with pytest.raises(InputError, match=r"a whole run; .*--shard i/N"):
        merge_runs([shards[0], tmp_path / "whole" / "run"], out)
    with pytest.raises(InputError, match="is one of the runs"):
        merge_runs(shards, shards[0])
    with pytest.raises(InputError, match="at least one run folder"):
        merge_runs([], out)
    with pytest.raises(InputError, match="expected a run folder"):
        merge_runs([tmp_path], out)
    said = json.loads((other / "run.json").read_text())
    del said["inputs_sha256"]
    (other / "run.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="got another command's"):
        merge_runs([other], out)
    assert not out.exists()


def test_overlapping_fields_are_refused(shards, tmp_path):
    run = json.loads((shards[1] / "run.json").read_text())
    for name in ("run.json", "fields.parquet"):
        shutil.copy(shards[0] / name, shards[1] / name)
    said = json.loads((shards[1] / "run.json").read_text()) | {"shards": run["shards"]}
    (shards[1] / "run.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"s2: holds field field\d, and so does .*s1"):
        merge_runs(shards, tmp_path / "out")


@pytest.mark.parametrize(
    ("lost", "told"),
    [("run.json", "not finished"), ("fields.parquet", "not whole, it has no fields.parquet")],
)
def test_half_done_runs_are_refused(shards, tmp_path, lost, told):
    (shards[1] / lost).unlink()
    with pytest.raises(InputError, match=f"{told}.* Run the same 'hpacells run' command again"):
        merge_runs(shards, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_whose_files_are_not_what_it_says_is_refused(shards, tmp_path):
    done = json.loads((shards[1] / "run.json").read_text())["inputs_sha256"]
    fov_id = next(iter(done))
    (shards[1] / "masks" / f"{fov_id}_cells.png").rename(tmp_path / "kept")
    with pytest.raises(OutputError, match=f"{fov_id}_cells.png: missing"):
        merge_runs(shards, tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()
    (tmp_path / "kept").rename(shards[1] / "masks" / f"{fov_id}_cells.png")
    said = json.loads((shards[1] / "run.json").read_text())
    said["inputs_sha256"][fov_id] = "0" * 64
    (shards[1] / "run.json").write_text(json.dumps(said))
    with pytest.raises(OutputError, match=r"not the one that run\.json tells of"):
        merge_runs(shards, tmp_path / "out")


def test_a_folder_of_something_else_is_refused(shards, tmp_path, run):
    out = tmp_path / "out"
    with output_lock(out), pytest.raises(OutputError, match="another hpacells process"):
        merge_runs(shards, out)
    merge_runs(shards, out)
    for name in ("field", "cells"):
        extra = out / "parts" / f"fieldX.{name}.arrow"
        shutil.copy(next((out / "parts").glob(f"*.{name}.arrow")), extra)
    with pytest.raises(OutputError, match=r"holds 1 finished field.* that no run has: fieldX"):
        merge_runs(shards, out)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.txt").write_text("words")
    with pytest.raises(OutputError, match="not empty and not a run folder"):
        merge_runs(shards, thesis)


def test_a_field_merged_from_another_input_is_refused(shards, tmp_path):
    out = tmp_path / "out"
    merge_runs(shards, out)
    said = json.loads((shards[1] / "run.json").read_text())
    fov_id = next(iter(said["inputs_sha256"]))
    said["inputs_sha256"][fov_id] = "0" * 64
    (shards[1] / "run.json").write_text(json.dumps(said))
    with pytest.raises(OutputError, match=f"merged from another input: {fov_id}"):
        merge_runs(shards, out)


def test_without_links_files_are_copied(shards, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(merge_module.os, "link", refuse)
    out = tmp_path / "merged" / "run"
    merge_runs(shards, out, finish=with_report)
    assert read_all(out) == read_all(tmp_path / "whole" / "run")


def test_what_the_runs_disagree_on_is_told(shards, tmp_path):
    said = json.loads((shards[1] / "run.json").read_text())
    said["versions"]["numpy"], said["plan"]["workers"] = "0.1", 9
    (shards[1] / "run.json").write_text(json.dumps(said))
    told = merge_runs(shards, tmp_path / "out").provenance
    assert told["versions"]["numpy"].endswith(" / 0.1")
    assert [plan["workers"] for plan in told["plan"]] == [1, 9]
