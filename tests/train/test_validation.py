from dataclasses import replace

import numpy as np
import pytest
import torch

from hpacells.core.locations import NEGATIVE
from hpacells.runtime.model_folder import Postprocessing
from hpacells.train.truth import CellTruth
from hpacells.train.validation import cells_of, validate

CPU = torch.device("cpu")
FIELDS = np.arange(10, 20)


class Oracle(torch.nn.Module):
    """Answers what it is told, cell after cell."""

    def __init__(self, targets):
        super().__init__()
        self.targets, self.at = torch.from_numpy(targets), 0

    def forward(self, crops, masks):
        logits = self.targets[self.at : self.at + len(crops)] * 20 - 10
        self.at += len(crops)
        return logits, logits[:, :2]


def per_cell(data):
    return np.repeat(data.targets[FIELDS], np.diff(data.offsets)[FIELDS], axis=0)


def test_validation_agrees_with_a_perfect_and_a_blind_model(data):
    perfect = validate(Oracle(per_cell(data)), data, FIELDS, pooling="max", device=CPU)
    assert perfect.mean == 1.0
    assert perfect.average_precision[1] is None
    assert perfect.cell_average_precision is None
    assert perfect.summary()["val_cell_ap"] is None
    assert perfect.embedding.shape == (len(cells_of(data, FIELDS)), 2)
    blind = validate(Oracle(np.zeros_like(per_cell(data))), data, FIELDS, pooling="max", device=CPU)
    assert blind.average_precision[7] == pytest.approx(data.targets[FIELDS, 7].mean())


def test_cells_are_judged_by_their_own_truth_where_it_is_known(data):
    """The image's label on every cell: half of its cells show it, so half is the precision."""
    cells = cells_of(data, FIELDS)
    known = np.zeros(len(data.crops), np.bool_)
    known[cells[:40]] = True
    truth = np.zeros((len(data.crops), 19), np.float32)
    truth[cells[:40:2], 7] = 1
    everywhere = np.zeros((len(cells), 19), np.float32)
    everywhere[:, 7] = 1
    found = validate(
        Oracle(everywhere), data, FIELDS, pooling="max", device=CPU, truth=CellTruth(truth, known)
    )
    assert found.cell_average_precision[7] == 0.5
    assert found.cell_average_precision[0] is None
    assert found.cell_mean == 0.5
    right = truth[cells]
    best = validate(
        Oracle(right), data, FIELDS, pooling="max", device=CPU, truth=CellTruth(truth, known)
    )
    assert best.cell_mean == 1.0


@pytest.mark.parametrize(("rule", "perfect"), [("product", True), ("own", False)])
def test_negative_of_images_is_derived_from_their_cells_where_the_recipe_says_so(
    data, rule, perfect
):
    """An untrained column once counted in the mean that a training ends with."""
    targets = data.targets.copy()
    targets[FIELDS[::3]] = np.eye(19)[NEGATIVE]
    labelled = replace(data, targets=targets)
    answers = per_cell(labelled)
    answers[:, NEGATIVE] = 1 - answers[:, NEGATIVE]  # the network's own answer is upside down
    found = validate(
        Oracle(answers),
        labelled,
        FIELDS,
        pooling="max",
        device=CPU,
        constants=Postprocessing(negative=rule),
    )
    assert (found.average_precision[NEGATIVE] == 1.0) == perfect
    assert (found.mean == 1.0) == perfect
    np.testing.assert_array_equal(found.logits, answers * 20 - 10)  # as the network gave them


def test_negative_is_judged_as_the_recipe_scores_it(data):
    cells = cells_of(data, FIELDS)
    truth = np.zeros((len(data.crops), 19), np.float32)
    truth[cells[::3], NEGATIVE] = 1
    truth[np.setdiff1d(cells, cells[::3]), 7] = 1
    answers = truth[cells].copy()
    answers[:, NEGATIVE] = 1 - answers[:, NEGATIVE]  # the network's own answer is upside down
    known = np.ones(len(data.crops), np.bool_)
    for rule, perfect in (("product", True), ("own", False)):
        found = validate(
            Oracle(answers),
            data,
            FIELDS,
            pooling="max",
            device=CPU,
            truth=CellTruth(truth, known),
            constants=Postprocessing(negative=rule),
        )
        assert (found.cell_average_precision[NEGATIVE] == 1.0) == perfect
