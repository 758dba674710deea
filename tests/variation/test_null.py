import numpy as np
import pytest

from hpacells.core.errors import InputError
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.runtime.variation_null import NULL_LEVELS, KindNull
from hpacells.variation.null import FEATURES, KINDS, describe_field, fit_null, judge_field


def judge(null, cells, kind):
    statistics, features = describe_field(cells)
    return judge_field(null, kind, statistics[kind], features)


@pytest.mark.parametrize("kind", KINDS)
def test_p_is_uniform_on_fields_that_the_null_has_not_seen(drawn_null, kind, draw_cells):
    rng = np.random.default_rng(2)
    p = np.array([judge(drawn_null, draw_cells(rng), kind).p for _ in range(400)])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert (p < level).mean() == pytest.approx(level, abs=3.5 * np.sqrt(level / 400))


def test_what_differs_by_design_is_found_apart(drawn_null, draw_cells):
    rng = np.random.default_rng(3)
    for _ in range(5):
        places = draw_cells(rng, 25, switched=0.4)
        amounts = draw_cells(rng, 25, spread=0.9)
        assert judge(drawn_null, places, "spatial").p < 0.01
        assert judge(drawn_null, amounts, "intensity").p < 0.01
        assert judge(drawn_null, places, "spatial").effect > 1
    odd = [judge(drawn_null, draw_cells(rng, 25, switched=0.4), "intensity").p for _ in range(40)]
    assert np.median(odd) > 0.2


def test_the_order_of_cells_says_nothing(drawn_null, draw_cells):
    rng = np.random.default_rng(4)
    cells = draw_cells(rng, 20, switched=0.3)
    turned = cells.take(rng.permutation(20))
    for kind in KINDS:
        assert judge(drawn_null, turned, kind).p == pytest.approx(judge(drawn_null, cells, kind).p)


def test_brightness_is_no_effect(drawn_null, draw_cells):
    cells = draw_cells(np.random.default_rng(5), 20)
    statistics, _ = describe_field(cells)
    brighter = type(cells)(**{**vars(cells), "protein": 3 * cells.protein + 2})
    assert describe_field(brighter)[0]["intensity"] == pytest.approx(
        statistics["intensity"], abs=1e-9
    )


def test_p_grows_with_nothing_but_falls_with_the_statistic(drawn_null, draw_cells):
    _, features = describe_field(draw_cells(np.random.default_rng(6), 20))
    p = [judge_field(drawn_null, "spatial", value, features).p for value in np.linspace(-12, 4, 60)]
    assert p[0] == 1.0
    assert (np.diff(p) <= 0).all()
    assert p[-1] == pytest.approx(0.1 / 400)


def test_a_trimmed_fit_is_not_carried_away_by_fields_that_vary(draw_cells):
    rng = np.random.default_rng(7)
    told = [describe_field(draw_cells(rng, spread=0.25 if i % 5 else 1.0)) for i in range(500)]
    clean = [describe_field(draw_cells(rng)) for _ in range(300)]
    share = {}
    for trimmed in (False, True):
        null = fit_null(told, source="mixed", trimmed=trimmed)
        p = np.array([judge_field(null, "intensity", s["intensity"], x).p for s, x in clean])
        share[trimmed] = (p < 0.05).mean()
    assert share[False] < 0.02
    assert 0.02 < share[True] <= 0.12


def test_one_cell_and_none_with_a_place(draw_cells):
    cells = draw_cells(np.random.default_rng(8), 1)
    statistics, features = describe_field(cells)
    assert set(statistics) == set(KINDS)
    assert np.isfinite([*statistics.values(), *features]).all()
    assert len(features) == len(FEATURES)
    only = np.zeros((1, N_LOCATIONS))
    only[:, NEGATIVE] = 1
    dark = type(cells)(**{**vars(cells), "probabilities": only, "protein": np.zeros(1)})
    statistics, features = describe_field(dark)
    assert statistics == {}
    assert np.isfinite(features).all()


def test_too_few_fields_are_refused(draw_cells):
    rng = np.random.default_rng(9)
    with pytest.raises(InputError, match=r"expected at least 100 fields .* got 3"):
        fit_null([describe_field(draw_cells(rng)) for _ in range(3)], source="", trimmed=False)


def test_numbers_of_a_null_must_fit():
    with pytest.raises(ValueError, match="ascending quantiles"):
        KindNull(expected=(1.0,), spread=(1.0,), quantiles=(0.0,), tail=1.0)
    levels = tuple(map(float, range(len(NULL_LEVELS))))
    with pytest.raises(ValueError, match="as many coefficients"):
        KindNull(expected=(1.0, 2.0), spread=(1.0,), quantiles=levels, tail=1.0)
