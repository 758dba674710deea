from dataclasses import replace

import numpy as np
import pytest

from hpacells.train.bags import draw_epoch, load_cells, repeat_factors


def rarely(data):
    """Fields 0 and 1 alone have location 9, every field has location 16."""
    targets = np.zeros_like(data.targets)
    targets[:, 16] = targets[:20, 3] = targets[:2, 9] = 1
    return replace(data, targets=targets)


def draw(data, cap, *, seed=0, bags=6):
    rng = np.random.default_rng(seed)
    fields = np.arange(data.n_fields)
    drawn = draw_epoch(data, fields, bag_size=4, bags_per_batch=bags, rng=rng, rare_cap=cap)
    return list(drawn)


def test_factors_by_hand():
    targets = np.zeros((16, 5), np.float32)
    targets[:, 0] = targets[:4, 1] = targets[0, 2] = 1  # shares 1, 1/4, 1/16; median 1/4
    targets[5, 1] = 0
    expected = [2.0] + [1.0] * 15
    np.testing.assert_allclose(repeat_factors(targets, 10), expected)
    np.testing.assert_allclose(repeat_factors(targets, 1.5), [1.5] + [1.0] * 15)
    np.testing.assert_array_equal(repeat_factors(np.zeros((3, 5), np.float32), 4), 1)


@pytest.mark.parametrize("bags", [6, 7, 40])
@pytest.mark.parametrize("cap", [1.0, 2.0, 50.0])
def test_an_epoch_has_as_many_bags_as_fields(data, cap, bags):
    batches = draw(rarely(data), cap, bags=bags)
    assert len(batches) == -(-data.n_fields // bags)
    assert sum(len(batch.fields) for batch in batches) == data.n_fields
    for batch in batches:
        for row, field in enumerate(batch.fields):
            cells = batch.cells[row][batch.cell_present[row]]
            assert ((cells >= data.offsets[field]) & (cells < data.offsets[field + 1])).all()
            assert len(set(cells)) == len(cells) == 4


def test_rare_fields_come_as_often_as_their_factor_says(data):
    rare = rarely(data)
    counts = np.zeros(data.n_fields)
    for epoch in range(120):
        drawn = np.concatenate([batch.fields for batch in draw(rare, 4.0, seed=epoch)])
        found = np.bincount(drawn, minlength=data.n_fields)
        assert set(found[:2]) <= {2, 3}  # their due of 2.87, rounded up or down
        counts += found
    factors = repeat_factors(rare.targets, 4.0)
    np.testing.assert_allclose(factors[[0, 2, 30]], [np.sqrt(10), 1, 1])
    due = data.n_fields * factors / factors.sum()
    np.testing.assert_allclose(counts / 120, due, atol=0.15)


def test_without_a_cap_above_1_each_field_comes_once_and_a_seed_repeats(data):
    drawn = np.concatenate([batch.fields for batch in draw(rarely(data), 1.0)])
    assert sorted(drawn) == list(range(data.n_fields))
    one, two, other = draw(data, 3.0), draw(data, 3.0), draw(data, 3.0, seed=1)
    np.testing.assert_array_equal(one[0].cells, two[0].cells)
    assert not np.array_equal(one[0].cells, other[0].cells)


def test_cells_are_copies_bag_by_bag(data):
    soft = np.linspace(0, 1, len(data.crops) * 19, dtype=np.float32).reshape(-1, 19)
    known = replace(data, cell_targets=soft)
    fields = np.array([3, 0])
    rng = np.random.default_rng(0)
    (batch,) = draw_epoch(known, fields, bag_size=7, bags_per_batch=2, rng=rng)
    cells = load_cells(known, batch)
    sizes = np.minimum(np.diff(data.offsets)[batch.fields], 7)
    np.testing.assert_array_equal(cells.bag_of_cell, np.repeat([0, 1], sizes))
    chosen = batch.cells[batch.cell_present]
    np.testing.assert_array_equal(cells.crops, data.crops[chosen])
    np.testing.assert_array_equal(cells.cell_targets, soft[chosen])
    cells.crops[:] = 0
    cells.image_targets[:] = 0
    assert data.crops[chosen].any()
    assert data.targets[batch.fields].any()
