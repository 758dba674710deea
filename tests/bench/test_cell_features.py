import io

import numpy as np
import pytest
from cell_features import (
    PIXEL_UM,
    STAINS,
    Cell,
    find_cell,
    imitate_mosaic,
    jpeg_quality,
    measure_cell,
    outline_cell,
)
from PIL import Image
from scipy.ndimage import gaussian_filter

RED, GREEN, BLUE, YELLOW = range(4)


def disk(shape, centre, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def draw_tile(shape=(300, 260), centre=(150, 120)):
    """A round cell of 90 px with a nucleus of 36 px, flat in every stain."""
    cell, nucleus = disk(shape, centre, 90), disk(shape, centre, 36)
    tile = np.zeros((4, *shape), np.uint8)
    tile[RED][cell], tile[GREEN][cell], tile[YELLOW][cell] = 40, 50, 30
    tile[GREEN][nucleus], tile[BLUE][nucleus] = 149, 120
    return tile, cell, nucleus


@pytest.mark.parametrize("quality", [40, 50, 75, 90, 95])
def test_jpeg_quality_is_the_one_it_was_written_with(quality):
    file = io.BytesIO()
    Image.fromarray(np.zeros((16, 24), np.uint8)).save(file, "JPEG", quality=quality)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        assert abs(jpeg_quality(image) - quality) <= 1


def test_jpeg_quality_of_an_image_without_tables():
    assert jpeg_quality(Image.new("L", (4, 4))) == 100


def test_outline_is_the_drawn_one():
    tile, cell, nucleus = draw_tile()
    found_cell, found_nucleus = outline_cell(tile)
    assert (found_cell ^ cell).sum() < 0.01 * cell.sum()
    assert (found_nucleus ^ nucleus).sum() < 0.05 * nucleus.sum()


def test_specks_beside_the_cell_are_not_part_of_it():
    tile, cell, _ = draw_tile()
    tile[RED, 2:30, 200:230] = 90
    found, _ = outline_cell(tile)
    assert (found ^ cell).sum() < 0.01 * cell.sum()


def test_no_cell_in_a_black_tile_and_none_without_nucleus():
    tile, *_ = draw_tile()
    assert find_cell(np.zeros_like(tile)) is None
    tile[BLUE] = 0
    assert find_cell(tile) is None


def test_known_answers():
    tile, cell, nucleus = draw_tile()
    found = measure_cell(find_cell(tile))
    assert found["shape::cell_log_area"] == pytest.approx(
        np.log(cell.sum() * PIXEL_UM**2), abs=0.01
    )
    assert found["shape::nucleus_share"] == pytest.approx(nucleus.sum() / cell.sum(), rel=0.05)
    assert found["shape::cell_log_axis_ratio"] == pytest.approx(0, abs=0.01)
    assert found["intensity:red:q50"] == 40
    assert found["ratio:green:log_nucleus_to_cytoplasm"] == pytest.approx(
        np.log(150 / 51), abs=0.05
    )
    assert found["ratio:red:log_nucleus_to_cytoplasm"] == 0
    assert found["radial:red:cytoplasm3"] == pytest.approx(40 / 41)
    assert found["granularity:red:cytoplasm_0.64um"] == pytest.approx(0, abs=1e-5)
    assert found["correlation:red+yellow:cell"] == 0
    assert found["correlation:green+blue:cell"] == pytest.approx(1, abs=0.01)
    assert all(np.isfinite(v) for v in found.values())


def test_profile_rises_towards_the_edge():
    tile, cell, _ = draw_tile()
    rows, columns = np.ogrid[: tile.shape[1], : tile.shape[2]]
    distance = np.hypot(rows - 150, columns - 120)
    tile[RED][cell] = (20 + 2 * distance)[cell].astype(np.uint8)
    found = measure_cell(find_cell(tile))
    zones = [f"nucleus{i}" for i in range(3)] + [f"cytoplasm{i}" for i in range(5)]
    profile = [found[f"radial:red:{zone}"] for zone in zones]
    assert profile == sorted(profile)


@pytest.mark.parametrize(("sigma_px", "band"), [(1, "0.16um"), (4, "1.28um")])
def test_granularity_peaks_in_the_band_of_the_grains(sigma_px, band):
    tile, cell, _ = draw_tile()
    grains = gaussian_filter(np.random.default_rng(0).normal(size=cell.shape), sigma_px)
    tile[RED] = np.where(cell, np.clip(100 + 30 * grains / grains.std(), 0, 255), 0)
    found = measure_cell(find_cell(tile))
    bands = {
        name.rsplit("_", 1)[1]: value
        for name, value in found.items()
        if name.startswith("granularity:red:cytoplasm")
    }
    assert max(bands, key=bands.get) == band


def test_features_do_not_depend_on_quarter_turns():
    rng = np.random.default_rng(1)
    tile, cell, nucleus = draw_tile()
    noise = rng.integers(0, 60, tile.shape).astype(np.uint8) * cell
    one = Cell((tile // 2 + noise).astype(np.float32), cell, nucleus)
    turned = Cell(
        np.ascontiguousarray(np.rot90(one.pixels, axes=(1, 2))),
        np.ascontiguousarray(np.rot90(cell)),
        np.ascontiguousarray(np.rot90(nucleus)),
    )
    a, b = measure_cell(one), measure_cell(turned)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == pytest.approx(b[name], abs=0.02, rel=0.02), name


def test_imitation_keeps_size_and_blackens_the_neighbours():
    shape = (700, 640)
    cell = disk(shape, (330, 300), 200)
    pixels = np.full((len(STAINS), *shape), 80, np.uint8)
    tile = imitate_mosaic(pixels, cell, pixel_um=PIXEL_UM / 2, angle_deg=33.0, quality=95)
    assert tile.shape == (4, 512, 512)
    found, _ = outline_cell(tile)
    assert 1 <= found.sum() / (cell.sum() / 4) < 1.06  # JPEG widens a sharp edge
    middle = np.argwhere(found).mean(0)
    np.testing.assert_allclose(middle, 255.5, atol=1.5)
    assert np.median(tile[RED][found]) == 80


def test_imitation_takes_any_pixel_size():
    cell = disk((160, 200), (80, 90), 50)
    pixels = np.full((4, 160, 200), 80, np.uint8)
    tile = imitate_mosaic(pixels, cell, pixel_um=PIXEL_UM, angle_deg=0.0, quality=95)
    assert 1 <= outline_cell(tile)[0].sum() / cell.sum() < 1.12
