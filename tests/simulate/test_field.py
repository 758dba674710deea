"""A simulated field: determinism, masks, truth, limits."""

import numpy as np
import pytest
from skimage.measure import label as connected_parts

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError
from hpacells.core.locations import NEGATIVE
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import field_id, simulate_field

SMALL = SimulateConfig(size_px=320, pixel_size_um=0.2)


@pytest.fixture(scope="module")
def fields():
    return [simulate_field(11, index, SMALL) for index in range(12)]


def test_a_field_depends_on_seed_and_index_only(fields):
    again = simulate_field(11, 7, SMALL)
    assert (again.fov.pixels == fields[7].fov.pixels).all()
    assert (again.masks.cells == fields[7].masks.cells).all()
    assert again.cells == fields[7].cells
    assert (simulate_field(12, 7, SMALL).fov.pixels != again.fov.pixels).any()
    assert (fields[6].fov.pixels != again.fov.pixels).any()


def test_ids_hold_the_seed(fields):
    assert fields[3].fov.fov_id == field_id(11, 3) == "sim11_000003"


def test_every_mask_id_has_its_row_and_one_part(fields):
    for field in fields:
        ids = field.masks.cell_ids.tolist()
        assert ids == [cell.cell_id for cell in field.cells] == list(range(1, len(ids) + 1))
        for cell_id in ids:
            assert connected_parts(field.masks.cells == cell_id, connectivity=2).max() == 1
        areas = np.bincount(field.masks.cells.ravel(), minlength=len(ids) + 1)[1:] * 0.2**2
        assert [c.area_um2 for c in field.cells] == pytest.approx(areas.tolist())


def test_cells_carry_only_what_their_image_is_labelled_with(fields):
    for field in fields:
        allowed = {*field.locations, NEGATIVE}
        for cell in field.cells:
            assert set(cell.locations) <= allowed
            assert NEGATIVE not in cell.locations or len(cell.locations) == 1


def test_cells_mostly_outside_the_frame_are_masked_but_not_in_the_truth(fields):
    cells = [cell for field in fields for cell in field.cells]
    assert any(not cell.in_truth for cell in cells)
    assert all(cell.in_truth == (cell.share_inside >= 0.5) for cell in cells)
    for field in fields:
        inner = field.masks.cells[2:-2, 2:-2]
        border = set(np.unique(field.masks.cells)) - set(np.unique(inner))
        assert all(not c.in_truth for c in field.cells if c.cell_id in border)
        for cell in field.cells:
            rows, columns = np.nonzero(field.masks.cells == cell.cell_id)
            if min(*rows, *columns) > 2 and max(*rows, *columns) < 317:
                assert cell.share_inside > 0.99


def test_stains_lie_in_the_cells(fields):
    for field in fields:
        nuclei, cells = field.masks.nuclei > 0, field.masks.cells > 0
        if nuclei.sum() < 500 or (~cells).sum() < 500:
            continue
        blue = field.fov.channel(Channel.NUCLEUS).astype(float)
        assert blue[nuclei].mean() > 10 * blue[~cells].mean()
        yellow = field.fov.channel(Channel.ER).astype(float)
        assert yellow[cells & ~nuclei].mean() > 2 * yellow[nuclei].mean()
        assert (yellow[~cells] == 0).mean() > 0.5


def test_a_negative_image_is_nearly_black_in_green():
    for index in range(400):
        from hpacells.simulate.label_model import draw_sample  # noqa: PLC0415

        if draw_sample(11, index, "uniform").locations == (NEGATIVE,):
            break
    field = simulate_field(11, index, SMALL)
    green = field.fov.channel(Channel.PROTEIN)
    assert np.percentile(green[field.masks.cells > 0], 95) <= 12
    assert all(cell.locations == (NEGATIVE,) for cell in field.cells)


def test_sixteen_bits():
    config = SimulateConfig(size_px=256, pixel_size_um=0.16, bit_depth=16)
    fov = simulate_field(1, 0, config).fov
    assert fov.pixels.dtype == np.uint16
    assert fov.max_value == 65535
    assert fov.pixels.max() > 4095


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_px": 255}, "--size"),
        ({"size_px": 4097}, "--size"),
        ({"pixel_size_um": 0.03}, "--pixel-size-um"),
        ({"pixel_size_um": 0.5}, "--pixel-size-um"),
        ({"size_px": 4096, "pixel_size_um": 0.4}, "side of at most"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        simulate_field(1, 0, SimulateConfig(**settings))


def test_impossible_seeds_and_counts_are_refused():
    with pytest.raises(ConfigError, match="--seed"):
        SMALL.check(seed=-1)
    with pytest.raises(ConfigError, match="--fields"):
        SMALL.check(fields=0)


def test_the_smallest_field_may_hold_next_to_nothing():
    field = simulate_field(3, 1, SimulateConfig(size_px=256, pixel_size_um=0.04))
    assert field.fov.pixels.shape == (4, 256, 256)
    assert len(field.cells) == len(field.masks.cell_ids)
