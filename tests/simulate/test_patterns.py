"""Every location is drawn where its structure is."""

import numpy as np
import pytest

from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS, NEGATIVE
from hpacells.simulate.patterns.registry import PATTERNS
from hpacells.simulate.protein import draw_image_levels, draw_protein, unspecific_staining

KEY = {key: i for i, key in enumerate(LOCATION_KEYS)}


def draw(stained, key, seed=0):
    return PATTERNS[KEY[key]].draw(stained, np.random.default_rng(seed))


def mean_in(image, where):
    return float(image[where].mean()) if where.any() else 0.0


def test_every_class_but_negative_has_a_pattern():
    assert sorted(PATTERNS) == [i for i in range(N_LOCATIONS) if i != NEGATIVE]


@pytest.mark.parametrize(
    "key", [k for k in LOCATION_KEYS if k not in ("negative", "mitotic_spindle")]
)
def test_a_pattern_is_bright_finite_and_inside_its_cell(interphase, key):
    for number, stained in enumerate(interphase[:3]):
        image = draw(stained, key, number)
        assert image.shape == stained.anatomy.shape
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert not image[~stained.anatomy.body].any()
        assert 0.4 < image.max() < 8


@pytest.mark.parametrize(
    "key", ["nucleoplasm", "nucleoli", "nuclear_speckles", "nuclear_bodies", "nuclear_membrane"]
)
def test_nuclear_locations_stay_in_the_nucleus(interphase, key):
    for stained in interphase[:4]:
        depth = stained.anatomy.nucleus_depth_um
        image = draw(stained, key)
        assert image[depth < -1.0].sum() < 0.03 * image.sum()


@pytest.mark.parametrize(
    "key", ["endoplasmic_reticulum", "golgi_apparatus", "mitochondria", "cytosol", "vesicles",
            "intermediate_filaments", "microtubules"]
)  # fmt: skip
def test_cytoplasmic_locations_leave_the_nucleus_dark(interphase, key):
    for stained in interphase[:4]:
        cell = stained.anatomy
        image = draw(stained, key)
        inside = mean_in(image, cell.nucleus_depth_um > 1.0)
        outside = mean_in(image, cell.body & (cell.nucleus_depth_um < -0.3) & (cell.edge_um > 1))
        assert inside < 0.6 * outside


def test_nucleoli_are_where_the_nucleus_stain_is_dark(interphase):
    seen = 0
    for stained in interphase:
        cell = stained.anatomy
        filled = cell.nucleoli > 0.9
        if filled.sum() < 30:
            continue
        seen += 1
        around = cell.nucleus & (cell.nucleoli < 0.05) & (cell.nucleus_depth_um > 0.5)
        assert mean_in(stained.dna, filled) < 0.8 * mean_in(stained.dna, around)
        image = draw(stained, "nucleoli")
        assert mean_in(image, filled) > 3 * mean_in(image, around)
        assert mean_in(draw(stained, "nucleoplasm"), filled) < mean_in(
            draw(stained, "nucleoplasm"), around
        )
    assert seen > 2


def test_fibrillar_centers_are_few_small_spots_inside_nucleoli(interphase):
    for stained in interphase[:5]:
        cell = stained.anatomy
        image = draw(stained, "nucleoli_fibrillar_center")
        bright = image > 0.5
        if len(cell.nucleolus_centres) == 0:
            continue
        assert bright.sum() < (cell.nucleoli > 0.5).sum()
        assert (cell.nucleoli[bright] > 0.3).mean() > 0.8


def test_the_membranes_are_rims(interphase):
    for stained in interphase[:4]:
        cell = stained.anatomy
        outline = draw(stained, "plasma_membrane")
        assert mean_in(outline, cell.body & (cell.edge_um < 0.6)) > 3 * mean_in(
            outline, cell.edge_um > 3
        )
        rim = draw(stained, "nuclear_membrane")
        assert mean_in(rim, np.abs(cell.nucleus_depth_um - 0.15) < 0.2) > 3 * mean_in(
            rim, cell.nucleus_depth_um > 1.5
        )


