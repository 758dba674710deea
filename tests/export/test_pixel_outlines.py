import numpy as np
import pytest
import shapely
from scipy.ndimage import label
from skimage.draw import polygon2mask

from hpacells.export.pixel_outlines import fill_rings, trace_pixel_edges


def to_shapely(polygons):
    return shapely.MultiPolygon([(rings[0], rings[1:]) for rings in polygons])


def paste(filled, shape):
    mask, row, column = filled
    image = np.zeros(shape, bool)
    image[row : row + mask.shape[0], column : column + mask.shape[1]] = mask
    return image


def test_drawn_shapes_have_the_drawn_outlines():
    #  . X X
    #  X . X     the hole touches the outside by a corner
    #  X X X
    mask = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    ((outer, *holes),) = trace_pixel_edges(mask, row=10, column=20)
    assert shapely.Polygon(outer, holes).is_valid
    assert len(holes) == 1
    assert set(holes[0]) == {(21, 11), (22, 11), (22, 12), (21, 12)}
    assert (20, 13) in outer
    assert (20, 10) not in outer


def test_pixels_that_touch_by_a_corner_are_two_polygons():
    polygons = trace_pixel_edges(np.eye(2, dtype=bool))
    assert [len(rings) for rings in polygons] == [1, 1]
    assert shapely.get_num_geometries(to_shapely(polygons)) == 2
    assert len(trace_pixel_edges(np.eye(2, dtype=bool)[::-1])) == 2


def test_nothing_has_no_outline():
    assert trace_pixel_edges(np.zeros((3, 4), bool)) == []


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_noise_goes_there_and_back_and_is_valid(density):
    mask = np.random.default_rng(7).random((40, 61)) < density
    polygons = trace_pixel_edges(mask, row=3, column=5)
    assert len(polygons) == label(mask)[1]  # parts connected by sides
    shape = to_shapely(polygons)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert shape.area == mask.sum()
    rings = [np.array(ring, float) for rings in polygons for ring in rings]
    back = paste(fill_rings(rings, (50, 70)), (50, 70))
    assert np.array_equal(back[3:43, 5:66], mask)
    assert back.sum() == mask.sum()


def test_any_polygon_is_filled_by_the_pixels_whose_centres_lie_inside():
    rng = np.random.default_rng(1)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radii = rng.uniform(5, 24, 40)[:, None]
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + (33.3, 21.7)
    shape = (40, 50)  # cut by the frame
    expected = polygon2mask(shape, ring[:, ::-1] - 0.5)
    assert np.array_equal(paste(fill_rings([ring], shape), shape), expected)
    rows, columns = np.indices(shape) + 0.5
    assert np.array_equal(expected, shapely.contains_xy(shapely.Polygon(ring), columns, rows))


@pytest.mark.parametrize("shift", [(-100, 0), (0, 500), (500, 0)])
def test_a_polygon_outside_the_image_fills_nothing(shift):
    ring = np.array([(0, 0), (5, 0), (5, 5)], float) + shift
    assert fill_rings([ring], (20, 30))[0].size == 0
