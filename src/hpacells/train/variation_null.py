"""The null of variation, from what a finished network says of the held-out fields.

The held-out cells are scored as a run would score them, by the model's calibration and doubt.
Nothing but image labels is known of real fields, so some of them may truly vary: the fit is trimmed
(``variation.null``). Fields of every label take part, not only those of one location: the cells of
the others differ by ordinary scatter, and a null without that would call nearly all of them
variable. Fields labelled Negative alone are left out, where nothing can vary.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from hpacells.core.cell_table import PROBABILITY_COLUMNS, CellTable
from hpacells.core.errors import InputError
from hpacells.core.locations import NEGATIVE
from hpacells.crops.field_crops import kept_rows
from hpacells.crops.store import CropStore
from hpacells.runtime.doubt import score_doubt
from hpacells.runtime.model_folder import GRAPH_FILE, ModelFolder, ModelSpec
from hpacells.runtime.postprocess import score_field
from hpacells.runtime.variation_null import VariationNull
from hpacells.train.data import TrainingData
from hpacells.train.validation import Validation, cells_of
from hpacells.variation.config import VariationConfig
from hpacells.variation.field_cells import FieldCells, select_cells
from hpacells.variation.null import describe_field, fit_null

__all__ = ["fit_variation_null"]


def fit_variation_null(
    validation: Validation | None,
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    spec: ModelSpec,
    *,
    store: CropStore,
) -> tuple[VariationNull | None, str]:
    """Fit the null of variation to the held-out fields.

    Parameters
    ----------
    validation
        Of the finished network on ``fields``; None where nothing was held out.
    data, fields
        Crops and image labels, ``(F,)`` positions of the held-out fields.
    spec
        With the model's calibration and doubt.
    store
        Where the cells' measurements stand.

    Returns
    -------
    tuple
        The null, or None; and in words what it was fitted on, or why there is none.
    """
    if validation is None:
        return None, "none: no field was held out"
    least = VariationConfig().min_cells
    table = kept_rows(store.cells_table())
    # not written yet: only its constants are used
    model = ModelFolder(Path(), spec.model_copy(update={"files": {GRAPH_FILE: ""}}))
    described, start = [], 0
    for field in fields:
        rows = table.filter(pc.equal(table["fov_id"], data.fov_ids[field]))
        answers = slice(start, start + len(rows))
        start = answers.stop
        if data.targets[field, NEGATIVE]:
            continue
        cells = _score(validation, data, model, field=field, rows=CellTable(rows), answers=answers)
        if len(cells) >= least and int(cells.has_place.sum()) >= least:
            described.append(describe_field(cells))
    source = f"{len(described)} held-out fields, by image labels, trimmed: some may truly vary"
    try:
        return fit_null(described, source=source, trimmed=True), source
    except InputError as error:
        return None, f"none: {error}"


def _score(
    validation: Validation,
    data: TrainingData,
    model: ModelFolder,
    *,
    field: np.int64,
    rows: CellTable,
    answers: slice,
) -> FieldCells:
    """Score a held-out field's cells as a run of the model does."""
    embedding = validation.embedding[answers]
    scores = score_field(validation.logits[answers], embedding, rows, model).cell
    places = cells_of(data, np.array([field]))
    crops, masks = data.crops[places], data.cell_masks[places]
    doubt = score_doubt(model.spec.doubt, crops, masks, embedding, scores)
    table = rows.table.append_column("doubt", [doubt])
    for k, name in enumerate(PROBABILITY_COLUMNS):
        table = table.append_column(name, [scores[:, k]])
    return select_cells(table)
