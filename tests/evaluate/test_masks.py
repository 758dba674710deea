import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.errors import ConfigError, ImageError, TableError
from hpacells.evaluate.field_masks import THRESHOLDS
from hpacells.evaluate.mask_pairs import find_label_images
from hpacells.evaluate.masks import match_masks, score_masks
from hpacells.images.mask_files import write_label_image

SHAPE = (20, 34)


def labels(*boxes, shape=SHAPE):
    image = np.zeros(shape, np.int32)
    for cell_id, r0, r1, c0, c1 in boxes:
        image[r0:r1, c0:c1] = cell_id
    return image


def save(folder, **images):
    for fov_id, image in images.items():
        write_label_image(folder / f"{fov_id}_cells.png", image)
    return folder


def test_a_drawn_match():
    true = labels((5, 0, 10, 0, 10), (9, 0, 10, 20, 30))
    found = labels((3, 0, 10, 0, 6), (70, 12, 18, 0, 6))  # 3: IoU with 5 is exactly 0.6
    match = match_masks(found, true, 0.6)
    assert match.pairs.tolist() == [[3, 5]]
    assert match.iou.tolist() == [0.6]
    assert match.unmatched_found.tolist() == [70]
    assert match.unmatched_true.tolist() == [9]
    assert match_masks(found, true, 0.65).pairs.shape == (0, 2)


