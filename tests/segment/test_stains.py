"""Stretching a stain: where its bright end is, in ordinary, blank and sparse fields."""

import numpy as np
import pytest

from hpacells.segment.stains import bright_end, brightest_level, percentiles, stretch


def draw(share, *, bright=0.5, noise=0.01, shape=(300, 400)):
    """Noise, and a bright block on a share of the field."""
    image = noise * np.random.default_rng(0).random(shape, np.float32)
    side = round((share * image.size) ** 0.5)
    image[20 : 20 + side, 30 : 30 + side] += bright
    return image


def test_an_ordinary_field_runs_from_its_dark_to_its_bright_percentile():
    image = draw(0.1)
    low, high = np.percentile(image, [2.0, 99.5])
    found = stretch(image, 0.008, least_px=200)
    assert found is not None
    np.testing.assert_allclose(found, np.clip((image - low) / (high - low), 0, 1), atol=1e-5)


def test_in_a_sparse_field_the_one_bright_thing_is_the_end():
    found = stretch(draw(0.002), 0.008, least_px=200)
    assert found is not None
    assert np.median(found) < 0.03  # noise is not stretched to the whole range
    assert found[25, 35] > 0.95


@pytest.mark.parametrize("share", [0.0, 0.0002])
def test_blank_or_with_less_than_the_smallest_thing_there_is_nothing(share):
    assert stretch(draw(share, noise=0.005), 0.008, least_px=200) is None


def test_a_speck_brighter_than_much_else_is_not_the_end():
    image = draw(0.02, bright=0.1)
    image[200:215, 300:315] = 1.0  # as large as what counts, ten times brighter
    found = stretch(image, 0.008, least_px=200)
    assert found is not None
    assert found[25, 35] > 0.9


def test_the_brightest_level_is_what_so_many_pixels_reach():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert [brightest_level(image, area) for area in (0, 1, 3, 12, 99)] == [11, 11, 9, 0, 0]


@pytest.mark.parametrize("area", [1, 40, 700, 60_000, 120_000])
@pytest.mark.parametrize("every", [1, 16])
def test_a_sample_of_other_pixels_than_most_changes_no_brightest_level(area, every):
    image = np.random.default_rng(0).random((300, 400), np.float32)
    image.reshape(-1)[::every] += 1  # what is looked at first is brighter
    assert brightest_level(image, area) == np.sort(image, axis=None)[-area]


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 7), (200, 300)])
def test_percentiles_are_those_of_numpy(shape):
    image = np.random.default_rng(0).random(shape, np.float32)
    shares = (0.0, 2.0, 50.0, 99.5, 99.8, 100.0)
    assert percentiles(image, shares) == np.percentile(image, shares).tolist()


@pytest.mark.parametrize(
    ("middle", "brightest", "end"), [(0.1, 0.9, 0.9), (0.1, 0.7, 0.2), (0.02, 0.9, 0.2)]
)
def test_the_bright_end_moves_only_in_a_field_of_background(middle, brightest, end):
    assert bright_end(0.0, middle, 0.2, brightest=brightest, min_contrast=0.01) == end


@pytest.mark.parametrize("shape", [(1, 1), (1, 9)])
def test_few_pixels_are_no_error(shape):
    assert stretch(np.zeros(shape, np.float32), 0.008, least_px=200) is None
