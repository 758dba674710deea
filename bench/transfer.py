"""Try on real cells what a network learned from simulated ones.

Real: the 180 single cells under ``HPACELLS_REAL_DATA`` (classes 0, 2, 13, 14, 16; the label is the
image's, single cells were not verified). Every cell gets 19 scores. For each of the five classes
all 180 cells are ranked by that class's score; cells are weighted so that the five classes weigh
the same. Macro average precision over the five, with a 95 % interval: whole mosaics resampled.

The network is trained on simulated cells with their *true* locations (``transfer_training``; it
continues where it was stopped, and a finished one is only tried), from the shipped classifier's
weights, or with ``--start random`` from none. Its fields have 0.16 µm per pixel, finer than its
crops, and its cells are not put through the mosaics' processing but degraded at random. Beside it
two baselines, the green nucleus/cytoplasm ratio alone and all hand-made features, trained on other
simulated cells: of fields of 0.08 µm, put through the same turning, masking, shrinking and JPEG as
the real ones. ``--compare`` adds an existing model folder to the table; ``--model`` tries one and
nothing else, with a result file of its own; neither is judged.

A class has 18-54 cells, of two to six mosaics. Mosaics are resampled within their class, so that
every draw has all five; the interval of a class of two mosaics has four different draws and says
little.

Examples: HPACELLS_REAL_DATA=data python bench/transfer.py --fields 1500 --precision bf16-mixed
          HPACELLS_REAL_DATA=data python bench/transfer.py --start random --learning-rate 3e-3
          HPACELLS_REAL_DATA=data python bench/transfer.py --model nfnet-sim
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import numpy.typing as npt
from cell_features import PIXEL_UM, outline_cell
from cell_samples import (
    SKIPPED,
    class_targets,
    real_cells,
    real_folder,
    real_quality,
    real_tiles,
    simulated_cells,
)
from simulated_data import add_options, dataset, open_data
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from hpacells.core.crop_spec import CropSpec
from hpacells.core.fov import FieldOfView
from hpacells.core.locations import LOCATIONS, N_LOCATIONS
from hpacells.core.masks import CellMasks
from hpacells.core.storage import write_json
from hpacells.crops.extract import extract_crops
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import resolve_model
from hpacells.runtime.session import open_session

ASKED_MACRO, ASKED_CLASS = 0.80, 0.60
N_BOOTSTRAP = 1000
RATIO = "ratio:green:log_nucleus_to_cytoplasm"
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def real_crops(
    real: Path, spec: CropSpec
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], Labels, npt.NDArray[np.str_]]:
    """Cut the real cells as a model wants them; their class and their mosaic."""
    crops, masks, labels, groups = [], [], [], []
    for name, label, tile in real_tiles(real):
        cell, nucleus = outline_cell(tile)
        ids = CellMasks(cell.astype(np.int32), nucleus.astype(np.int32), "support", PIXEL_UM)
        found, inside = extract_crops(FieldOfView(name, tile, PIXEL_UM, 255), ids, [1], spec)
        crops.append(found[0])
        masks.append(inside[0])
        labels.append(int(label))
        groups.append(name)
    return np.stack(crops), np.stack(masks), np.array(labels), np.array(groups)


def class_precisions(scores: Floats, labels: Labels, chosen: Labels | None = None) -> Floats:
    """Give the average precision per class present, classes weighing the same.

    Parameters
    ----------
    scores
        ``(N, 19)``.
    labels
        ``(N,)`` one class each.
    chosen
        Rows to use (with repeats); None for all.
    """
    classes = np.unique(labels)
    if chosen is not None:
        scores, labels = scores[chosen], labels[chosen]
    counts = np.bincount(labels, minlength=N_LOCATIONS)
    weights = 1.0 / counts[labels]
    return np.array(
        [
            average_precision_score(labels == k, scores[:, k], sample_weight=weights)
            if counts[k]
            else np.nan
            for k in classes
        ]
    )


def evaluate(scores: Floats, labels: Labels, groups: npt.NDArray[np.str_]) -> dict[str, Any]:
    """Score with intervals; mosaics are resampled within their class.

    Parameters
    ----------
    scores
        ``(N, 19)``.
    labels
        ``(N,)`` one class each.
    groups
        ``(N,)`` the mosaic of each cell; all cells of a mosaic are of one class.
    """
    classes = np.unique(labels)
    rng = np.random.default_rng(0)
    members = [
        [np.flatnonzero((groups == g) & (labels == k)) for g in np.unique(groups[labels == k])]
        for k in classes
    ]
    draws = []
    for _ in range(N_BOOTSTRAP):
        drawn = [own[i] for own in members for i in rng.integers(len(own), size=len(own))]
        draws.append(class_precisions(scores, labels, np.concatenate(drawn)))
    found = class_precisions(scores, labels)
    bounds = np.percentile(draws, [2.5, 97.5], axis=0).T
    return {
        "macro": float(found.mean()),
        "interval": np.percentile(np.mean(draws, axis=1), [2.5, 97.5]).tolist(),
        "classes": {
            LOCATIONS[k].key: {
                "ap": float(ap),
                "low": float(low),
                "high": float(high),
                "mosaics": len(own),
            }
            for k, ap, (low, high), own in zip(classes, found, bounds, members, strict=True)
        },
    }


def _model_scores(name: str, real: Path) -> tuple[Floats, Labels, npt.NDArray[np.str_]]:
    model = load_model(resolve_model(name))
    crops, masks, labels, groups = real_crops(real, model.spec.crop_spec())
    logits, _ = open_session(model, threads=1).run(crops, masks)
    scale, bias = (np.array(v) for v in vars(model.spec.calibration).values())
    return 1 / (1 + np.exp(-(logits * scale + bias))), labels, groups


def baselines(
    options: argparse.Namespace, real: Path
) -> tuple[dict[str, Any], dict[str, str | int | float]]:
    """Train the ratio, and all hand-made features, on simulated cells; try them on the real."""
    if options.baseline_data is not None:
        data = open_data(options.baseline_data, options.baseline_fields, judging=options.judging)
    else:
        own = {"data": None, "fields": options.baseline_fields, "size": 2048}
        data = dataset(argparse.Namespace(**{**vars(options), **own, "pixel_size_um": 0.08}))
    simulated = simulated_cells(
        data, options.work, workers=options.workers, quality=real_quality(real)
    )
    cells = real_cells(real, options.work)
    labels = np.array([int(v) for v in cells.labels])
    targets = class_targets(simulated.labels)
    found = {}
    ratio = [cells.names.index(RATIO)]
    everything = list(range(len(cells.names)))
    for name, used, depth in (
        ("nucleus/cytoplasm ratio of green", ratio, 3),
        ("hand-made features", everything, 4),
    ):
        scores = np.zeros((len(labels), N_LOCATIONS))
        for k in np.unique(labels):
            if not 0 < targets[:, k].sum() < len(targets):
                print(f"no simulated cells of class {k}: it scores 0")
                continue
            model = HistGradientBoostingClassifier(
                max_iter=60, max_depth=depth, learning_rate=0.08, random_state=0
            )
            model.fit(simulated.values[:, used], targets[:, k])
            scores[:, k] = model.predict_proba(cells.values[:, used])[:, 1]
        found[name] = evaluate(scores, labels, cells.groups)
    return found, data.facts() | {"cells": len(targets)}


def describe(found: dict[str, dict[str, Any]]) -> str:
    """Say it in plain lines."""
    lines = []
    for name, result in found.items():
        low, high = result["interval"]
        lines.append(f"{name}: macro AP {result['macro']:.3f} ({low:.3f}-{high:.3f})")
        for key, value in result["classes"].items():
            few = ": the interval means little" if value["mosaics"] < 3 else ""
            lines.append(
                f"  {key:18} AP {value['ap']:.3f} ({value['low']:.3f}-{value['high']:.3f}), "
                f"{value['mosaics']} mosaics{few}"
            )
    return "\n".join(lines)


def rows_of(name: str, result: dict[str, Any], *, judged: bool) -> list[dict[str, Any]]:
    """Give the result's rows: macro, then each class."""
    low, high = result["interval"]
    rows = [
        {
            "what": f"real cells, macro AP of 5 classes, {name}",
            "asked": f">= {ASKED_MACRO:.2f}" if judged else "reported",
            "measured": f"{result['macro']:.3f} ({low:.3f}-{high:.3f})",
            "met": result["macro"] >= ASKED_MACRO if judged else None,
        }
    ]
    rows += [
        {
            "what": f"real cells, AP of {key} ({value['mosaics']} mosaics), {name}",
            "asked": f">= {ASKED_CLASS:.2f}" if judged else "reported",
            "measured": f"{value['ap']:.3f} ({value['low']:.3f}-{value['high']:.3f})",
            "met": value["ap"] >= ASKED_CLASS if judged else None,
        }
        for key, value in result["classes"].items()
    ]
    return rows


