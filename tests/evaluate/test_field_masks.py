"""What one field adds: merges, splits, and nuclei that belong to their cells."""

import numpy as np

from hpacells.evaluate.field_masks import count_field
from hpacells.evaluate.mask_pairs import MaskPair

SHAPE = (24, 50)


def labels(*boxes):
    image = np.zeros(SHAPE, np.int32)
    for cell_id, r0, r1, c0, c1 in boxes:
        image[r0:r1, c0:c1] = cell_id
    return image


TRUE = labels((1, 2, 12, 2, 12), (2, 2, 12, 14, 24), (3, 2, 12, 26, 36), (4, 2, 12, 38, 48))
TRUE_NUCLEI = labels((1, 4, 8, 4, 8), (2, 4, 8, 16, 20), (3, 4, 8, 28, 32))


def count(found, nuclei, **rejected):
    return count_field(MaskPair("a", found, TRUE, (nuclei, TRUE_NUCLEI), **rejected))


def test_the_truth_has_all_its_nuclei():
    counts = count(TRUE, TRUE_NUCLEI)
    assert (counts.nuclei_matched, counts.nuclei_expected) == (3, 3)  # cell 4 has none
    assert counts.matched.tolist() == [4] * 9
    assert (counts.n_inside, counts.merged, counts.split) == (4, (), ())


def test_ids_may_be_others_if_nucleus_and_cell_agree():
    new = np.array([0, 40, 3, 7, 9], np.int32)
    counts = count(new[TRUE], new[TRUE_NUCLEI])
    assert (counts.nuclei_matched, counts.nuclei_expected) == (3, 3)


def test_a_nucleus_of_another_id_is_not_the_cells():
    swapped = np.array([0, 2, 1, 3, 4], np.int32)
    counts = count(TRUE, swapped[TRUE_NUCLEI])
    assert (counts.nuclei_matched, counts.nuclei_expected) == (1, 3)


def test_a_nucleus_that_leaves_its_cell_or_its_place_does_not_count():
    nuclei = TRUE_NUCLEI.copy()
    nuclei[5, 8:14] = 1  # IoU 16/22, but its end is outside cell 1
    nuclei[nuclei == 2] = 0
    nuclei[9:11, 21:23] = 2
    counts = count(TRUE, nuclei)
    assert (counts.nuclei_matched, counts.nuclei_expected) == (1, 3)


def test_only_matched_cells_are_asked_for_their_nucleus():
    found = TRUE.copy()
    found[found == 3] = 0
    counts = count(found, np.where(found > 0, TRUE_NUCLEI, 0))
    assert (counts.nuclei_matched, counts.nuclei_expected) == (2, 2)
    no_nuclei = count_field(MaskPair("a", TRUE, TRUE))
    assert (no_nuclei.nuclei_matched, no_nuclei.nuclei_expected) == (0, 0)


def test_merges_and_splits_are_named():
    found = labels((7, 2, 12, 2, 24), (8, 2, 7, 26, 36), (9, 7, 12, 26, 36), (4, 2, 12, 38, 48))
    counts = count(found, TRUE_NUCLEI)
    assert (counts.merged, counts.split) == ((7,), (3,))
    rejected = count(found, TRUE_NUCLEI, rejected_found={7}, rejected_true={1})
    assert (rejected.merged, rejected.split) == ((), (3,))
    one_half = count(found, TRUE_NUCLEI, rejected_found={9})
    assert (one_half.merged, one_half.split) == ((7,), ())  # 8 is the half that matches
    assert rejected.extra[2] == counts.extra[2] - 1
    assert rejected.missed[2] == counts.missed[2] - 1
