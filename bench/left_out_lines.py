"""How much the shipped recipe loses on cell lines that it never saw (simulated fields).

Three times three cell lines are drawn. A network learns by the recipe from the fields of all others
but these, and is judged on cells of these lines in fields of unseen seeds. Beside it stands one
that learned from as many fields of all lines. Same steps, same cells to judge, labels of whole
images only; mean average precision over cells, 95 % over genes. Asked: reported.

Prediction written down before the first measurement: a loss of 0.03; the shapes differ between
lines more than the patterns do, and contrast within the cell takes staining strength away.

Trainings are kept (``weak_runs``), and continued; ``--part 1/2`` and ``--part 2/2`` share them
between two processes, and a last call without ``--part`` writes the result.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from weak_data import BenchCells, cells_of, first_fields, keep_fields, middle
from weak_runs import (
    Run,
    add_options,
    part_of,
    shipped_recipe,
    train_and_score,
)

from hpacells.core.storage import write_json
from hpacells.train.config import TrainConfig

ROOT = Path(__file__).parents[1]
CROP_PX = 96
TRIOS, LINES_OUT = 3, 3
Fields = npt.NDArray[np.int64]


def main() -> None:
    """Train what is missing of this process's part; write the result when all is there."""
    options = _options()
    torch.set_num_threads(1)
    cells = middle(first_fields(cells_of("train", options.work), options.fields), CROP_PX)
    test = middle(cells_of("test", options.work), CROP_PX)
    trios = draw_trios(sorted(set(cells.lines)))
    jobs = [(i, kind) for i in range(len(trios)) for kind in ("left out", "all lines")]
    part = part_of(jobs, options.part)
    runs = {
        (i, kind): train_and_score(
            options.work / "left_out_lines" / f"{i}_{kind.replace(' ', '-')}",
            _recipe(options),
            learned_from(cells, trios[i], left_out=kind == "left out").data,
            _of_lines(test, trios[i]),
        )
        for i, kind in part
    }
    if len(part) == len(jobs):
        _report(runs, trios, options)


def draw_trios(lines: list[str]) -> list[tuple[str, ...]]:
    """Draw disjoint sets of cell lines, always the same."""
    order = np.random.default_rng(0).permutation(lines)
    return [
        tuple(sorted(str(line) for line in order[LINES_OUT * i : LINES_OUT * (i + 1)]))
        for i in range(TRIOS)
    ]


def learned_from(cells: BenchCells, trio: tuple[str, ...], *, left_out: bool) -> BenchCells:
    """Keep the fields of the other lines, or as many of all lines, drawn at random."""
    others = np.flatnonzero(~np.isin(cells.lines, trio))
    drawn = np.random.default_rng(0).choice(len(cells.lines), len(others), replace=False)
    return keep_fields(cells, others if left_out else np.sort(drawn))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add_options(parser)
    parser.add_argument("--epochs", type=int, default=12, help="of every training: %(default)s")
    return parser.parse_args()


def _recipe(options: argparse.Namespace) -> TrainConfig:
    changes = {"crop_px": CROP_PX, "epochs": options.epochs, "precision": options.precision}
    return shipped_recipe(changes | {"compile": options.compile, "val_fraction": 0})


def _of_lines(test: BenchCells, trio: tuple[str, ...]) -> BenchCells:
    """Leave the truth of other lines' cells out of what is judged."""
    member = np.isin(test.lines, trio)[test.data.field_of_cell]
    return replace(test, truth=replace(test.truth, known=test.truth.known & member))


def _report(
    runs: dict[tuple[int, str], Run],
    trios: list[tuple[str, ...]],
    options: argparse.Namespace,
) -> None:
    rows, lost = [], []
    for i, trio in enumerate(trios):
        shown = [
            (kind, runs[i, kind].mean(), *runs[i, kind].interval())
            for kind in ("left out", "all lines")
        ]
        lost.append(shown[1][1] - shown[0][1])
        rows.append(
            {
                "what": f"cell mAP on {', '.join(trio)}",
                "asked": "reported",
                "measured": "; ".join(f"{k} {v:.3f} ({a:.3f}-{b:.3f})" for k, v, a, b in shown),
                "met": None,
            }
        )
    rows.append(
        {
            "what": "cell mAP lost on lines that were left out, mean of three trios",
            "asked": "reported",
            "measured": f"{np.mean(lost):.3f} ({min(lost):.3f} to {max(lost):.3f})",
            "met": None,
        }
    )
    facts = {"fields": options.fields, "epochs": options.epochs, "precision": options.precision}
    write_json(ROOT / "bench" / "results" / "left_out_lines.json", {"rows": rows, **facts})
    for row in rows:
        print(f"{row['what']}: {row['measured']}")


if __name__ == "__main__":
    main()
