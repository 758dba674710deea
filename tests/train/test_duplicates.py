from dataclasses import replace

import cv2
import numpy as np
import pytest

from hpacells.train.data import TrainingData
from hpacells.train.duplicates import (
    NEAR_DUPLICATES,
    _describe,
    group_near_duplicates,
    wants_near_duplicates,
)
from hpacells.train.split import split_fields

SIDE = 48


def draw(rng, n):
    """Cells of random smooth stains."""
    coarse = rng.uniform(0, 255, (n, 4, 6, 6)).astype(np.float32)
    large = [
        [cv2.resize(stain, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for stain in cell]
        for cell in coarse
    ]
    return np.clip(np.array(large), 0, 255).astype(np.uint8)


def as_data(fields, seed=0):
    """Fields, each ``(n, C, S, S)``; masks are squares of sizes that differ."""
    rng = np.random.default_rng(seed)
    crops = np.concatenate(fields)
    masks = np.zeros((len(crops), SIDE, SIDE), np.uint8)
    for i, side in enumerate(rng.permutation(len(crops)) % 20 + 20):
        masks[i, :side, :side] = 1
    ids = tuple(f"f{i:03d}" for i in range(len(fields)))
    return TrainingData(
        crops=crops,
        cell_masks=masks,
        offsets=np.cumsum([0, *map(len, fields)]),
        targets=np.eye(19, dtype=np.float32)[np.arange(len(fields)) % 19],
        fov_ids=ids,
        groups=ids,
        group_kind="fov_id",
        data_hash="",
    )


def export_again(rng, cells):
    """The same field at another brightness, noisy, compressed, a pixel aside."""
    again = np.roll(cells, 1, axis=2) * 0.7 + rng.normal(0, 3, cells.shape)
    again = np.clip(again, 0, 255).astype(np.uint8)
    for cell in again:
        for stain in cell:
            coded = cv2.imencode(".jpg", stain, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
            stain[:] = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
    return again


def test_a_copy_of_a_field_is_found_and_nothing_else():
    rng = np.random.default_rng(0)
    fields = [draw(rng, 5) for _ in range(20)]
    fields[7] = export_again(rng, fields[2])
    fields[11] = fields[2][::-1].copy()  # its cells in another order
    fields[15] = np.concatenate([fields[3][:3], draw(rng, 2)])  # the stage moved: 3 of 5 cells
    fields[16] = np.concatenate([fields[4][:2], draw(rng, 3)])  # 2 of 5: not enough
    data = as_data(fields)
    grouped = group_near_duplicates(data)
    expected = list(data.fov_ids)
    expected[7] = expected[11] = "f002"
    expected[15] = "f003"
    assert list(grouped.groups) == expected
    assert grouped.group_kind == NEAR_DUPLICATES
    assert grouped.crops is data.crops


def test_copies_join_the_groups_of_antibodies_and_genes():
    """One field with a gene once kept the copies of all the nameless ones from being looked for."""
    rng = np.random.default_rng(6)
    fields = [draw(rng, 4) for _ in range(7)]
    fields[3] = export_again(rng, fields[1])  # of G1, which so joins
    fields[5] = export_again(rng, fields[3])
    fields[6] = export_again(rng, fields[4])  # both nameless
    groups = ("G1", "G1", "G2", "f003", "f004", "f005", "f006")
    data = replace(as_data(fields), groups=groups, group_kind="mixed")
    assert wants_near_duplicates(data)
    grouped = group_near_duplicates(data)
    assert grouped.groups == ("G1", "G1", "G2", "G1", "f004", "G1", "f004")
    assert grouped.group_kind == "mixed"
    bridged = replace(data, groups=("G1", "G1", "G2", "G2", *groups[4:]))
    assert group_near_duplicates(bridged).groups[:4] == ("G1",) * 4
    assert not wants_near_duplicates(replace(data, group_kind="gene"))


class OneAtATime:
    """Crops that fail when more than one is asked for: 21,806 fields would be 11 GB at once."""

    def __init__(self, crops):
        self.crops = crops

    def __getitem__(self, place):
        assert np.ndim(place) == 0
        return self.crops[place]


def test_mapped_crops_are_read_one_at_a_time():
    cells = draw(np.random.default_rng(7), 5)
    chosen = np.array([1, 4])
    found = _describe(OneAtATime(cells), chosen)
    np.testing.assert_array_equal(found, _describe(cells[chosen], np.arange(2)))


def test_the_protein_does_not_count():
    """Two antibodies on one field of cells are not two fields of cells."""
    rng = np.random.default_rng(1)
    fields = [draw(rng, 4), draw(rng, 4)]
    other = fields[0].copy()
    other[:, 1] = rng.integers(0, 255, other[:, 1].shape)
    assert group_near_duplicates(as_data([*fields, other])).groups == ("f000", "f001", "f000")


def test_only_the_largest_cells_of_a_field_are_compared():
    rng = np.random.default_rng(2)
    one = draw(rng, 14)
    data = as_data([one, one.copy(), draw(rng, 3)])
    data.cell_masks[14:28] = data.cell_masks[:14]
    assert group_near_duplicates(data).groups == ("f000", "f000", "f002")


@pytest.mark.parametrize("n", [1, 3])
def test_black_fields_and_lone_cells_are_nobodys_copies(n):
    rng = np.random.default_rng(3)
    black = np.zeros((n, 4, SIDE, SIDE), np.uint8)
    data = as_data([black, black.copy(), draw(rng, 1)])
    assert group_near_duplicates(data).groups == data.fov_ids
    only = as_data([draw(rng, 1)])
    assert group_near_duplicates(only).groups == ("f000",)


def test_a_description_has_length_one_and_no_brightness():
    cells = draw(np.random.default_rng(4), 3)
    vectors = _describe(cells, np.arange(3))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    dim = _describe((cells // 4).astype(np.uint8), np.arange(3))
    assert np.linalg.norm(vectors - dim, axis=1).max() < 0.1


def test_copies_are_held_out_together():
    rng = np.random.default_rng(5)
    fields = [draw(rng, 3) for _ in range(20)]
    fields += [field.copy() for field in fields]
    data = group_near_duplicates(as_data(fields))
    data = replace(data, targets=np.tile(np.eye(19, dtype=np.float32)[np.arange(20) % 2], (2, 1)))
    held_out = split_fields(data, 0.3, seed=0)
    assert held_out.any()
    np.testing.assert_array_equal(held_out[:20], held_out[20:])