def main() -> int:
    options = _options()
    real = real_folder()
    if real is None:
        print(SKIPPED)
        return 0
    if options.model:
        name = f"model {options.model}"
        found = {name: evaluate(*_model_scores(options.model, real))}
        file = f"transfer_model_{Path(options.model).name}"
        _write(options.results / file, found, rows_of(name, found[name], judged=False), {})
        return 0
    from transfer_training import real_scores, train_network  # noqa: PLC0415  torch: only here

    data = dataset(options)
    network, spec = train_network(data, options)
    crops, masks, labels, groups = real_crops(real, spec)
    judged = f"network, true locations, {options.steps} steps from {options.start} weights"
    found = {judged: evaluate(real_scores(network, crops, masks), labels, groups)}
    facts: dict[str, Any] = {"training": data.facts(), "start": options.start}
    if options.compare:
        found[f"model {options.compare}"] = evaluate(*_model_scores(options.compare, real))
    if not options.no_baseline:
        more, facts["baseline"] = baselines(options, real)
        found |= more
    rows = [
        r for name, result in found.items() for r in rows_of(name, result, judged=name == judged)
    ]
    _write(options.results / "transfer", found, rows, facts)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, fields=1500, size=768, pixel_size_um=0.16)
    parser.add_argument("--model", help="try this model folder instead of training")
    parser.add_argument("--compare", help="a model folder to put beside the network")
    parser.add_argument(
        "--start", default="nfnet-sim", help="model whose weights it starts from, or random"
    )
    parser.add_argument("--steps", type=int, default=3000, help="steps of 64 cells: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--precision", default="32-true", help="32-true, or bf16-mixed where the CPU has it"
    )
    parser.add_argument("--baseline-data", type=Path, help="fields of 0.08 µm; made when not given")
    parser.add_argument("--baseline-fields", type=int, default=100)
    parser.add_argument("--no-baseline", action="store_true")
    return parser.parse_args()


def _write(
    path: Path, found: dict[str, Any], rows: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    """Write ``path``.json and .txt, and print."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path.parent / f"{path.name}.json", {"rows": rows, **facts, "scores": found})
    text = describe(found)
    (path.parent / f"{path.name}.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
