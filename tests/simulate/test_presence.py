"""What an image and a cell show of a label: presence, clustering, Negative cells, extra ones."""

import numpy as np
import pytest

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.simulate.label_sets import MITOTIC_LOCATIONS, SPINDLE, label_sets
from hpacells.simulate.presence import (
    draw_cell_locations,
    draw_extra_location,
    draw_image_shares,
    mitotic_share,
)

# Measured on manually labelled cells of public atlas images: p, rho.
MEASURED = {
    0: (0.78, 0.52), 1: (0.74, 0.41), 2: (0.64, 0.30), 3: (0.45, 0.35), 4: (0.87, 0.30),
    5: (0.39, 0.35), 7: (0.49, 0.29), 9: (0.75, 0.17), 12: (0.24, 0.21), 13: (0.70, 0.75),
    14: (0.85, 0.33), 16: (0.82, 0.55),
}  # fmt: skip
IMAGES, CELLS = 2400, 12


def simulate(frequencies):
    """Draw ``(IMAGES, 19)`` labels and ``(IMAGES, CELLS, 19)`` presences."""
    rng = np.random.default_rng(7)
    labels = np.zeros((IMAGES, N_LOCATIONS), bool)
    cells = np.zeros((IMAGES, CELLS, N_LOCATIONS), bool)
    for i in range(IMAGES):
        locations = label_sets(frequencies).draw((i + 0.5) / IMAGES, rng)
        labels[i, list(locations)] = True
        shares = draw_image_shares(locations, rng, frequencies=frequencies)
        share = mitotic_share(locations, frequencies)
        for j in range(CELLS):
            drawn = draw_cell_locations(shares, rng, mitotic=rng.random() < share)
            cells[i, j, list(drawn)] = True
    return labels, cells


@pytest.fixture(scope="module")
def atlas():
    return simulate("atlas")


def correlation(carried):
    """Intraclass correlation by analysis of variance, ``(images, cells)`` bool."""
    between = CELLS * carried.mean(axis=1).var(ddof=1)
    within = carried.var(axis=1, ddof=1).mean()
    return (between - within) / (between + (CELLS - 1) * within)


@pytest.mark.parametrize("location", sorted(MEASURED))
def test_presence_has_the_measured_mean_and_correlation(atlas, location):
    labels, cells = atlas
    p, rho = MEASURED[location]
    carried = cells[labels[:, location], :, location].astype(float)
    error = np.sqrt(p * (1 - p) * (rho + (1 - rho) / CELLS) / len(carried))
    assert carried.mean() == pytest.approx(p, abs=0.015 + 3 * error)
    assert correlation(carried) == pytest.approx(rho, abs=0.04 + 1.3 / np.sqrt(len(carried)))


def test_negative_cells_are_as_frequent_as_in_the_atlas(atlas):
    """Published: a tenth of all cells, in 37 % of the other images."""
    labels, cells = atlas
    others = ~labels[:, NEGATIVE]
    negative = cells[others][:, :, NEGATIVE]
    assert negative.mean() == pytest.approx(0.10, abs=0.02)
    assert negative.any(axis=1).mean() == pytest.approx(0.37, abs=0.05)


def test_cells_are_alike_in_as_many_images_as_in_the_atlas(atlas):
    """Published: 67 of 328 images; a third of such images have one location, 43 % have two."""
    labels, cells = atlas
    alike = (cells == cells[:, :1]).all(axis=(1, 2))
    sizes = labels.sum(axis=1)
    by_size = [alike[sizes == 1].mean(), alike[sizes == 2].mean(), alike[sizes > 2].mean()]
    assert np.dot(by_size, [0.33, 0.43, 0.24]) == pytest.approx(67 / 328, abs=0.09)
    assert by_size[0] > by_size[1] > by_size[2]


def test_uniform_means_about_as_many_cells_of_each_class():
    _, cells = simulate("uniform")
    shares = cells.mean(axis=(0, 1))
    places = shares[:NEGATIVE]
    assert places.min() > 0.8 * places.mean()
    assert places.max() < 1.2 * places.mean()
    assert shares[NEGATIVE] < 2.0 * places.mean()
    assert 1.2 < np.maximum(cells[:, :, :NEGATIVE].sum(axis=2), 1).mean() < 1.5


def test_a_location_outside_the_label_is_in_no_baseline_cell(atlas):
    labels, cells = atlas
    assert not (cells & ~labels[:, None, :])[:, :, :NEGATIVE].any()


def test_negative_cells_have_nothing_else(atlas):
    _, cells = atlas
    assert ((cells[:, :, NEGATIVE]) == ~cells[:, :, :NEGATIVE].any(axis=2)).all()


def test_a_cell_left_with_nothing_is_negative():
    rng = np.random.default_rng(0)
    assert draw_cell_locations({3: 0.0}, rng, mitotic=False) == (NEGATIVE,)
    assert draw_cell_locations({}, rng, mitotic=True) == (NEGATIVE,)
    assert draw_image_shares((NEGATIVE,), rng, frequencies="atlas") == {}


def test_shares_that_fill_a_cell_leave_few_negative():
    """Two locations in half of the cells each: independent draws would leave a quarter empty."""
    rng = np.random.default_rng(0)
    drawn = [draw_cell_locations({0: 0.5, 16: 0.5}, rng, mitotic=False) for _ in range(3000)]
    assert 0.08 < np.mean([one == (NEGATIVE,) for one in drawn]) < 0.17
    assert np.mean([0 in one for one in drawn]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([16 in one for one in drawn]) == pytest.approx(0.5, abs=0.03)


def test_a_spindle_is_in_mitotic_cells_only_and_in_all_of_them():
    rng = np.random.default_rng(0)
    shares = draw_image_shares((0, SPINDLE), rng, frequencies="uniform")
    for _ in range(50):
        assert SPINDLE not in draw_cell_locations(shares, rng, mitotic=False)
        assert draw_cell_locations(shares, rng, mitotic=True) == (SPINDLE,)


def test_mitosis_is_rare_but_for_uniform_spindle_images():
    assert mitotic_share((0,), "uniform") == mitotic_share((0,), "atlas") < 0.05
    assert mitotic_share((0, SPINDLE), "atlas") == pytest.approx(0.07)
    assert mitotic_share((0, SPINDLE), "uniform") > 0.3


def test_a_few_cells_show_a_location_that_the_label_lacks():
    """Published: a class that the image lacks appears in under 3 % of cells."""
    rng = np.random.default_rng(1)
    drawn = [draw_extra_location((0, 16), rng) for _ in range(4000)]
    assert 0.005 < np.mean([share for _, share in drawn]) < 0.03
    extras = {extra for extra, _ in drawn if extra is not None}
    assert not extras & {0, 16, SPINDLE, NEGATIVE}
    assert len(extras) > 8
    assert all(share == 0.0 for extra, share in drawn if extra is None)
    assert draw_extra_location((NEGATIVE,), rng) == (None, 0.0)
    assert MITOTIC_LOCATIONS & extras


def test_presence_can_be_halved():
    rng = np.random.default_rng(5)
    full, half = (
        [
            draw_image_shares((7, 16), rng, frequencies="atlas", presence=factor)[7]
            for _ in range(2000)
        ]
        for factor in (1.0, 0.5)
    )
    assert 0.3 * np.mean(full) < np.mean(half) < 0.6 * np.mean(full)
