"""Every location is drawn where its structure is, and varies with the antibody."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS, NEGATIVE
from hpacells.simulate.patterns.ground import along_tubules, draw_tubule_share, thickness
from hpacells.simulate.patterns.registry import PATTERNS
from hpacells.simulate.texture import blur_um

KEY = {key: i for i, key in enumerate(LOCATION_KEYS)}


def draw(stained, key, seed=0, antibody=0):
    look = np.random.default_rng([antibody, KEY[key]])
    return PATTERNS[KEY[key]].draw(stained, look, np.random.default_rng(seed))


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


ANTIBODIES = range(6)
NUCLEAR = (
    "nucleoplasm", "nucleoli_fibrillar_center", "nuclear_speckles", "nuclear_bodies",
    "nuclear_membrane",
)  # fmt: skip
CYTOPLASMIC = (
    "endoplasmic_reticulum", "golgi_apparatus", "mitochondria", "cytosol", "vesicles",
    "intermediate_filaments", "microtubules",
)  # fmt: skip


def over_antibodies(stained, key, measure):
    return np.array([measure(draw(stained, key, antibody=n)) for n in ANTIBODIES])


@pytest.mark.parametrize("key", NUCLEAR)
def test_nuclear_locations_stay_in_the_nucleus_but_for_haze(interphase, key):
    for stained in interphase[:2]:
        depth = stained.anatomy.nucleus_depth_um
        outside = over_antibodies(
            stained, key, lambda image, d=depth: image[d < -1.0].sum() / image.sum()
        )
        assert np.median(outside) < 0.25
        assert outside.max() < 0.6


def test_nucleoli_stand_out_from_the_haze_that_they_leave_in_the_cytoplasm(interphase):
    for stained in interphase[:2]:
        cell = stained.anatomy
        inner, outer = cell.nucleoli > 0.8, cell.body & (cell.nucleus_depth_um < -1.0)
        ratios = over_antibodies(
            stained,
            "nucleoli",
            lambda image, i=inner, o=outer: mean_in(image, i) / mean_in(image, o),
        )
        assert np.median(ratios) > 8
        assert ratios.min() > 2.5
        assert np.isfinite(ratios).all()  # a little protein is always on its way


@pytest.mark.parametrize("key", CYTOPLASMIC)
def test_cytoplasmic_locations_leave_the_nucleus_darker(interphase, key):
    ratios = []
    for stained in interphase[:3]:
        cell = stained.anatomy
        inner = cell.nucleus_depth_um > 1.0
        outer = cell.body & (cell.nucleus_depth_um < -0.3) & (cell.nucleus_depth_um > -4)
        ratios.append(
            over_antibodies(
                stained, key, lambda image, i=inner, o=outer: mean_in(image, i) / mean_in(image, o)
            )
        )
    assert np.median(ratios) < 0.75


@pytest.mark.parametrize("key", ["cytosol", "plasma_membrane"])
def test_the_share_in_the_nucleus_varies_with_the_antibody(interphase, key):
    cell = interphase[0].anatomy
    inner, outer = cell.nucleus_depth_um > 1.0, cell.body & (cell.nucleus_depth_um < -1.0)
    ratios = [
        mean_in(image, inner) / mean_in(image, outer)
        for image in (draw(interphase[0], key, antibody=n) for n in range(16))
    ]
    assert np.percentile(ratios, 90) > 1.6 * np.percentile(ratios, 10)


def test_nucleoli_are_where_the_nucleus_stain_is_dark(interphase):
    seen = 0
    for stained in interphase:
        cell = stained.anatomy
        filled = cell.nucleoli > 0.9
        if filled.sum() < 30:
            continue
        seen += 1
        around = cell.nucleus & (cell.nucleoli < 0.05) & (cell.nucleus_depth_um > 0.5)
        assert mean_in(stained.dna, filled) < 0.97 * mean_in(stained.dna, around)

        def contrast(image, filled=filled, around=around):
            return mean_in(image, filled) / mean_in(image, around)

        assert np.median(over_antibodies(stained, "nucleoli", contrast)) > 3
        assert np.median(over_antibodies(stained, "nucleoplasm", contrast)) < 0.8
    assert seen > 2


def test_fibrillar_centers_are_few_small_spots_inside_nucleoli(interphase):
    for stained in interphase[:5]:
        cell = stained.anatomy
        image = draw(stained, "nucleoli_fibrillar_center")
        if len(cell.nucleolus_centres) == 0:
            continue
        bright = image > 0.5
        assert bright.sum() < (cell.nucleoli > 0.5).sum()
        assert (cell.nucleoli[bright] > 0.3).mean() > 0.8


def test_the_nuclear_membrane_is_a_rim_of_the_width_seen_in_real_fields(interphase):
    for stained in interphase[:4]:
        depth = stained.anatomy.nucleus_depth_um
        rim, inner, beside = (np.abs(depth - 0.12) < 0.15), depth > 1.5, np.abs(depth - 0.12) > 0.7

        def over(image, rim=rim, other=inner):
            return mean_in(image, rim) / mean_in(image, other)

        assert np.median(over_antibodies(stained, "nuclear_membrane", over)) > 2.5
        drop = draw(stained, "nuclear_membrane")
        assert mean_in(drop, beside & (depth < 0)) < 0.4 * mean_in(drop, rim)


def test_the_plasma_membrane_covers_the_cell_and_does_not_fade_to_its_rim(interphase):
    """Cytosol does: that is how the two are told apart on spread cells."""

    def edge_share(key, stained):
        cell = stained.anatomy
        edge, inner = cell.body & (cell.edge_um < 1.0), cell.edge_um > 3
        return np.median(
            over_antibodies(
                stained, key, lambda image: mean_in(image, edge) / mean_in(image, inner)
            )
        )

    for stained in interphase[:3]:
        cytosol = edge_share("cytosol", stained)
        assert cytosol < 0.7
        assert edge_share("plasma_membrane", stained) > max(0.7, 1.5 * cytosol)


def test_thickness_follows_the_microtubules_outside_the_nucleus(interphase):
    stained = interphase[0]
    cell = stained.anatomy
    outer = cell.body & (cell.nucleus_depth_um < -0.5)
    image = thickness(stained, length_um=1.2, power=1.0)
    assert np.corrcoef(image[outer], stained.microtubules[outer])[0, 1] > 0.4
    assert image[outer].mean() == pytest.approx(1.0, abs=0.15)
    assert image[~cell.body] == pytest.approx(1.0)
    assert image[cell.nucleus_depth_um > 0.5] == pytest.approx(1.0)
    assert thickness(stained, length_um=1.2, power=0.0) == pytest.approx(1.0)
    unstained = replace(stained, microtubules=np.zeros_like(stained.microtubules))
    assert (thickness(unstained, length_um=1.2, power=1.0) == 1).all()


def test_a_stain_along_microtubules_keeps_its_mean_and_leaves_the_nucleus(interphase):
    stained = interphase[0]
    cell = stained.anatomy
    outer = cell.body & (cell.in_nucleus == 0)
    image = along_tubules(stained, 0.3)
    assert image[outer].mean() == pytest.approx(1.0, abs=0.06)
    assert (image[cell.in_nucleus == 1] == 1).all()
    assert (image[~cell.body] == 1).all()
    bright = stained.microtubules > np.percentile(stained.microtubules[outer], 80)
    assert image[outer & bright].mean() > 1.1
    assert image[outer & ~bright].mean() < 0.95
    assert (along_tubules(stained, 0.0) == 1).all()
    unstained = replace(stained, microtubules=np.zeros_like(stained.microtubules))
    assert (along_tubules(unstained, 0.3) == 1).all()


def test_most_antibodies_follow_the_microtubules_a_little_and_some_more():
    shares = [draw_tubule_share(np.random.default_rng(seed)) for seed in range(400)]
    assert min(shares) >= 0
    assert max(shares) == 0.4
    assert np.median(shares) < 0.1 < np.percentile(shares, 80)


def test_cytosol_is_brighter_where_microtubules_are_dense(interphase):
    for stained in interphase[:3]:
        outer = stained.anatomy.body & (stained.anatomy.nucleus_depth_um < -0.5)
        dense = blur_um(stained.microtubules, 1.2, stained.anatomy.pixel_um)[outer]

        def follows(image, outer=outer, dense=dense):
            return np.corrcoef(image[outer], dense)[0, 1]

        assert np.median(over_antibodies(stained, "cytosol", follows)) > 0.5


def test_some_antibodies_outline_the_cell(interphase):
    cell = interphase[0].anatomy
    edge, inner = cell.body & (cell.edge_um < 0.6), cell.edge_um > 3
    shares = [
        mean_in(image, edge) / mean_in(image, inner)
        for image in (draw(interphase[0], "plasma_membrane", antibody=n) for n in range(16))
    ]
    assert max(shares) > 2.5
    assert min(shares) < 1.0


def test_junctions_are_brighter_than_free_edges(crowded):
    ratios = []
    for stained in crowded:
        cell = stained.anatomy
        edge = cell.body & (cell.edge_um < 0.6)
        touching, free = edge & (cell.contact > 0.9), edge & (cell.contact < 0.05)
        if min(touching.sum(), free.sum()) > 100:
            image = draw(stained, "plasma_membrane", antibody=len(ratios))
            ratios.append(mean_in(image, touching) / mean_in(image, free))
    assert len(ratios) > 3
    assert np.median(ratios) > 1.1


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

            def follows(image, body=body, stain=stain):
                return np.corrcoef(image[body], stain[body])[0, 1]

            assert np.median(over_antibodies(stained, key, follows)) > 0.7


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


def count_dots(image, level=0.35):
    peaks = (image == ndimage.maximum_filter(image, 3)) & (image > level * image.max())
    return int(peaks.sum())


def test_antibodies_against_vesicles_differ_in_number_of_dots(interphase):
    counts = [count_dots(draw(interphase[0], "vesicles", antibody=n)) for n in range(40)]
    assert min(counts) < 40
    assert max(counts) > 120


def test_nuclear_bodies_are_two_to_twenty(interphase):
    for number in range(12):
        image = draw(interphase[0], "nuclear_bodies", number, antibody=number)
        inside = image * (interphase[0].anatomy.nucleus_depth_um > 0.3)
        assert 1 <= count_dots(inside, 0.6) <= 20


def test_an_aggresome_is_one_lump(interphase):
    for number, stained in enumerate(interphase[:5]):
        image = draw(stained, "aggresome", number, antibody=number)
        lumps, count = ndimage.label(image > 0.5)
        sizes = np.bincount(lumps.ravel())[1:] * stained.anatomy.pixel_um**2
        assert count <= 3
        assert 0.8 < sizes.max() < 25
        assert sizes.max() > 0.6 * sizes.sum()


def test_centrosomes_are_one_or_two_dots_and_stand_at_the_poles_in_mitosis(interphase, dividing):
    plain = [n for n in range(12) if np.random.default_rng([n, 12]).random(2)[1] >= 0.3]
    for number in plain[:4]:
        image = draw(interphase[0], "centrosome", antibody=number)
        assert ndimage.label(image > 0.5)[1] <= 2
        assert (image > 0.5).any()
    cell = dividing[0].anatomy
    image = draw(dividing[0], "centrosome", antibody=plain[0])
    for row, column in np.rint(cell.poles).astype(int):
        assert image[row - 2 : row + 3, column - 2 : column + 3].max() > 0.5


def test_focal_adhesions_alone_are_streaks_near_the_rim(interphase):
    """Some antibodies show adhesions only: most of their light is near the rim."""
    cell = interphase[0].anatomy
    near = cell.body & (cell.edge_um < 4.0)
    shares = []
    for number in range(14):
        image = draw(interphase[0], "actin_filaments", antibody=number)
        bright = image > 0.5 * image.max()
        shares.append(near[bright].mean())
    assert max(shares) > 0.8
    assert min(shares) < 0.6


@pytest.mark.parametrize("key", [k for k in LOCATION_KEYS if k not in ("negative",)])
def test_a_location_has_a_module_that_says_what_it_looks_like(key):
    module = sys.modules[PATTERNS[KEY[key]].draw.__module__]
    assert module.__name__.endswith(f".patterns.{key}")
    assert f"class {KEY[key]}" in module.__doc__
    assert module.__all__ == ["draw"]


@pytest.mark.parametrize("key", LOCATION_KEYS[:-1])
def test_the_same_generators_give_the_same_picture(interphase, dividing, key):
    stained = dividing[0] if key == "mitotic_spindle" else interphase[0]
    np.testing.assert_array_equal(draw(stained, key, 3, 4), draw(stained, key, 3, 4))
    assert not np.array_equal(draw(stained, key, 3, 4), draw(stained, key, 3, 5))


@pytest.mark.parametrize("key", ["nucleoplasm", "vesicles", "mitochondria", "cytosol"])
def test_a_pattern_looks_alike_at_another_pixel_size(interphase, interphase_fine, key):
    def share(cells):
        cells = cells[:5]
        return np.mean(
            [
                (draw(s, key, antibody=n) > 0.3).sum() / s.anatomy.body.sum()
                for s in cells
                for n in range(4)
            ]
        )

    assert share(interphase) == pytest.approx(share(interphase_fine), rel=0.35)
