"""Whether the scores of cells mean what they say, and doubt rises where it should.

A model's run on simulated fields that it never saw, with found masks, each found cell compared with
the true one that it overlaps by IoU 0.6 or more, as the metric and ``train.truth`` do. *Held out*:
fields as the training's. *Shifted*: the same fields with blur, noise and other brightness of each
stain, and fields of the two densest cell lines alone. *Real*: the 180 single cells, of one location
each; the five locations that occur are judged. Per location the adaptive calibration error and the
Brier skill (``evaluate.calibration``).

Doubt: share of cells above the 90th percentile of the held-out ones, for each shift.
"""

import argparse
import csv
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from cell_samples import class_targets, real_folder
from simulated_data import RESULTS, ROOT, SimulatedData, hpacells, open_data
from transfer import real_crops

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.channels import CHANNELS
from hpacells.core.locations import LOCATIONS
from hpacells.core.storage import write_json
from hpacells.evaluate.calibration import CalibrationScore, score_calibration
from hpacells.evaluate.label_overlap import overlap_labels
from hpacells.images.mask_files import mask_path, read_label_image
from hpacells.runtime.doubt import score_doubt
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.postprocess import calibrate
from hpacells.runtime.registry import resolve_model
from hpacells.runtime.session import open_session

ASKED_ERROR, LEAST_POSITIVES, LEAST_IOU = 0.05, 100, 0.6
DENSE_LINES = ("HAP1", "SH-SY5Y")
BLUR_PX, NOISE, SPREAD = 0.8, 4.0, 0.35
"""Of the shift: Gaussian blur, added noise in grey values, spread of each stain's log-factor."""

Scores = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Scored = tuple[Scores, Truth, Scores]
"""Probabilities ``(N, K)``, what the cells show, doubt ``(N,)``."""


def main() -> None:
    """Simulate, shift, run, score, write the result."""
    options = _options()
    plain = _data(options, "held_out", options.seed, ())
    dense = _data(options, "dense", options.seed + 5000, DENSE_LINES)
    sets = {
        "held out": plain.path,
        "shifted pixels": _shift_pixels(plain, options.work / "shifted"),
        "dense lines": dense.path,
    }
    scored = {name: _scored(path, options) for name, path in sets.items()}
    if (real := real_folder()) is not None:
        scored["real"] = _score_real(real, options.model)
    results = {
        name: [score_calibration(p[:, k], truth[:, k]) for k in range(len(LOCATIONS))]
        for name, (p, truth, _) in scored.items()
    }
    rows = [row for name, scores in results.items() for row in _rows(name, scores)]
    rows += _doubt_rows(scored)
    content = {
        "rows": rows,
        "model": options.model,
        **plain.facts(),
        "scores": {
            name: {loc.key: asdict(s) for loc, s in zip(LOCATIONS, scores, strict=True)}
            for name, scores in results.items()
        },
    }
    write_json(options.results / "calibration.json", content)
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked']})")
    for name, scores in results.items():
        print(
            f"| location, {name} | positives | calibration error | Brier skill |\n|---|---|---|---|"
        )
        for location, score in zip(LOCATIONS, scores, strict=True):
            if score.n_positives:
                print(
                    f"| {location.title} | {score.n_positives} | {score.error:.3f} | "
                    f"{score.brier_skill:.2f} |"
                )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="nfnet-sim")
    parser.add_argument("--data", type=Path, help="dataset with truth; else made from --seed")
    parser.add_argument("--fields", type=int, default=240)
    parser.add_argument("--seed", type=int, default=875_000)
    parser.add_argument("--judging", action="store_true", help="allow seeds from 900000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_calibration")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def _data(
    options: argparse.Namespace, name: str, seed: int, lines: tuple[str, ...]
) -> SimulatedData:
    """Give fields of 768 px at 0.16 µm: the scale of training, and a quarter of the time."""
    if options.data is not None and not lines:
        return open_data(options.data, options.fields, judging=options.judging)
    if seed >= 900_000 and not options.judging:
        sys.exit("--seed: seeds from 900000 are for judging; say --judging if that is meant")
    out = options.work / f"{name}_{seed}"
    fields = max(options.fields // (4 if lines else 1), 1)  # the dense lines have more cells
    chosen = [word for line in lines for word in ("--cell-line", line)]
    settings = ["--fields", fields, "--seed", seed, "--size", 768, "--pixel-size-um", 0.16]
    hpacells("simulate", out, *settings, "--workers", options.workers, *chosen)
    return open_data(out, fields, judging=options.judging)


def _shift_pixels(data: SimulatedData, out: Path) -> Path:
    """Write the same fields blurred, noisier and with other brightness of each stain."""
    truth = out / "truth"
    (out / "train").mkdir(parents=True, exist_ok=True)
    (out / "train.csv").write_bytes((data.path / "train.csv").read_bytes())
    if not truth.exists():
        truth.symlink_to((data.path / "truth").resolve())
    for i, path in enumerate(sorted((data.path / "train").glob("*_red.png"))):
        rng = np.random.default_rng([data.seed, i])
        for stain in CHANNELS:
            name = path.name.replace("_red", f"_{stain.value}")
            pixels = cv2.imread(str(data.path / "train" / name), cv2.IMREAD_GRAYSCALE)
            shifted = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), BLUR_PX)
            shifted *= np.exp(rng.normal(0, SPREAD))
            shifted += rng.normal(0, NOISE, shifted.shape)
            cv2.imwrite(str(out / "train" / name), np.clip(shifted, 0, 255).astype(np.uint8))
    return out


