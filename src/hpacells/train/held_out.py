"""What the finished model is worth on the held-out fields: all scores, and each cell line's.

Three scores: of images, by their labels; of found cells, by their truth; and the competition's
strict metric, by the outlines and the truth's masks. The last two only where the data set's truth
is known (``train.truth``), and the scores are the model's, after its calibration and
post-processing.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from hpacells.core.cell_table import CellTable
from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS
from hpacells.core.predictions import PredictionTable
from hpacells.core.submission import (
    SubmissionRow,
    encode_cells,
    format_predictions,
    read_submission,
    write_submission,
)
from hpacells.crops.field_crops import kept_rows
from hpacells.crops.store import CropStore
from hpacells.evaluate.matching import Matches, match_submission
from hpacells.evaluate.strict import score_matches
from hpacells.images.mask_files import mask_path, read_label_image
from hpacells.runtime.model_folder import GRAPH_FILE, ModelFolder, ModelSpec
from hpacells.runtime.postprocess import score_field
from hpacells.train.data import TrainingData
from hpacells.train.truth import CellTruth, TruthFiles
from hpacells.train.validation import (
    Validation,
    cells_of,
    mean_precision,
    precision_per_location,
)

__all__ = ["judge_held_out"]

NO_LINE = "unknown"


@dataclass(frozen=True)
class _Judged:
    """The held-out fields with their scores; ``cells`` per field, everything else joined."""

    fov_ids: list[str]
    lines: npt.NDArray[np.str_]
    cells: list[CellTable]
    scores: list[PredictionTable]
    targets: npt.NDArray[np.float32]


def judge_held_out(
    validation: Validation,
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    spec: ModelSpec,
    *,
    store: CropStore,
    truth: CellTruth | None = None,
    files: TruthFiles | None = None,
) -> dict[str, Any]:
    """Score the held-out fields as a run of the model would.

    Parameters
    ----------
    validation
        The last one: the finished network's answers.
    data, fields
        What it was computed on.
    spec
        The model's calibration and post-processing.
    store
        Where cells and cell lines stand.
    truth, files
        What the cells truly show, and where outlines and the truth's masks lie.

    Returns
    -------
    dict
        ``image``, ``cell`` and ``strict``: each ``mean_ap`` and ``ap`` by location (null where
        undefined), with counts, or null where it could not be measured; ``not_measured``: why;
        ``cell_lines``: by cell line ``fields`` and the three means.
    """
    judged = _score(validation, data, fields, spec, store)
    sizes = [len(scores.cell) for scores in judged.scores]
    line_of_cell = np.repeat(judged.lines, sizes)
    images = np.stack([scores.image for scores in judged.scores])
    cells = np.concatenate([scores.cell for scores in judged.scores])
    places = cells_of(data, fields)
    matches, why = _match(judged, files)
    content: dict[str, Any] = {
        "image": {**_precisions(judged.targets, images), "n": len(fields)},
        "cell": None,
        "strict": _strict(matches) if matches else None,
        "not_measured": why,
        "cell_lines": {},
    }
    if truth is not None:
        known = truth.known[places]
        content["cell"] = {
            **_precisions(truth.targets[places][known], cells[known]),
            "n": int(known.sum()),
            "n_without_partner": int((~known).sum()),
        }
    for line in np.unique(judged.lines).tolist():
        mine, of_line = judged.lines == line, line_of_cell == line
        row = {
            "fields": int(mine.sum()),
            "image_mean_ap": _precisions(judged.targets[mine], images[mine])["mean_ap"],
            "cell_mean_ap": None,
            "strict_map": None,
        }
        if truth is not None:
            chosen = of_line & truth.known[places]
            row["cell_mean_ap"] = _precisions(truth.targets[places][chosen], cells[chosen])[
                "mean_ap"
            ]
        if matches:
            names = {judged.fov_ids[i] for i in np.flatnonzero(mine)}
            row["strict_map"] = _strict(_select(matches, names))["mean_ap"]
        content["cell_lines"][line] = row
    return content


def _score(
    validation: Validation,
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    spec: ModelSpec,
    store: CropStore,
) -> _Judged:
    table = kept_rows(store.cells_table())
    fov_ids = [data.fov_ids[i] for i in fields]
    about = {row["fov_id"]: row["cell_line"] or NO_LINE for row in store.fields_table().to_pylist()}
    # not written yet: only its constants are used
    model = ModelFolder(Path(), spec.model_copy(update={"files": {GRAPH_FILE: ""}}))
    cells, scores, start = [], [], 0
    for fov_id in fov_ids:
        rows = CellTable(table.filter(pc.equal(table["fov_id"], fov_id)))
        stop = start + len(rows)
        answers = validation.logits[start:stop], validation.embedding[start:stop]
        scores.append(score_field(*answers, rows, model))
        cells.append(rows)
        start = stop
    lines = np.array([about[fov_id] for fov_id in fov_ids], np.str_)
    return _Judged(fov_ids, lines, cells, scores, data.targets[fields])


def _match(judged: _Judged, files: TruthFiles | None) -> tuple[Matches | None, str | None]:
    """Match the outlines, each with its blend scores; or say why that cannot be done."""
    if files is None:
        return None, (
            "cells and the strict metric: needs a dataset folder with truth/ and truth.csv; "
            "a crop store holds no outlines"
        )
    without = len(judged.fov_ids) - len(files.fields_with_masks(tuple(judged.fov_ids)))
    if without:
        return None, f"the strict metric: {without} held-out fields have no outlines kept"
    rows = read_submission(files.submission)
    wanted = [rows[fov_id] for fov_id in judged.fov_ids if fov_id in rows]
    with tempfile.TemporaryDirectory(prefix="hpacells-held-out-") as folder:
        true, found = Path(folder) / "truth.csv", Path(folder) / "found.csv"
        write_submission(true, wanted)
        write_submission(found, (_as_row(judged, i, files) for i in range(len(judged.fov_ids))))
        return match_submission(true, found), None


def _as_row(judged: _Judged, i: int, files: TruthFiles) -> SubmissionRow:
    fov_id, ids = judged.fov_ids[i], judged.cells[i].table["cell_id"].to_pylist()
    outlines = read_label_image(mask_path(files.found_masks, fov_id, "cells"))
    texts = encode_cells(outlines)
    triples = [
        (k, float(blend[k]), texts[cell_id])
        for cell_id, blend in zip(ids, judged.scores[i].blend, strict=True)
        for k in range(N_LOCATIONS)
    ]
    height, width = outlines.shape
    return SubmissionRow(fov_id, width, height, format_predictions(triples))


def _select(matches: Matches, names: set[str]) -> Matches:
    """Keep the detections and truths of some images."""
    chosen = np.array([image in names for image in matches.images], np.bool_)
    of_chosen = chosen[matches.image]
    return replace(
        matches,
        images=tuple(np.array(matches.images, object)[chosen]),
        image=(np.cumsum(chosen) - 1)[matches.image[of_chosen]],
        class_id=matches.class_id[of_chosen],
        confidence=matches.confidence[of_chosen],
        is_true=matches.is_true[of_chosen],
        n_truths=matches.n_truths[chosen],
    )


def _strict(matches: Matches) -> dict[str, Any]:
    table = score_matches(matches)
    return _as_json([table.find("ap", key).value for key in LOCATION_KEYS])


def _precisions(
    targets: npt.NDArray[np.float32], scores: npt.NDArray[np.floating]
) -> dict[str, Any]:
    return _as_json(precision_per_location(targets, scores))


def _as_json(values: Sequence[float | None]) -> dict[str, Any]:
    each = dict(zip(LOCATION_KEYS, values, strict=True))
    return {"mean_ap": mean_precision(tuple(values)), "ap": each}