def test_at_one_half_a_cell_takes_one_partner_only():
    true = labels((1, 0, 10, 0, 5), (2, 0, 10, 5, 10))
    found = labels((4, 0, 10, 0, 10))
    assert match_masks(found, true, 0.5).pairs.tolist() == [[4, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_against_a_matching_by_full_masks(seed):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 30, (6, 9))
    true = np.repeat(np.repeat(small, 5, 0), 4, 1).astype(np.int32)
    found = np.where(rng.random(true.shape) < 0.15, 0, np.roll(true, int(rng.integers(2)), 1))
    for threshold in THRESHOLDS[1:]:
        expected = []
        for f in np.unique(found[found > 0]).tolist():
            for t in np.unique(true[true > 0]).tolist():
                union = int(((found == f) | (true == t)).sum())
                if int(((found == f) & (true == t)).sum()) * 1000 >= union * 1000 * threshold:
                    expected.append([f, t])
        assert match_masks(found, true, threshold).pairs.tolist() == expected


def test_ids_may_be_renamed_and_images_turned():
    rng = np.random.default_rng(0)
    true = labels((1, 0, 8, 0, 8), (2, 10, 18, 3, 20), (3, 2, 9, 22, 33))
    found = np.roll(true, 1, axis=1)
    new = np.append(0, rng.permutation(900)[:3] + 1)
    plain, renamed = (match_masks(x, true, 0.5) for x in (found, new[found]))
    assert sorted(renamed.iou) == pytest.approx(sorted(plain.iou))
    turned = match_masks(found.T, true.T, 0.5)
    np.testing.assert_array_equal(turned.pairs, plain.pairs)


def test_scores_over_folders(tmp_path):
    true = labels((1, 0, 10, 0, 10), (2, 0, 10, 12, 22))
    found = labels((1, 0, 10, 0, 7), (2, 12, 18, 0, 6))  # IoU 0.7 and a false one
    scores = score_masks(save(tmp_path / "f", a=found), save(tmp_path / "t", a=true)).total
    assert list(scores.f1) == [f"{k / 100:.2f}" for k in range(50, 95, 5)]
    assert scores.f1["0.70"] == 0.5
    assert scores.ap["0.70"] == pytest.approx(1 / 3)
    assert scores.f1["0.75"] == 0.0
    assert (scores.matched["0.50"], scores.n_found, scores.n_true) == (1, 2, 2)


def test_merges_and_splits(tmp_path):
    true = labels((1, 0, 10, 0, 5), (2, 0, 10, 5, 9), (3, 12, 20, 0, 20))
    found = labels((1, 0, 10, 0, 10), (2, 12, 20, 0, 9), (3, 12, 20, 9, 20))
    scores = score_masks(save(tmp_path / "f", a=found), save(tmp_path / "t", a=true)).total
    assert (scores.merges, scores.splits) == (1, 1)
    same = score_masks(tmp_path / "t", tmp_path / "t").total
    assert (same.merges, same.splits, same.f1["0.90"]) == (0, 0, 1.0)


def test_rejected_cells_count_only_where_they_match(tmp_path):
    true = labels((1, 0, 10, 0, 10), (2, 0, 10, 12, 22))
    found = labels((1, 0, 10, 0, 10), (2, 0, 10, 12, 22), (3, 12, 18, 0, 6), (4, 12, 18, 9, 15))
    save(tmp_path / "run" / "masks", a=found)
    save(tmp_path / "t", a=true)
    status = ["ok", "rejected", "rejected", "ok"]
    table = pa.table({"fov_id": ["a"] * 4, "cell_id": [1, 2, 3, 4], "status": status})
    pq.write_table(table, tmp_path / "run" / "cells.parquet")
    for folder in (tmp_path / "run" / "masks", tmp_path / "run"):
        scores = score_masks(folder, tmp_path / "t").total
        assert (scores.matched["0.50"], scores.n_found) == (2, 3)
        assert scores.ap["0.50"] == pytest.approx(2 / 3)


def test_a_rejected_cell_that_matches_nothing_is_no_merge_and_splits_nothing(tmp_path):
    true = labels((1, 0, 10, 0, 4), (2, 0, 10, 4, 8), (3, 12, 20, 0, 20))
    found = labels((1, 0, 10, 0, 14), (2, 12, 20, 0, 15), (3, 12, 20, 15, 20))
    save(tmp_path / "run", a=found)
    save(tmp_path / "t", a=true)
    plain = score_masks(tmp_path / "run", tmp_path / "t").total
    assert (plain.merges, plain.splits) == (1, 1)
    table = pa.table({"fov_id": ["a", "a"], "cell_id": [1, 3], "status": ["rejected"] * 2})
    pq.write_table(table, tmp_path / "run" / "cells.parquet")
    scores = score_masks(tmp_path / "run", tmp_path / "t").total
    assert (scores.merges, scores.splits, scores.n_found) == (0, 0, 1)


def test_a_true_cell_that_its_table_rejects_counts_only_where_it_matches(tmp_path):
    true = labels((1, 0, 10, 0, 10), (2, 0, 10, 12, 22), (3, 12, 18, 0, 6), (4, 13, 18, 9, 15))
    save(tmp_path / "f", a=labels((1, 0, 10, 0, 10), (2, 0, 10, 12, 22)))
    save(tmp_path / "t", a=true)
    status = ["ok", "rejected", "rejected", "rejected"]
    table = pa.table({"fov_id": ["a"] * 4, "cell_id": [1, 2, 3, 4], "status": status})
    pq.write_table(table, tmp_path / "t" / "cells.parquet")
    total = score_masks(tmp_path / "f", tmp_path / "t").total
    assert (total.f1["0.60"], total.n_true, total.n_inside) == (1.0, 2, 0)


def test_recall_inside_leaves_out_what_the_frame_cuts(tmp_path):
    true = labels((1, 0, 10, 5, 15), (2, 1, 11, 17, 27), (3, 12, 19, 1, 9))
    found = labels((1, 1, 11, 17, 24), (2, 12, 19, 1, 9))  # 2: IoU 0.7; 1: not found
    total = score_masks(save(tmp_path / "f", a=found), save(tmp_path / "t", a=true)).total
    assert total.n_inside == 2
    assert (total.recall_inside["0.70"], total.recall_inside["0.75"]) == (1.0, 0.5)
    assert total.f1["0.70"] == pytest.approx(4 / 5)


def test_the_worst_fields_come_first(tmp_path):
    good = labels((1, 0, 10, 0, 10))
    bad = labels((1, 12, 20, 0, 10))
    two = labels((1, 12, 20, 0, 10), (2, 12, 20, 12, 20))
    save(tmp_path / "f", a=good, b=good, c=good, d=labels())
    save(tmp_path / "t", a=good, b=bad, c=two, d=labels())
    scores = score_masks(tmp_path / "f", tmp_path / "t")
    assert scores.worst(2) == ["c", "b"]
    assert scores.worst(9) == ["c", "b", "a"]


def test_missing_partners_are_counted(tmp_path):
    cell = labels((1, 0, 10, 0, 10))
    found, true = save(tmp_path / "f", a=cell, only=cell), save(tmp_path / "t", a=cell, b=cell)
    scores = score_masks(found, true)
    assert (len(scores.fields), scores.missing_found, scores.missing_true) == (2, 1, 1)
    assert scores.total.f1["0.50"] == pytest.approx(2 / 3)
    assert scores.total.n_found == 1


def test_fields_without_any_cell_are_undefined(tmp_path):
    save(tmp_path / "f", a=labels())
    scores = score_masks(tmp_path / "f", tmp_path / "f")
    total = scores.total
    assert set(total.f1.values()) == set(total.ap.values()) == {None}
    assert set(total.recall_inside.values()) == {None}
    assert total.nucleus_rate is None
    assert scores.worst(5) == []


def test_odd_requests_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"0\.5 to 1"):
        match_masks(labels(), labels(), 0.3)
    with pytest.raises(ImageError, match="one shape"):
        match_masks(labels(), labels(shape=(5, 6)), 0.5)
    with pytest.raises(TableError, match="found none"):
        find_label_images(tmp_path / "none")
    f, t = save(tmp_path / "f", a=labels()), save(tmp_path / "t", b=labels())
    with pytest.raises(TableError, match="no field in common"):
        score_masks(f, t)
    (tmp_path / "f" / "a_cells.tif").touch()
    with pytest.raises(TableError, match="Keep one"):
        find_label_images(tmp_path / "f")