def test_junctions_are_brighter_than_free_edges(crowded):
    ratios = []
    for stained in crowded:
        cell = stained.anatomy
        edge = cell.body & (cell.edge_um < 0.6)
        touching, free = edge & (cell.contact > 0.9), edge & (cell.contact < 0.05)
        if min(touching.sum(), free.sum()) > 100:
            image = draw(stained, "plasma_membrane")
            ratios.append(mean_in(image, touching) / mean_in(image, free))
    assert len(ratios) > 3
    assert np.median(ratios) > 1.2


@pytest.mark.parametrize("key", ["golgi_apparatus", "aggresome", "centrosome"])
def test_organelles_beside_the_nucleus_lie_on_the_centrosomes_side(interphase, key):
    for stained in interphase[:4]:
        cell = stained.anatomy
        image = draw(stained, key)
        rows, columns = np.nonzero(image > 0.5)
        gap = np.hypot(rows - cell.centrosome[0], columns - cell.centrosome[1]) * cell.pixel_um
        assert np.median(gap) < 6.0


def test_endoplasmic_reticulum_and_microtubules_follow_their_stains(interphase):
    for stained in interphase[:3]:
        body = stained.anatomy.body
        for key, stain in (
            ("microtubules", stained.microtubules),
            ("endoplasmic_reticulum", stained.er),
        ):
            assert np.corrcoef(draw(stained, key)[body], stain[body])[0, 1] > 0.7


def test_the_spindle_is_in_dividing_cells_only_and_between_the_poles(interphase, dividing):
    assert not draw(interphase[0], "mitotic_spindle").any()
    for stained in dividing[:4]:
        cell = stained.anatomy
        image = draw(stained, "mitotic_spindle")
        middle = cell.poles.mean(axis=0)
        rows, columns = np.nonzero(image > 0.5)
        reach = np.hypot(*(cell.poles[1] - cell.poles[0]))
        assert np.percentile(np.hypot(rows - middle[0], columns - middle[1]), 90) < 0.8 * reach


def test_a_dividing_cell_has_no_nucleoli_and_bright_chromatin(interphase, dividing):
    usual = np.median([s.dna.max() for s in interphase])
    for stained in dividing:
        assert not stained.anatomy.nucleoli.any()
        assert stained.dna.max() > usual


def test_a_mixture_shows_each_location_and_negative_shows_none(interphase):
    stained = interphase[0]
    levels = draw_image_levels((4, 16), np.random.default_rng(0))
    assert not draw_protein(stained, (NEGATIVE,), levels, seed=(1,)).any()
    both = draw_protein(stained, (4, 16), levels, seed=(1,))
    speckles = draw_protein(stained, (4,), levels, seed=(1,))
    cytoplasm = stained.anatomy.body & (stained.anatomy.nucleus_depth_um < -1)
    assert mean_in(both, cytoplasm) > 0.1
    assert not mean_in(speckles, cytoplasm) > 0.02
    assert (both >= speckles - 1e-5).all()  # one location does not change another's look


def test_unspecific_staining_is_faint(interphase):
    image = unspecific_staining(interphase[0], 0.05, np.random.default_rng(0))
    assert 0 < image.mean() < 0.1
    assert not image[~interphase[0].anatomy.body].any()


@pytest.mark.parametrize("key", ["nucleoplasm", "vesicles", "mitochondria", "cytosol"])
def test_a_pattern_looks_alike_at_another_pixel_size(interphase, interphase_fine, key):
    def share(cells):
        cells = cells[:5]
        return np.mean([(draw(s, key) > 0.3).sum() / s.anatomy.body.sum() for s in cells])

    assert share(interphase) == pytest.approx(share(interphase_fine), rel=0.35)
