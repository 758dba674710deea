"""Debris: where it lies, how bright it is, that it can be left out."""

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.simulate import debris
from hpacells.simulate.debris import add_debris

SHAPE = (500, 620)
PIXEL_UM = 0.2


def field_of(seed, occupied=None, pixel_um=PIXEL_UM, shape=SHAPE):
    stains = np.zeros((len(CHANNELS), *shape), np.float32)
    taken = np.zeros(shape, bool) if occupied is None else occupied
    add_debris(stains, taken, pixel_um, np.random.default_rng(seed))
    return stains


def only(monkeypatch, kind, mean):
    kinds = dict.fromkeys(debris._PER_1E4_UM2, 0.0)
    monkeypatch.setattr(debris, "_PER_1E4_UM2", kinds | {kind: mean})


def test_the_same_seed_gives_the_same_debris():
    assert np.array_equal(field_of(4), field_of(4))


def test_fields_differ_in_how_dirty_they_are():
    amounts = np.array([field_of(seed).sum() for seed in range(30)])
    assert amounts.min() < 0.2 * np.median(amounts)
    assert amounts.max() > 3 * np.median(amounts)
    assert all(field_of(seed).min() >= 0 for seed in range(5))


def test_apoptotic_bodies_have_very_bright_dna_and_shun_cells(monkeypatch):
    only(monkeypatch, "corpse", 8.0)
    occupied = np.zeros(SHAPE, bool)
    occupied[:, :300] = True
    stains = field_of(1, occupied)
    nucleus = stains[Channel.NUCLEUS.position]
    assert nucleus.max() > 0.9
    assert not stains[:, occupied].any()
    assert (nucleus > 0.5).sum() < 0.5 * (stains[Channel.ER.position] > 0.02).sum()
    assert stains[Channel.ER.position].any()


def test_a_dense_field_has_no_apoptotic_bodies(monkeypatch):
    only(monkeypatch, "corpse", 8.0)
    assert not field_of(1, np.ones(SHAPE, bool)).any()


def test_specks_lie_mostly_but_not_only_beside_cells(monkeypatch):
    only(monkeypatch, "speck", 60.0)
    occupied = np.zeros(SHAPE, bool)
    occupied[:, 200:] = True
    light = field_of(2, occupied).max(axis=0) > 0.1
    assert light[:, 200:].any()
    assert light[:, :200].mean() > 2 * light[:, 200:].mean()


def test_fibres_are_long_thin_and_strongest_in_the_nucleus_stain(monkeypatch):
    only(monkeypatch, "fibre", 6.0)
    stains = field_of(3)
    sums = stains.sum(axis=(1, 2))
    assert sums.argmax() == Channel.NUCLEUS.position
    rows, columns = np.nonzero(stains[Channel.NUCLEUS.position] > 0.03)
    assert max(np.ptp(rows), np.ptp(columns)) * PIXEL_UM > 6


@pytest.mark.parametrize("kind", ["corpse", "speck", "fibre"])
def test_debris_has_its_size_in_um(monkeypatch, kind):
    only(monkeypatch, kind, 12.0)

    def covered(pixel_um, seeds=range(6)):
        shape = tuple(round(n * PIXEL_UM / pixel_um) for n in SHAPE)
        shares = [(field_of(s, pixel_um=pixel_um, shape=shape) > 0.05).mean() for s in seeds]
        return np.mean(shares)

    assert covered(0.1) == pytest.approx(covered(0.2), rel=0.5)


def test_debris_is_cut_at_the_frame():
    stain = np.zeros((20, 30), np.float32)
    patch = np.ones((8, 8), np.float32)
    debris._paste(stain, patch, np.array([0.0, 29.0]))
    assert stain.sum() == 4 * 5
    debris._paste(stain, patch, np.array([-50.0, 5.0]))
    assert stain.sum() == 4 * 5
