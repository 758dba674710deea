"""Shards, merging and Ray: the same tables as one run, and what each costs.

One run, two shards merged, and Ray on this machine (skipped where it is not installed) work on the
same simulated fields; their tables are compared byte for byte. Merging is timed apart, on many
fields: the parts of a few real ones under many ids, in two shards, so that nothing is predicted.

Prediction written down before the first measurement: merging takes 25 s for 1,000 fields.
"""

import argparse
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from memory import link_fields, measure_peak

from hpacells.core.cell_table import CELL_SCHEMA, CellTable
from hpacells.predict.completion import complete_run
from hpacells.predict.finished_run import FinishedField, read_finished_run
from hpacells.predict.parts import FieldPart, read_part, write_part
from hpacells.predict.run_folder import field_files, prepare_run_folder
from hpacells.predict.shard import Shard, ShardsHeld

ROOT = Path(__file__).parents[1]
TABLES = ("cells.parquet", "fields.parquet", "embeddings.parquet", "submission.csv")
N_DRAWN = 4


def main() -> None:
    """Run each way, compare, time the merging, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_scale_out")
    parser.add_argument("--fields", type=int, default=24)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--merged-fields", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=899_100)
    options = parser.parse_args()
    work, images = options.work, options.work / "images"
    for path in work.glob("out_*"):
        shutil.rmtree(path)
    drawn = ["--fields", N_DRAWN, "--seed", options.seed, "--size", options.size, "--workers", 2]
    measure_peak(["simulate", work / "drawn", *drawn])
    link_fields(work / "drawn" / "train", images, options.fields)

    rows = []
    whole, merged = work / "out_whole", work / "out_merged"
    seconds = measure_peak(["run", images, whole, "--workers", 2])[1]
    rows.append(row(f"one run, {options.fields} fields {options.size}²", f"{seconds:.1f} s"))
    shards = [work / f"out_shard{i}" for i in (1, 2)]
    for i, shard in enumerate(shards, start=1):
        measure_peak(["run", images, shard, "--workers", 2, "--shard", f"{i}/2"])
    measure_peak(["merge", *shards, merged])
    rows.append(compare("two shards, merged: same tables as one run", whole, merged))
    if find_spec("ray") is not None:
        over_ray = work / "out_ray"
        seconds = measure_peak(["run", images, over_ray, "--workers", 2, "--engine", "ray"])[1]
        rows.append(row("the same by Ray on this machine, its start included", f"{seconds:.1f} s"))
        rows.append(compare("Ray: same tables as one run", whole, over_ray))
    rows += time_merging(whole, work, options.merged_fields)
    path = ROOT / "bench" / "results" / "scale_out.json"
    content = {"rows": rows, "seed": options.seed}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2, ensure_ascii=False))


def time_merging(run: Path, work: Path, n_fields: int) -> list[dict[str, object]]:
    """Merge two shards of fields that stand for those of ``run``."""
    shards = [work / f"out_many{i}" for i in (1, 2)]
    for i, out in enumerate(shards, start=1):
        stand_for(run, out, Shard(i, 2), n_fields)
    n_cells = sum(json.loads((s / "run.json").read_text())["counts"]["cells"] for s in shards)
    seconds = measure_peak(["merge", *shards, work / "out_many"])[1]
    what = f"merging {n_fields} fields of {n_cells / n_fields:.0f} cells"
    return [row(what, f"{seconds:.1f} s, {1000 * seconds / n_fields:.1f} ms a field")]


def stand_for(run: Path, out: Path, shard: Shard, n_fields: int) -> None:
    """Make a finished shard of fields that are those of ``run`` under other ids."""
    source = read_finished_run(run)
    prepare_run_folder(out, source.settings)
    ids = [i for i in range(n_fields) if shard.holds(f"f{i:06d}")]
    fields = []
    for i in ids:
        of, fov_id = source.fields[i % len(source.fields)], f"f{i:06d}"
        for old, new in zip(field_files(of.fov_id)[:-2], field_files(fov_id)[:-2], strict=True):
            (out / new).hardlink_to(run / old)
        known, table = read_part(run, of.fov_id)
        column = table.schema.get_field_index("fov_id")
        cells = table.set_column(column, CELL_SCHEMA.field("fov_id"), [[fov_id] * table.num_rows])
        embedding = np.array(table["embedding"].to_pylist(), np.float32)
        digest, predictions = known.pop("digest"), known.pop("predictions")
        cells = CellTable(cells.select(CELL_SCHEMA.names))
        part = FieldPart({**known, "fov_id": fov_id}, cells, embedding, predictions, digest)
        write_part(out, part)
        fields.append(FinishedField(fov_id, of.known))
    how = {"plan": source.plan, **ShardsHeld(shard.of, (shard.index,)).describe()}
    complete_run(out, fields, {}, settings=source.settings, how=how, n_new=len(fields))


def compare(what: str, one: Path, other: Path) -> dict[str, object]:
    """Compare two runs' tables and masks byte for byte."""
    names = [*TABLES, *(str(path.relative_to(one)) for path in sorted(one.glob("masks/*")))]
    same = all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
    return {"what": what, "asked": "yes", "measured": "yes" if same else "no", "met": same}


def row(what: str, measured: str) -> dict[str, object]:
    """Give a row of the table of results of which nothing is asked."""
    return {"what": what, "asked": "", "measured": measured, "met": None}


if __name__ == "__main__":
    sys.exit(main())
