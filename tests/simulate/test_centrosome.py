"""The centrosome's satellites, in mitosis too."""

import numpy as np
import pytest

from hpacells.simulate.patterns.centrosome import draw


@pytest.fixture(scope="module")
def speckled(dividing):
    """Seed of an antibody that shows many satellites beside the poles, and next to no haze."""

    def light(seed):
        cell = dividing[0].anatomy
        image = draw(dividing[0], np.random.default_rng(seed), np.random.default_rng(0))
        haze = np.median(image[cell.body])
        return (image[cell.body] > 0.15).sum() if haze < 0.03 else 0

    return max(range(40), key=light)


def far_light(stained, seed):
    """Light more than 0.8 µm from the centrioles, by the centriole that is nearest."""
    cell = stained.anatomy
    hosts = cell.poles if cell.mitotic else cell.centrosome[None]
    image = draw(stained, np.random.default_rng(seed), np.random.default_rng(cell.number))
    places = np.argwhere(image > 0.1)
    gaps_um = np.linalg.norm(places[:, None] - hosts[None], axis=2) * cell.pixel_um
    light = image[image > 0.1] * (gaps_um.min(axis=1) > 0.8)
    nearest = gaps_um.argmin(axis=1)
    return np.bincount(nearest, light, minlength=len(hosts)), gaps_um.min(axis=1).max()


def test_in_mitosis_each_pole_has_its_satellites(dividing, speckled):
    light = np.array([far_light(stained, speckled)[0] for stained in dividing])
    assert len(light) > 3
    shares = light.sum(axis=0) / light.sum()
    assert shares == pytest.approx([0.5, 0.5], abs=0.2)
    assert (light > 0).all(axis=1).mean() > 0.7


def test_outside_mitosis_they_lie_around_the_one_centrosome(interphase, speckled):
    found = [far_light(stained, speckled) for stained in interphase]
    assert sum(light.sum() for light, _ in found) > 0
    assert max(reach_um for _, reach_um in found) < 9.0
