"""Cells that several tests look at."""

import numpy as np
import pytest

from hpacells.simulate.bodies import build_anatomies
from hpacells.simulate.cell_lines import find_cell_line
from hpacells.simulate.layout import draw_layout
from hpacells.simulate.stain_style import draw_stain_style
from hpacells.simulate.stains import stain_cell


def make_cells(mitotic_share, *, pixel_um=0.16, line="U-2 OS", seed=3, side_um=64.0):
    layout = draw_layout(
        find_cell_line(line), side_um, mitotic_share=mitotic_share, rng=np.random.default_rng(seed)
    )
    cells = build_anatomies(
        layout, side_px=round(side_um / pixel_um), pixel_um=pixel_um, seed=(seed, 1)
    )
    whole = [cell for cell in cells if cell.nucleus.sum() * pixel_um**2 > 20]
    style = draw_stain_style(np.random.default_rng(seed))
    return [stain_cell(cell, style, np.random.default_rng([seed, cell.number])) for cell in whole]


@pytest.fixture(scope="session")
def interphase():
    return make_cells(0.0)


@pytest.fixture(scope="session")
def dividing():
    return make_cells(1.0)


@pytest.fixture(scope="session")
def interphase_fine():
    return make_cells(0.0, pixel_um=0.1)


@pytest.fixture(scope="session")
def crowded():
    return make_cells(0.0, line="HAP1", side_um=50.0)