def _scored(data: Path, options: argparse.Namespace) -> Scored:
    """Run the model; give the found cells that have a true partner."""
    run = options.work / f"run_{data.name}_{Path(options.model).name}"
    hpacells("run", data, run, "--model", options.model, "--workers", options.workers)
    cells = pq.read_table(run / "cells.parquet")
    rows = {
        pair: i
        for i, pair in enumerate(
            zip(cells["fov_id"].to_pylist(), cells["cell_id"].to_pylist(), strict=True)
        )
        if cells["status"][i].as_py() != "rejected"
    }
    with (data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        labels = {(row["ID"], int(row["cell_id"])): row["Label"] for row in csv.DictReader(file)}
    partners = [
        (rows[fov_id, found], labels[fov_id, true])
        for fov_id in sorted({fov_id for fov_id, _ in labels})
        for found, true in _matched(run / "masks", data / "truth", fov_id).items()
        if (fov_id, found) in rows
    ]
    chosen = [i for i, _ in partners]
    p = np.stack([cells[name].to_numpy()[chosen] for name in PROBABILITY_COLUMNS], axis=1)
    truth = class_targets([label for _, label in partners])
    return p.astype(np.float64), truth, cells["doubt"].to_numpy()[chosen].astype(np.float64)


def _matched(found: Path, true: Path, fov_id: str) -> dict[int, int]:
    images = [read_label_image(mask_path(folder, fov_id, "cells")) for folder in (found, true)]
    return overlap_labels(*images, fov_id).partners(LEAST_IOU)


def _score_real(real: Path, name: str) -> Scored:
    model = load_model(resolve_model(name))
    crops, masks, labels, _ = real_crops(real, model.spec.crop_spec())
    logits, embedding = open_session(model, threads=1).run(crops, masks)
    p = calibrate(logits, model)
    doubt = score_doubt(model.spec.doubt, crops, masks, embedding, p)
    return p.astype(np.float64), class_targets([str(k) for k in labels]), doubt.astype(np.float64)


def _rows(name: str, scores: list[CalibrationScore]) -> list[dict[str, object]]:
    judged = [i for i, score in enumerate(scores) if score.n_positives >= LEAST_POSITIVES]
    if name == "real":
        judged = [i for i, score in enumerate(scores) if score.n_positives]
    if not judged:
        return []
    asked = name != "real"
    worst = max(judged, key=lambda i: scores[i].error)
    least = min(judged, key=lambda i: scores[i].brier_skill)
    errors = [scores[i].error for i in judged]
    skills = [scores[i].brier_skill for i in judged]
    n = scores[0].n
    within, above = sum(e <= ASKED_ERROR for e in errors), sum(s > 0 for s in skills)
    return [
        {
            "what": f"calibration error, {name}: worst of {len(judged)} locations, {n} cells",
            "asked": f"<= {ASKED_ERROR}" if asked else "reported",
            "measured": f"{max(errors):.3f} ({LOCATIONS[worst].title}), mean "
            f"{np.mean(errors):.3f}, {within} of {len(judged)} within",
            "met": max(errors) <= ASKED_ERROR if asked else None,
        },
        {
            "what": f"Brier skill, {name}: least of {len(judged)} locations",
            "asked": "> 0" if asked else "reported",
            "measured": f"{min(skills):.3f} ({LOCATIONS[least].title}), mean "
            f"{np.mean(skills):.3f}, {above} of {len(judged)} above",
            "met": min(skills) > 0 if asked else None,
        },
    ]


def _doubt_rows(scored: dict[str, Scored]) -> list[dict[str, object]]:
    usual = np.quantile(scored["held out"][2], 0.9)
    return [
        {
            "what": f"doubt above the held-out cells' 90th percentile, {name}",
            "asked": "reported",
            "measured": f"{np.mean(doubt > usual):.2f} of {len(doubt)} cells",
            "met": None,
        }
        for name, (_, _, doubt) in scored.items()
        if name != "held out"
    ]


if __name__ == "__main__":
    main()
