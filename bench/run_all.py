"""Run every benchmark; gather their figures in ``bench/results.json`` and ``results/table.md``.

Each ``bench/<name>.py`` writes ``bench/results/<name>.json``: a list of rows with ``what``,
``asked``, ``measured``, and ``met`` (true, false or null where nothing was asked).
``transfer`` trains a network, which takes hours the first time. Those in ``LONG`` train several to
dozens, or use what these made: they run only when they are named, and their kept results stay. Name
benchmarks to run only those: ``python bench/run_all.py metric_speed memory``.
"""

import json
import subprocess
import sys
from pathlib import Path

from hpacells.core.storage import write_json

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NOT_BENCHES = {
    "run_all",
    "atlas_server",
    "brute_force",
    "cell_features",
    "cell_samples",
    "realism_statistics",
    "simulated_data",
    "transfer_training",
    "weak_data",
    "weak_runs",
}
LONG = {"corrections", "int8_classifier", "left_out_lines", "networks", "variation", "weak_labels"}


def main() -> int:
    """Run each benchmark in a process of its own; 1 when one of them fails to run."""
    names = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NOT_BENCHES)
    if unknown := sorted(set(sys.argv[1:]) - set(names)):
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    wanted = [name for name in names if name in (sys.argv[1:] or set(names) - LONG)]
    if not sys.argv[1:]:
        print(
            f"skipped, for they take many hours; name them to run them: {', '.join(sorted(LONG))}"
        )
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode:
            failed.append(name)
    write_table()
    print(f"wrote {RESULTS / 'table.md'}" + (f"; did not run: {failed}" if failed else ""))
    return 1 if failed else 0


def write_table() -> None:
    """Write every result that is there as one Markdown table and as one JSON file."""
    lines = ["| benchmark | what | asked | measured | met |", "|---|---|---|---|---|"]
    gathered = {}
    for path in sorted(RESULTS.glob("*.json")):
        gathered[path.stem] = json.loads(path.read_text(encoding="utf-8"))["rows"]
        for row in gathered[path.stem]:
            met = {True: "yes", False: "**no**", None: ""}[row["met"]]
            lines.append(
                f"| {path.stem} | {row['what']} | {row['asked']} | {row['measured']} | {met} |"
            )
    (RESULTS / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(RESULTS.with_suffix(".json"), gathered)


if __name__ == "__main__":
    sys.exit(main())
