"""The 17 cell lines and what is drawn from their figures."""

import numpy as np
import pytest

from hpacells.core.errors import ConfigError
from hpacells.simulate.cell_lines import CELL_LINES, body_area, draw_excess, find_cell_line

ATLAS_LINES = {
    "A-431", "A549", "EFO-21", "HAP1", "HEK 293", "HUVEC TERT2", "HaCaT", "HeLa", "PC-3", "RH-30",
    "RPTEC TERT1", "SH-SY5Y", "SK-MEL-30", "SiHa", "U-2 OS", "U-251 MG", "hTCEpi",
}  # fmt: skip


def test_the_lines_are_those_of_the_atlas():
    assert [line.name for line in CELL_LINES if line.name not in ATLAS_LINES] == []
    assert len(CELL_LINES) == len(ATLAS_LINES) == 17
    for name in ATLAS_LINES:
        assert find_cell_line(name).name == name


def test_an_unknown_line_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ConfigError, match=r"A-431, A549, EFO-21.*got 'hela'"):
        find_cell_line("hela")


@pytest.mark.parametrize("line", CELL_LINES, ids=lambda line: line.name)
def test_the_figures_of_a_line_agree_with_each_other(line):
    low, middle, high = line.area_um2
    assert low < middle < high
    assert 1.0 < line.axis_ratio[0] < line.axis_ratio[1]
    assert 1.0 > line.solidity[0] > line.solidity[1] > 0.5
    assert 0.1 < line.nucleus_um2 / middle < 0.55
    # the table's mean cell times its density is what cells cover, within a cell cut or two
    assert line.density_per_1e4um2 * middle / 1e4 == pytest.approx(line.covered, rel=0.35)
    assert 0.0 < line.border_shared < line.covered
    assert line.weight > 0


def test_areas_follow_the_percentiles_of_the_line():
    line = find_cell_line("A-431")
    drawn = [body_area(line, z) for z in np.random.default_rng(0).standard_normal(4000)]
    assert np.percentile(drawn, [10, 50, 90]) == pytest.approx(line.area_um2, rel=0.08)
    assert body_area(line, 0.0) == pytest.approx(line.area_um2[1])
    assert body_area(line, 9.0) == body_area(line, 2.2)


def test_excesses_have_the_median_and_the_tail_asked_for():
    rng = np.random.default_rng(1)
    excess = [draw_excess(0.5, 1.1, rng) for _ in range(4000)]
    assert np.percentile(excess, [50, 90]) == pytest.approx([0.5, 1.1], rel=0.08)
    assert min(excess) > 0
