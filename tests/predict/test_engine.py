"""The main job end to end on drawn fields: the contract, resuming, and everything that goes bad."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits

from hpacells.core.cell_table import (
    CELL_SCHEMA,
    EMBEDDING_SCHEMA,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
    CellTable,
)
from hpacells.core.errors import ImageError, InputError, ModelError, OutputError, PixelSizeError
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.storage import output_lock
from hpacells.core.submission import decode_masks, parse_predictions, read_submission
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_masks
from hpacells.predict import engine
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import ExecutionPlan
from hpacells.report.page import write_report
from hpacells.segment.unet import UnetSegmenter

TABLES = ("cells.parquet", "fields.parquet", "embeddings.parquet", "submission.csv")


def read_tables(out: Path) -> dict[str, bytes]:
    masks = {path.name: path.read_bytes() for path in sorted((out / "masks").iterdir())}
    names = (*TABLES, "variation.parquet")
    return {**{name: (out / name).read_bytes() for name in names}, **masks}


def read_rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def damage(images: Path, fov_id: str, content: bytes = b"not an image") -> bytes:
    path = images / f"{fov_id}_red.png"
    before = path.read_bytes()
    path.write_bytes(content)
    return before


def stamps(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}


# the contract


def test_the_run_folder_keeps_the_contract(run, images):
    summary = run()
    out = summary.out
    for name, schema in (
        ("cells.parquet", CELL_SCHEMA),
        ("fields.parquet", FIELD_SCHEMA),
        ("embeddings.parquet", EMBEDDING_SCHEMA),
    ):
        assert pq.read_schema(out / name).equals(schema), name
    cells, fields = read_rows(out / "cells.parquet"), read_rows(out / "fields.parquet")
    keys = [(row["fov_id"], row["cell_id"]) for row in cells]
    assert keys == sorted(keys)
    assert len(keys) > 20
    assert [row["fov_id"] for row in fields] == ["field0", "field1", "field2"]
    assert [(row["height"], row["width"]) for row in fields] == [(150, 200), (210, 130), (150, 200)]
    assert keys == [(r["fov_id"], r["cell_id"]) for r in read_rows(out / "embeddings.parquet")]
    for row in fields:
        masks = read_masks(out / "masks", row["fov_id"], pixel_size_um=row["pixel_size_um"])
        table = pq.read_table(
            out / "cells.parquet", filters=[("fov_id", "==", row["fov_id"])], schema=CELL_SCHEMA
        )
        assert np.array_equal(masks.cell_ids, table["cell_id"].to_numpy())
        checked = CellTable(table)
        assert row["n_ok"] + row["n_border"] + row["n_rejected"] == len(checked)
    scores = np.array([[row[name] for name in PROBABILITY_COLUMNS] for row in cells])
    doubt = np.array([row["doubt"] for row in cells])
    assert doubt == pytest.approx(1 - scores.max(axis=1), abs=1e-6)


def test_a_field_that_looks_wrong_is_done_and_warned_of(run, images):
    shape = cv2.imread(str(images / "field1_red.png"), cv2.IMREAD_GRAYSCALE).shape
    cv2.imwrite(str(images / "field1_red.png"), np.full(shape, 5, np.uint8))
    summary = run(border="flag")
    assert summary.warnings == {"field1": "constant stain: red"}
    assert summary.provenance["measure_settings"]["border"] == "flag"
    rows = read_rows(summary.out / "fields.parquet")
    assert [row["qc_constant_stain"] for row in rows] == [False, True, False]
    assert [row["status"] for row in rows] == ["done"] * 3
    assert run(border="flag").warnings == summary.warnings
    with pytest.raises(OutputError, match="measure_settings"):
        run(border="keep")


def test_run_json_accounts_for_every_field_and_cell(run, images):
    damage(images, "field1")
    provenance = run().provenance
    counts = provenance["counts"]
    assert counts["fields"] == counts["done"] + counts["failed"] == 3
    assert counts["cells"] == counts["ok"] + counts["border"] + counts["rejected"] > 0
    assert sum(provenance["top_locations"].values()) == counts["ok"] + counts["border"]
    assert sorted(provenance["inputs_sha256"]) == ["field0", "field2"]
    assert list(provenance["failed"]) == ["field1"]
    assert provenance["runtime"] == "onnx"
    assert provenance["precision"] == "float32"
    assert provenance["model_id"].startswith("tiny-1@")
    assert provenance["plan"] == {"workers": 1, "threads": 1}
    assert provenance["versions"]["numpy"] == np.__version__


def test_the_submission_holds_every_counted_cell_with_every_class(run, images):
    damage(images, "field2")
    out = run().out
    submission = read_submission(out / "submission.csv")
    assert list(submission) == ["field0", "field1", "field2"]
    assert (submission["field2"].width, submission["field2"].predictions) == (0, "")
    row = submission["field1"]
    assert (row.width, row.height) == (130, 210)
    triples = parse_predictions(row.predictions, where="field1")
    cells = [r for r in read_rows(out / "cells.parquet") if r["fov_id"] == "field1"]
    counted = [r["cell_id"] for r in cells if r["status"] != "rejected"]
    assert [t[0] for t in triples] == list(range(N_LOCATIONS)) * len(counted)
    ids = read_masks(out / "masks", "field1", pixel_size_um=0.64).cells
    runs = decode_masks([t[2] for t in triples], height=210, width=130, where=str)
    areas = runs.areas[::N_LOCATIONS].tolist()
    assert areas == [int((ids == cell_id).sum()) for cell_id in counted]
    assert all(0 <= t[1] <= 1 for t in triples)


def test_a_whole_cell_s_blend_mixes_its_own_and_the_image_s_score(run):
    out = run().out
    field = read_rows(out / "fields.parquet")[0]
    row = read_submission(out / "submission.csv")["field0"]
    triples = parse_predictions(row.predictions, where="field0")
    rows = [r for r in read_rows(out / "cells.parquet") if r["fov_id"] == "field0"]
    counted = [r for r in rows if r["status"] != "rejected"]
    assert any(cell["status"] == "ok" for cell in counted)
    for i, cell in enumerate(counted):
        if cell["status"] == "ok":
            for name, triple in zip(PROBABILITY_COLUMNS, triples[i * N_LOCATIONS :], strict=False):
                image = field[name.replace("p_", "image_", 1)]
                assert triple[1] == pytest.approx(0.7 * cell[name] + 0.3 * image, abs=1e-6)


def test_run_json_is_written_after_all_else_and_its_lack_is_made_up_for(run, tmp_path):
    def fail(out, provenance):
        assert provenance["counts"]["done"] == 3
        assert all((out / name).is_file() for name in TABLES)
        assert not (out / "run.json").exists()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(finish=fail)
    assert not (tmp_path / "out" / "run.json").exists()
    summary = run()
    assert (summary.n_new, summary.changed) == (0, True)
    assert (tmp_path / "out" / "run.json").is_file()


def test_metadata_and_labels_come_from_the_table(run, tmp_path, images):
    dataset = tmp_path / "dataset"
    shutil.copytree(images, dataset / "train")
    (dataset / "train.csv").write_text("ID,Label,gene,cell_line\nfield0,7|1,ABC1,U-2 OS\n")
    out = tmp_path / "labelled"
    summary = run(out=out, images=str(dataset))
    first, second, _ = read_rows(out / "fields.parquet")
    assert (first["image_labels"], first["gene"], first["cell_line"]) == ("1|7", "ABC1", "U-2 OS")
    assert second["image_labels"] is None
    assert summary.changed
    # a corrected table needs no new prediction
    (dataset / "train.csv").write_text("ID,Label,gene\nfield0,7,ABC2\n")
    again = run(out=out, images=str(dataset))
    assert (again.n_new, again.changed) == (0, True)
    first = read_rows(out / "fields.parquet")[0]
    assert (first["image_labels"], first["gene"], first["cell_line"]) == ("7", "ABC2", None)


def test_fields_of_different_pixel_sizes_are_each_read_by_its_own(run, images, tmp_path):
    sizes = {"field0": 0.64, "field1": 0.5, "field2": 0.32}
    dataset = tmp_path / "dataset"
    shutil.copytree(images, dataset / "train")
    rows = "".join(f"{fov_id},0,{size}\n" for fov_id, size in sizes.items())
    (dataset / "train.csv").write_text(f"ID,Label,pixel_size_um\n{rows}")
    mixed = run(out=tmp_path / "mixed", images=str(dataset), pixel_size_um=None).out
    assert {r["fov_id"]: r["pixel_size_um"] for r in read_rows(mixed / "fields.parquet")} == sizes
    together = read_rows(mixed / "cells.parquet")
    for fov_id in ("field0", "field2"):
        alone = run(out=tmp_path / fov_id, pixel_size_um=sizes[fov_id]).out
        of_field = [
            [row for row in table if row["fov_id"] == fov_id]
            for table in (together, read_rows(alone / "cells.parquet"))
        ]
        assert of_field[0] == of_field[1] != []


def test_previews_are_small_pictures_of_the_field_s_shape(run):
    previews = run().out / "previews"
    shapes = (("composite/field1.jpg", (210, 130, 3)), ("stains/field1.jpg", (4 * 216, 130)))
    for name, shape in shapes:
        assert cv2.imread(str(previews / name), cv2.IMREAD_UNCHANGED).shape == shape


def test_kept_outlines_are_those_that_the_report_would_draw(run):
    out = run().out
    with_them = write_report(out).read_bytes()
    kept = sorted((out / "previews" / "outlines").iterdir())
    assert [path.name for path in kept] == ["field0.json", "field1.json", "field2.json"]
    content = json.loads(kept[0].read_text())
    mask = cv2.imread(str(out / "masks" / "field0_cells.png"), cv2.IMREAD_UNCHANGED)
    assert [cell[0] for cell in content["cells"]] == np.unique(mask[mask > 0]).tolist()
    assert content["of"]["mask_crc32"] == zlib.crc32(
        (out / "masks" / "field0_cells.png").read_bytes()
    )
    shutil.rmtree(out / "previews" / "outlines")
    assert write_report(out).read_bytes() == with_them


def test_a_field_without_a_cell_is_done_and_empty(run, images):
    for channel in ("red", "green", "blue", "yellow"):
        cv2.imwrite(str(images / f"field1_{channel}.png"), np.zeros((100, 155), np.uint8))
    out = run().out
    row = read_rows(out / "fields.parquet")[1]
    assert (row["status"], row["n_ok"], row["image_cytosol"]) == ("done", 0, 0)
    submitted = read_submission(out / "submission.csv")["field1"]
    assert (submitted.width, submitted.height, submitted.predictions) == (155, 100, "")


def test_a_run_of_nothing_but_bad_fields_still_writes_its_tables(run, images):
    for i in range(3):
        damage(images, f"field{i}")
    summary = run()
    assert summary.provenance["counts"]["failed"] == 3
    assert pq.read_table(summary.out / "cells.parquet").num_rows == 0
    assert (summary.out / "run.json").is_file()


# the same bytes however the work is done


def test_a_field_s_results_do_not_depend_on_the_fields_and_cells_beside_it(run, images, tmp_path):
    whole = read_rows(run(out=tmp_path / "whole").out / "cells.parquet")
    alone = []
    for i in (2, 0, 1):
        folder = tmp_path / f"images{i}"
        folder.mkdir()
        for path in images.glob(f"field{i}_*"):
            shutil.copy(path, folder)
        alone += read_rows(
            run(out=tmp_path / f"alone{i}", images=str(folder)).out / "cells.parquet"
        )
    assert sorted(alone, key=lambda row: (row["fov_id"], row["cell_id"])) == whole


@pytest.mark.parametrize(("workers", "threads"), [(3, 1), (2, 2)])
def test_workers_and_threads_change_no_byte(run, tmp_path, workers, threads):
    one = read_tables(run(out=tmp_path / "one").out)
    other = read_tables(run(out=tmp_path / "other", workers=workers, threads=threads).out)
    assert one == other


def test_an_interrupted_run_continues_to_the_same_bytes(run, tmp_path):
    whole = read_tables(run(out=tmp_path / "whole").out)

    def interrupt(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(out=out, progress=interrupt)
    assert not (out / "run.json").exists()
    seen = []
    summary = run(out=out, workers=2, progress=lambda done, total, what: seen.append((done, total)))
    assert (seen, summary.n_new) == ([(3, 3)], 1)
    assert read_tables(out) == whole


def test_a_killed_run_leaves_no_half_written_file_and_continues(run, tmp_path, images):
    whole = read_tables(run(out=tmp_path / "whole").out)
    settings = json.loads((tmp_path / "whole" / "settings.json").read_text())
    model = tmp_path / "models" / "tiny"
    out = tmp_path / "out"
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hpacells.images.discover import discover_fields\n"
        "from hpacells.predict.config import RunSettings\n"
        "from hpacells.predict.engine import run_fields\n"
        "from hpacells.predict.plan import ExecutionPlan\n"
        "images, model, out = sys.argv[1:]\n"
        "run_fields(discover_fields(Path(images), pixel_size_um=0.64), Path(out),\n"
        "    RunSettings(images=images, model=model, pixel_size_um=0.64),\n"
        "    plan=ExecutionPlan(1, 1), progress=lambda *_: time.sleep(60))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, settings["images"], model, out])
    try:
        part = out / "parts" / "field0.field.arrow"
        deadline = time.monotonic() + 180
        while not part.is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert part.is_file()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (out / "masks" / ".field1_cells.1.tmp.png").write_bytes(b"half")
    assert not (out / "run.json").exists()
    summary = run(out=out)
    assert summary.n_new < 3
    assert read_tables(out) == whole
    assert not list(out.rglob(".*.tmp*"))


# asked again


def test_a_finished_run_asked_again_rewrites_nothing(run):
    first = run(finish=lambda out, provenance: (out / "report.html").write_text("x"))
    before = stamps(first.out)
    again = run(finish=lambda out, provenance: pytest.fail("the report was made again"))
    assert (again.changed, again.n_new) == (False, 0)
    assert again.provenance == json.loads((first.out / "run.json").read_text())
    assert stamps(first.out) == before


def test_new_fields_are_added_and_the_result_is_that_of_one_run(
    run, images, tmp_path, write_quadruplet
):
    out = tmp_path / "out"
    run(out=out)
    write_quadruplet(images, "field00", seed=9, shape=(150, 200), pixel_size_um=0.64)
    seen = []
    summary = run(out=out, progress=lambda done, total, what: seen.append(what))
    assert (seen, summary.n_new) == (["field00"], 1)
    assert read_tables(out) == read_tables(run(out=tmp_path / "whole").out)


def test_a_bad_field_is_recorded_passed_over_and_tried_again(run, images, tmp_path):
    good = damage(images, "field1")
    first = run()
    assert "field1" in first.failures["field1"]
    row = read_rows(first.out / "fields.parquet")[1]
    assert (row["status"], row["width"], row["n_ok"]) == ("failed", 0, 0)
    assert row["reason"] == first.failures["field1"]
    assert row["image_cytosol"] is None
    before = stamps(first.out)
    again = run()
    assert (again.changed, again.failures) == (False, first.failures)
    assert stamps(first.out) == before
    (images / "field1_red.png").write_bytes(good)
    repaired = run()
    assert (repaired.n_new, repaired.failures) == (1, {})
    assert read_tables(first.out) == read_tables(run(out=tmp_path / "whole").out)


def test_a_lost_table_is_made_again_without_predicting(run):
    first = run()
    cells = (first.out / "cells.parquet").read_bytes()
    (first.out / "cells.parquet").unlink()
    again = run()
    assert (again.changed, again.n_new) == (True, 0)
    assert (first.out / "cells.parquet").read_bytes() == cells


def test_the_classifier_does_not_see_a_stain_declared_missing(run, images, tmp_path):
    named = {"segmenter": "unet", "missing": ("yellow",)}
    with_stain = run(out=tmp_path / "with", **named).out
    asked = read_tables(run(out=tmp_path / "unasked", segmenter="unet").out)
    for path in images.glob("*_yellow.png"):
        cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    without = run(out=tmp_path / "without", **named).out
    assert len(read_rows(without / "cells.parquet")) > 0
    name = "embeddings.parquet"
    assert (with_stain / name).read_bytes() == (without / name).read_bytes()
    assert (with_stain / name).read_bytes() != asked[name]
    kept = [
        [[row[p] for p in PROBABILITY_COLUMNS] for row in read_rows(out / "cells.parquet")]
        for out in (with_stain, without)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("error", [MemoryError(), ValueError("odd\nshape"), cv2.error("inside")])
def test_what_goes_wrong_with_one_field_stays_with_it(run, monkeypatch, error):
    outline = engine.predict_field

    def fail_on_second(fov, digest, tools):
        if fov.fov_id == "field1":
            raise error
        return outline(fov, digest, tools)

    monkeypatch.setattr(engine, "predict_field", fail_on_second)
    summary = run()
    assert list(summary.failures) == ["field1"]
    assert "\n" not in summary.failures["field1"]
    submitted = read_submission(summary.out / "submission.csv")["field1"]
    assert (submitted.width, submitted.height) == (130, 210)  # it was read before it failed


# refused


def test_a_changed_input_is_refused(run, images, write_quadruplet):
    out = run().out
    before = stamps(out)
    write_quadruplet(images, "field2", seed=77, shape=(150, 200), pixel_size_um=0.64)
    with pytest.raises(OutputError, match=r"1 finished field\(s\) changed since: field2"):
        run()
    (images / "field2_red.png").unlink()
    with pytest.raises(OutputError, match="changed since: field2"):
        run()
    assert stamps(out) == before


def test_an_input_that_disappeared_is_refused(run, images):
    run()
    for path in images.glob("field1_*"):
        path.unlink()
    with pytest.raises(OutputError, match=r"no longer have: field1\. Put them back"):
        run()


def test_another_request_in_the_same_folder_is_refused(run, images, make_model_folder):
    run()
    with pytest.raises(OutputError, match=r"another model_id .*other-1"):
        run(model=str(make_model_folder("other", seed=2)))
    with pytest.raises(OutputError, match=r"another pixel_size_um \(there 0.64, asked for 0.5\)"):
        run(pixel_size_um=0.5)
    moved = images.rename(images.with_name("moved"))
    with pytest.raises(OutputError, match=r"another images .*moved"):
        run(images=str(moved))


def test_the_same_model_in_another_place_is_the_same(run, tmp_path, tiny_model_folder):
    run()
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model_folder, copy)
    assert not run(model=str(copy)).changed


def test_a_folder_of_something_else_is_refused_and_left_alone(run, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.txt").write_text("words")
    with pytest.raises(OutputError, match="not empty and not a run folder"):
        run(out=out)
    assert [path.name for path in out.iterdir()] == ["chapter1.txt"]


def test_two_runs_at_once_are_refused(run, tmp_path):
    with (
        output_lock(tmp_path / "out"),
        pytest.raises(OutputError, match="another hpacells process"),
    ):
        run()


def test_a_damaged_model_stops_the_run(run, tiny_model_folder):
    (tiny_model_folder / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="damaged"):
        run()


@pytest.mark.parametrize("kind", [ImageError, ModelError])
def test_a_field_that_cannot_be_outlined_fails_alone(run, monkeypatch, kind):
    whole = UnetSegmenter.__call__

    def fail(self, fov):
        if fov.fov_id == "field1":
            raise kind("expected less")
        return whole(self, fov)

    monkeypatch.setattr(UnetSegmenter, "__call__", fail)
    summary = run(segmenter="unet")
    assert summary.failures == {"field1": "field field1: expected less"}
    rows = read_rows(summary.out / "fields.parquet")
    assert [row["status"] for row in rows] == ["done", "failed", "done"]


def test_no_field_or_one_twice_is_refused(tmp_path, images):
    records = discover_fields(images)
    with pytest.raises(InputError, match="at least one field"):
        run_fields([], tmp_path / "out", None, plan=ExecutionPlan(1, 1))
    with pytest.raises(InputError, match="field0 comes twice"):
        run_fields([*records, records[0]], tmp_path / "out", None, plan=ExecutionPlan(1, 1))
    assert not (tmp_path / "out").exists()


# what stops a run keeps what was finished


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_run_and_keeps_finished_fields(run, monkeypatch, workers, tmp_path):
    commit, committed = engine.commit_field, []

    def fail_later(out, result):
        if committed:
            raise OSError(28, "No space left on device")
        committed.append(result.part.fov_id)
        commit(out, result)

    monkeypatch.setattr(engine, "commit_field", fail_later)
    with pytest.raises(OSError, match="No space left"):
        run(workers=workers)
    monkeypatch.undo()
    assert not (tmp_path / "out" / "run.json").exists()
    summary = run()
    assert (summary.n_new, summary.failures) == (2, {})


def test_an_unknown_pixel_size_stops_the_run(run, monkeypatch):
    def refuse(record):
        raise PixelSizeError("give --pixel-size-um")

    monkeypatch.setattr(engine, "read_input", refuse)
    with pytest.raises(PixelSizeError):
        run()


def test_when_a_run_ends_early_no_worker_writes_any_more(run, monkeypatch, tmp_path):
    alive = threading.active_count()

    def interrupt(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workers=3, progress=interrupt)
    assert threading.active_count() == alive
    finished = sorted((tmp_path / "out" / "parts").iterdir())
    with output_lock(tmp_path / "out"):
        assert sorted((tmp_path / "out" / "parts").iterdir()) == finished


def test_libraries_start_no_threads_of_their_own_and_get_them_back(run, blas_threads):
    found = []

    def look(done, total, what):
        found.append((blas_threads(), cv2.getNumThreads()))

    before = cv2.getNumThreads()
    with threadpool_limits(limits=2, user_api="blas"):
        run(threads=2, progress=look)
        assert found
        assert all(threads == ({1}, 2) for threads in found)
        assert blas_threads() == {2}
    assert cv2.getNumThreads() == before


def test_the_pictures_of_one_field_are_not_those_of_another(run, images):
    # the protein of field "a" and the composite of field "a_protein" shared one file name
    for colour in ("red", "green", "blue", "yellow"):
        for source, fov_id in (("field0", "a"), ("field1", "a_protein")):
            shutil.copy(images / f"{source}_{colour}.png", images / f"{fov_id}_{colour}.png")
    previews = run().out / "previews"
    assert cv2.imread(str(previews / "stains" / "a.jpg"), cv2.IMREAD_UNCHANGED).ndim == 2
    assert cv2.imread(str(previews / "composite" / "a_protein.jpg")).shape[:2] == (210, 130)
