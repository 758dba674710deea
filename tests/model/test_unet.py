"""The U-Net of the segmenter: shapes, missing stains, export, tiles."""

import numpy as np
import pytest
import torch

from hpacells.core.errors import ConfigError, ModelError
from hpacells.model import unet_export
from hpacells.model.unet import CellUnet, MapProbabilities
from hpacells.model.unet_export import export_unet, load_unet
from hpacells.runtime.segmenter_folder import (
    SEGMENTER_GRAPH,
    SEGMENTER_WEIGHTS,
    SIDE_MULTIPLE,
    SegmenterSpec,
    load_segmenter,
)
from hpacells.runtime.segmenter_session import open_segmenter
from hpacells.segment.tiles import MARGIN_PX, map_in_tiles

SPEC = SegmenterSpec(
    name="tiny", version="1", pixel_size_um=0.32, normalisation="none", licence="BSD-3-Clause"
)


def make_network(seed=0, widths=(8, 10, 12, 12)):
    """Random weights, and batch norms that have seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CellUnet(widths)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.3)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.3, 2.0)
    return network.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    network = make_network()
    return folder, network, export_unet(network, SPEC, folder)


def run(network, stains, present):
    with torch.no_grad():
        maps = MapProbabilities(network).eval()(
            torch.from_numpy(stains)[None], torch.from_numpy(present).float()[None]
        )
    return maps[0].numpy()


def make_stains(rows, columns, seed=1):
    return np.random.default_rng(seed).random((3, rows, columns), np.float32)


@pytest.mark.parametrize("shape", [(16, 48), (64, 32)])
def test_maps_have_the_size_of_the_stains(shape):
    maps = run(make_network(), make_stains(*shape), np.ones(3))
    assert maps.shape == (4, *shape)
    assert 0 < maps.min() < maps.max() < 1


def test_the_shipped_size_keeps_to_its_budget():
    numbers = [p.numel() for p in CellUnet().state_dict().values()]
    assert sum(numbers) > 400_000
    assert sum(numbers) * 4 < 2 * 2**20


def test_a_missing_stain_is_never_looked_at_and_that_it_is_missing_is_seen():
    network = make_network()
    stains, other = make_stains(32, 48), make_stains(32, 48)
    other[1] = 0.3
    there, missing = np.array([1, 1, 1]), np.array([1, 0, 1])
    np.testing.assert_array_equal(run(network, stains, missing), run(network, other, missing))
    other[1] = 0.0
    assert np.abs(run(network, other, there) - run(network, other, missing)).max() > 1e-4


def test_four_widths_are_needed():
    with pytest.raises(ConfigError, match="four numbers of channels"):
        CellUnet((8, 16))


@pytest.mark.parametrize("shape", [(16, 16), (64, 144), (208, 32)])
@pytest.mark.parametrize("present", [(1, 1, 1), (1, 0, 1)])
def test_the_graph_computes_what_the_network_computes(exported, shape, present):
    folder, network, _ = exported
    stains, flags = make_stains(*shape), np.array(present, np.bool_)
    got = open_segmenter(load_segmenter(folder)).run(stains, flags)
    np.testing.assert_allclose(got, run(network, stains, flags), atol=1e-4)


def test_a_folder_gives_its_network_back(exported):
    folder, network, spec = exported
    found, read = load_unet(folder)
    assert read == spec
    assert spec.architecture == {"widths": [8, 10, 12, 12]}
    stains = make_stains(32, 32)
    np.testing.assert_array_equal(run(found, stains, np.ones(3)), run(network, stains, np.ones(3)))


def test_the_graph_says_nothing_of_the_machine_it_was_made_on(exported):
    folder = exported[0]
    assert b".py" not in (folder / SEGMENTER_GRAPH).read_bytes()


def test_a_folder_without_weights_gives_no_network(exported, tmp_path):
    folder = exported[0]
    spec = load_segmenter(folder).spec
    (tmp_path / SEGMENTER_GRAPH).write_bytes((folder / SEGMENTER_GRAPH).read_bytes())
    unet_export.write_segmenter_spec(tmp_path, spec)
    with pytest.raises(ModelError, match=f"holds no {SEGMENTER_WEIGHTS}"):
        load_unet(tmp_path)


def test_a_graph_that_computes_something_else_is_refused(exported, tmp_path, monkeypatch):
    graph = (exported[0] / SEGMENTER_GRAPH).read_bytes()
    monkeypatch.setattr(unet_export, "_write_graph", lambda model, path: path.write_bytes(graph))
    with pytest.raises(ModelError, match="maps differ from the network's"):
        export_unet(make_network(seed=9), SPEC, tmp_path)
    with pytest.raises(ModelError, match="not a segmenter folder"):
        load_segmenter(tmp_path)


@pytest.mark.parametrize("shape", [(421, 300), (270, 530)])
def test_tiles_leave_no_seams(shape):
    network, stains = make_network(widths=(4, 6, 8, 8)), make_stains(*shape)

    def draw(tile):
        return run(network, tile, np.ones(3))

    whole = map_in_tiles(stains, draw, n_maps=4, core_px=1024)
    seen = []

    def draw_and_note(tile):
        seen.append(tile.shape)
        return draw(tile)

    tiled = map_in_tiles(stains, draw_and_note, n_maps=4, core_px=64)
    assert len(seen) > 6
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_the_margin_of_a_tile_is_how_far_the_network_sees():
    network, reach = make_network(widths=(2, 2, 2, 2)), []
    for place in range(240, 240 + 16):
        stains = make_stains(512, 16)
        stains[0, place] = np.nan  # goes wherever this row of pixels is seen
        rows = np.flatnonzero(np.isnan(run(network, stains, np.ones(3))).any(axis=(0, 2)))
        reach.append(max(place - rows[0], rows[-1] - place))
    assert MARGIN_PX - SIDE_MULTIPLE < max(reach) <= MARGIN_PX
