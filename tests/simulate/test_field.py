"""A simulated field: determinism, masks, truth, limits."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from skimage.measure import label as connected_parts

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError
from hpacells.core.locations import NEGATIVE
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import draw_field_exposure, field_id, simulate_field
from hpacells.simulate.label_model import draw_sample
from hpacells.simulate.label_sets import SPINDLE
from hpacells.simulate.stain_style import draw_stain_style

SMALL = SimulateConfig(size_px=320, pixel_size_um=0.2)


@pytest.fixture(scope="module")
def fields():
    return [simulate_field(11, index, SMALL) for index in range(8)]


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


def test_cells_carry_what_their_image_is_labelled_with_and_seldom_more(fields):
    cells = [(field, cell) for field in fields for cell in field.cells]
    more = [set(cell.locations) - {*field.sample.locations, NEGATIVE} for field, cell in cells]
    assert np.mean([len(extra) > 0 for extra in more]) < 0.08
    for _, cell in cells:
        assert NEGATIVE not in cell.locations or len(cell.locations) == 1


def test_amounts_are_those_of_the_locations(fields):
    for field in fields:
        for cell in field.cells:
            amounts = cell.content.amounts
            assert tuple(amounts) == tuple(k for k in cell.locations if k != NEGATIVE)
            assert all(amount > 0 for amount in amounts.values())


def test_more_protein_is_brighter():
    """The truth's amounts are those of the pixels: in one field, they rank the cells."""
    config = SimulateConfig(size_px=512, pixel_size_um=0.24, variation="intensity")
    samples = [draw_sample(31, index, "uniform", variation="intensity") for index in range(40)]
    index = next(
        index
        for index, sample in enumerate(samples)
        if sample.locations in {(14,), (6,), (0,), (4,), (16,)} and sample.variation.effect > 0.6
    )
    field = simulate_field(31, index, config)
    green = field.fov.channel(Channel.PROTEIN).astype(float)
    told = [sum(c.content.amounts.values()) for c in field.cells if c.share_inside == 1.0]
    seen = [
        green[field.masks.cells == c.cell_id].mean() for c in field.cells if c.share_inside == 1.0
    ]
    assert spearmanr(told, seen).statistic > 0.6


def test_fields_of_a_sample_share_their_antibody():
    """The protein stain's gain and the levels of its locations hardly differ between them."""
    ordinals = [draw_sample(11, i, "uniform").ordinal for i in range(80)]
    index = next(i for i in range(79) if ordinals[i] == ordinals[i + 1])
    means = []
    for i in (index, index + 1):
        amounts = [c.content.amounts for c in simulate_field(11, i, SMALL).cells]
        pooled = {k: [a[k] for a in amounts if k in a] for k in sorted(set().union(*amounts))}
        means.append({k: np.median(v) for k, v in pooled.items() if len(v) > 4})
    shared = set(means[0]) & set(means[1])
    assert shared
    for location in shared:
        assert means[0][location] == pytest.approx(means[1][location], rel=0.3)


def neighbours():
    """Two fields of one sample, and one of the next."""
    ordinals = [draw_sample(11, i, "uniform").ordinal for i in range(80)]
    index = next(i for i in range(78) if ordinals[i] == ordinals[i + 1] != ordinals[i + 2])
    return index, index + 1, index + 2


def test_fields_of_a_sample_share_the_style_of_their_stains(monkeypatch):
    styles = []

    def remember(rng):
        styles.append(draw_stain_style(rng))
        return styles[-1]

    monkeypatch.setattr("hpacells.simulate.field.draw_stain_style", remember)
    config = SimulateConfig(size_px=256, pixel_size_um=0.16)
    fields = [simulate_field(11, index, config) for index in neighbours()]
    assert fields[0].sample == fields[1].sample
    assert styles[0] == styles[1] != styles[2]


def test_fields_of_a_sample_share_their_exposure_but_for_focus_and_light():
    first, second, other = (
        draw_field_exposure(draw_sample(11, i, "uniform"), 11, np.random.default_rng(i))
        for i in neighbours()
    )
    for name in ("shot", "read", "offset", "leak", "stretch"):
        assert getattr(first, name) == getattr(second, name)
    assert first.leak != other.leak
    assert first.gain != second.gain
    assert second.gain == pytest.approx(first.gain, rel=0.35)
    assert first.blur_um != second.blur_um
    assert first.vignette != second.vignette


def test_a_designed_switch_is_in_the_truth():
    config = SMALL.model_copy(update={"variation": "spatial"})
    designs = [draw_sample(3, i, "uniform", variation="spatial").variation for i in range(40)]
    index, design = next((i, one) for i, one in enumerate(designs) if one.effect == 1.0)
    field = simulate_field(3, index, config)
    assert field.sample.variation == design
    for cell in field.cells:
        places = set(cell.locations) - {NEGATIVE, SPINDLE}
        if cell.content.subpopulation:
            assert places <= set(design.group)
            # a dividing cell that cannot carry the group's places switched, but shows nothing
            assert cell.content.effect == (1.0 if places else 0.0)
        else:
            assert not places & set(design.group)


def test_cells_mostly_outside_the_frame_are_masked_but_not_in_the_truth(fields):
    cells = [cell for field in fields for cell in field.cells]
    assert any(not cell.in_truth for cell in cells)
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
        assert yellow[cells].mean() > 10 * yellow[~cells].mean()
        assert (yellow[~cells] == 0).mean() > 0.5


def test_a_negative_image_is_nearly_black_in_green():
    labels = (draw_sample(11, index, "uniform").locations for index in range(400))
    index = next(index for index, locations in enumerate(labels) if locations == (NEGATIVE,))
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
        ({"cell_lines": ("HeLa", "Hella")}, r"--cell-line: expected one of A-431, .*; got Hella"),
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
