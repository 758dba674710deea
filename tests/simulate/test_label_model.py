"""The draws of labels: frequencies, presence, clustering, order."""

from collections import Counter

import numpy as np
import pytest

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.simulate.label_model import (
    SPINDLE,
    draw_cell_locations,
    draw_image_shares,
    draw_sample,
    mitotic_share,
)

# Measured on manually labelled cells of public atlas images: p, rho.
MEASURED = {0: (0.78, 0.52), 7: (0.49, 0.29), 12: (0.24, 0.21), 13: (0.70, 0.75), 14: (0.85, 0.33)}


def sample_with(*locations):
    sample = draw_sample(1, 0, "uniform")
    return type(sample)(**{**sample.__dict__, "locations": locations})


@pytest.mark.parametrize("location", sorted(MEASURED))
def test_presence_has_the_measured_mean_and_correlation(location):
    p, rho = MEASURED[location]
    sample = sample_with(location)
    rng = np.random.default_rng(location)
    images, cells = 1500, 12
    carried = np.zeros((images, cells))
    for i in range(images):
        shares = draw_image_shares(sample, rng)
        for j in range(cells):
            carried[i, j] = location in draw_cell_locations(shares, rng, mitotic=False)
    assert carried.mean() == pytest.approx(p, abs=0.035)
    # Intraclass correlation by analysis of variance.
    between = cells * carried.mean(axis=1).var(ddof=1)
    within = carried.var(axis=1, ddof=1).mean()
    assert (between - within) / (between + (cells - 1) * within) == pytest.approx(rho, abs=0.05)


def test_a_location_outside_the_label_is_in_no_cell():
    rng = np.random.default_rng(0)
    shares = draw_image_shares(sample_with(0, 7), rng)
    seen = {i for _ in range(200) for i in draw_cell_locations(shares, rng, mitotic=False)}
    assert seen <= {0, 7, NEGATIVE}


def test_a_cell_left_with_nothing_is_negative():
    rng = np.random.default_rng(0)
    assert draw_cell_locations({3: 0.0}, rng, mitotic=False) == (NEGATIVE,)
    assert draw_cell_locations({NEGATIVE: 1.0}, rng, mitotic=False) == (NEGATIVE,)


def test_a_spindle_is_in_mitotic_cells_only_and_in_all_of_them():
    rng = np.random.default_rng(0)
    shares = draw_image_shares(sample_with(0, SPINDLE), rng)
    for _ in range(50):
        assert SPINDLE not in draw_cell_locations(shares, rng, mitotic=False)
        assert draw_cell_locations(shares, rng, mitotic=True) == (SPINDLE,)


def test_mitosis_is_rare_but_for_uniform_spindle_images():
    assert mitotic_share(sample_with(0), "uniform") == mitotic_share(sample_with(0), "atlas")
    assert mitotic_share(sample_with(SPINDLE), "atlas") == pytest.approx(0.07)
    assert mitotic_share(sample_with(SPINDLE), "uniform") > 0.3


def count_cells(frequencies, fields=3000):
    cells, images, sizes = Counter(), Counter(), []
    for i in range(fields):
        sample = draw_sample(5, i, frequencies)
        rng = np.random.default_rng([5, i])
        shares = draw_image_shares(sample, rng)
        images.update(sample.locations)
        sizes.append(len(sample.locations))
        share = mitotic_share(sample, frequencies)
        for _ in range(8):
            cells.update(draw_cell_locations(shares, rng, mitotic=rng.random() < share))
    return cells, images, np.array(sizes)


def test_uniform_means_uniform_over_the_locations_of_cells():
    cells, _, sizes = count_cells("uniform")
    counts = np.array([cells[i] for i in range(N_LOCATIONS) if i != NEGATIVE])
    assert counts.min() > 0.65 * counts.mean()
    assert counts.max() < 1.4 * counts.mean()
    assert 1.5 < sizes.mean() < 1.9
    assert sizes.max() == 4


def test_atlas_frequencies_follow_the_image_counts_of_the_atlas():
    _, images, sizes = count_cells("atlas")
    assert images[0] > images[16] > images[13] > images[2] > images[17] > images[15]
    assert images[0] / 3000 == pytest.approx(8797 / 21806, abs=0.08)
    assert sizes.mean() == pytest.approx(1.645, abs=0.12)


def test_few_fields_show_many_first_locations():
    assert len({draw_sample(2, i, "uniform").locations for i in range(48)}) >= 18


def test_a_sample_has_at_most_six_neighbouring_fields_and_one_label():
    samples = [draw_sample(4, i, "uniform") for i in range(60)]
    ordinals = [s.ordinal for s in samples]
    assert ordinals == sorted(ordinals)
    assert max(Counter(ordinals).values()) <= 6
    by_ordinal = {}
    for sample in samples:
        assert by_ordinal.setdefault(sample.ordinal, sample) == sample
    assert len({s.antibody for s in by_ordinal.values()}) == len(by_ordinal)


def test_a_field_alone_draws_what_it_draws_in_the_dataset():
    assert draw_sample(4, 31, "atlas") == [draw_sample(4, i, "atlas") for i in range(40)][31]
    assert draw_sample(4, 31, "atlas") != draw_sample(5, 31, "atlas")


def test_negative_stands_alone_on_a_label():
    for i in range(600):
        locations = draw_sample(8, i, "uniform").locations
        assert NEGATIVE not in locations or locations == (NEGATIVE,)
