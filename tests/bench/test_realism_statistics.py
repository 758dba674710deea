import numpy as np
import pytest
from realism_statistics import (
    LINES,
    PRESENCE,
    Statistic,
    cell_counts,
    fit_presence,
    forms,
    log_sd,
    presence,
    summarise,
    summarise_spread,
)


def test_difference_is_in_standard_deviations():
    assert Statistic("g", "n", 3.0, 7.0, 2.0, "drawn").d == 2.0


def test_log_sd_of_a_log_normal():
    sample = np.exp(np.random.default_rng(0).normal(2.0, 0.5, 100_000))
    assert log_sd(*np.percentile(sample, [10, 90])) == pytest.approx(0.5, abs=0.01)


def test_counts_like_the_real_ones_differ_by_nothing():
    counts = np.exp(np.random.default_rng(0).normal(np.log(18), 0.6114, 200_000))
    assert [abs(s.d) < 0.02 for s in cell_counts(counts)] == [True, True]
    assert all(s.d > 1 for s in cell_counts(np.full(9, 60)))


def test_presence_all_or_nothing_has_correlation_one():
    p, rho = fit_presence([10, 0, 10, 0], [10, 10, 10, 10])
    assert (p, rho) == (0.5, pytest.approx(1.0))


def test_presence_of_alike_images_has_correlation_zero():
    assert fit_presence([5, 5, 5], [10, 10, 10]) == (0.5, 0.0)


def test_presence_recovers_a_beta_binomial():
    rng = np.random.default_rng(2)
    p, rho = 0.7, 0.4
    n = rng.integers(4, 30, 4000)
    share = rng.beta(p * (1 / rho - 1), (1 - p) * (1 / rho - 1), len(n))
    found = fit_presence(rng.binomial(n, share), n)
    assert found == (pytest.approx(p, abs=0.02), pytest.approx(rho, abs=0.03))


def test_presence_without_an_answer():
    assert np.isnan(fit_presence([3], [10])[1])
    assert np.isnan(fit_presence([10, 8], [10, 8])[1])


def test_presence_counts_only_images_whose_label_has_the_class():
    images = {f"f{i}": (7,) if i < 6 else (2,) for i in range(8)}
    cells = {f: [(7,), (16,)] * 5 for f in images}
    found, left_out = presence(images, cells)
    assert {s.name for s in found} == {"class 7"}
    assert found[0].simulated == 0.5
    assert found[0].real == PRESENCE[7][0]
    assert len(left_out) == len(PRESENCE) - 1


def test_forms_at_the_real_medians_differ_by_nothing():
    n = 12
    line = "HeLa"
    _, area, _, ratio, _, solid, _ = LINES[line]
    found, left_out = forms(
        np.array([line] * n + ["SiHa"]),
        np.full(n + 1, float(area)),
        np.full(n + 1, ratio),
        np.full(n + 1, solid),
        np.array([230.0] * n + [0.0]),
    )
    assert [round(s.d, 6) for s in found] == [0, 0, 0, 0]
    assert "form of SiHa: 1 whole cells" in left_out


def test_summary_takes_the_median_of_absolute_differences():
    values = [("a", 1.0), ("a", -3.0), ("b", 0.5)]
    statistics = [Statistic(g, "n", 0.0, d, 1.0, "drawn") for g, d in values]
    assert summarise(statistics) == {"all": 1.0, "over groups": 1.25, "a": 2.0, "b": 0.5}


def test_spread_is_the_median_factor_either_way():
    spreads = [2.0, 0.5, None, 1.0]
    statistics = [Statistic("g", "n", 0.0, 0.0, 1.0, "drawn", s) for s in spreads]
    assert summarise_spread(statistics) == (pytest.approx(np.log(2)), 3)
    assert np.isnan(summarise_spread(statistics[2:3])[0])


def test_the_designed_exception_is_named_in_its_row():
    images = {f"f{i}": (11,) for i in range(6)}
    found, _ = presence(images, {f: [(11,), (16,)] for f in images})
    assert "by design" in found[0].row()["note"]
