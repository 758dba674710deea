"""The ``hpa-unet`` segmenter: the Human Protein Atlas's own networks, through bioimageio.core.

Two networks at a quarter of the atlas's resolution: nuclei from the nucleus stain alone (the last
map), cells and their borders from microtubules, ER and nucleus (maps 2 and 1). Nuclei are the seeds
of a watershed on the border map. Every nucleus gets a cell of its own: multinucleated cells come
apart, and a cell whose nucleus is not seen is not found.

References
----------
.. [1] doi:10.5281/zenodo.6200999 (nuclei) and doi:10.5281/zenodo.6200635 (cells), CC-BY-4.0.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from scipy import ndimage
from skimage.segmentation import watershed

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, ModelError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.core.provenance import sha256_file
from hpacells.runtime.published_weights import PublishedWeights
from hpacells.segment.adapters.catalogue import ATLAS_WEIGHTS, CELL_FILE, NUCLEUS_FILE
from hpacells.segment.adapters.config import AtlasConfig
from hpacells.segment.adapters.library import (
    Files,
    Library,
    Network,
    PublishedSegmenter,
    open_networks,
)
from hpacells.segment.adapters.matching import input_stack, pad_to
from hpacells.segment.debris import drop_debris
from hpacells.segment.redraw import finish_cells
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import network_grid
from hpacells.segment.tiles import map_in_tiles

__all__ = ["BIOIMAGEIO", "AtlasSegmenter", "describe_model", "open_bioimageio"]

_Map = npt.NDArray[np.float32]
_Ids = npt.NDArray[np.int32]

_NUCLEUS_STAINS = (Channel.NUCLEUS,) * 3
_CELL_STAINS = (Channel.MICROTUBULES, Channel.ER, Channel.NUCLEUS)
_NUCLEUS_MAP, _CELL_MAP, _BORDER_MAP = 2, 2, 1
_N_MAPS = 3
_SIDE_MULTIPLE = 32
_MEAN = np.array([0.48627450980392156, 0.4588235294117647, 0.40784313725490196], np.float32)
_DEVIATION = np.float32(0.23482446870963955)


def describe_model(weights: str, sha256: str) -> dict[str, object]:
    """Describe one of the networks in bioimage.io's format 0.4, with its weights in a local file.

    The published descriptions name the same facts; theirs want files beside the weights that
    prediction does not use. The normalisation is left out here and done before the network, where
    every version of the format means the same by it.
    """
    record, stem = ("7690494", "nuclei") if weights == NUCLEUS_FILE else ("7702687", "cell")
    base = f"https://zenodo.org/api/records/{record}/files"
    side = {"axes": "bcyx", "data_type": "float32"}
    shape = {"min": [1, 3, 32, 32], "step": [0, 0, 32, 32]}
    same = {"reference_tensor": "input0", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]}
    return {
        "format_version": "0.4.9",
        "type": "model",
        "name": f"HPA {stem} segmentation DPNUnet",
        "description": "Segmentation of images of the Human Protein Atlas",
        "authors": [{"name": "Hao Xu"}, {"name": "Wei Ouyang"}],
        "cite": [{"text": "HPA Cell Image Segmentation", "doi": "10.5281/zenodo.4430893"}],
        "license": "CC-BY-4.0",
        "documentation": f"{base}/README.md/content",
        "timestamp": "2023-03-01T11:40:00",
        "inputs": [{"name": "input0", "shape": shape, **side}],
        "outputs": [{"name": "output0", "shape": same, **side}],
        "test_inputs": [f"{base}/test_{stem}_input.npy/content"],
        "test_outputs": [f"{base}/test_{stem}_output.npy/content"],
        "weights": {
            "torchscript": {"source": weights, "sha256": sha256, "pytorch_version": "1.13.0"}
        },
    }


def open_bioimageio(files: Mapping[str, Path], device: str) -> Mapping[str, Network]:
    """Open TorchScript weights with bioimageio.core.

    TorchScript holds a graph of known operators instead of a pickle of arbitrary objects.

    Parameters
    ----------
    files
        Weight files by name.
    device
        ``cpu`` or ``cuda``.

    Returns
    -------
    mapping
        The same names; each takes normalised ``(3, h, w)`` and gives ``(3, h, w)``.
    """
    core = import_module("bioimageio.core")  # optional and heavy: the extra 'bioimageio'
    digest = import_module("bioimageio.core.digest_spec")

    def open_one(name: str, path: Path) -> Network:
        # the cache holds published files only: the description lies beside a link, for a while
        with TemporaryDirectory(prefix="hpacells-") as folder:
            weights = Path(folder) / name
            try:
                weights.symlink_to(path.resolve())
            except OSError:  # systems that let few users make links
                shutil.copyfile(path, weights)
            description = Path(folder) / "rdf.yaml"
            content = describe_model(name, sha256_file(path))
            description.write_text(yaml.safe_dump(content), encoding="utf-8")
            model = core.load_model_description(description, perform_io_checks=False)
            pipeline = core.create_prediction_pipeline(
                model, weight_format="torchscript", devices=[device]
            )

        def run(stack: _Map) -> npt.NDArray[np.generic]:
            sample = digest.create_sample_for_model(model, inputs={"input0": stack[None]})
            done = pipeline.predict_sample_without_blocking(sample)
            return np.asarray(done.members["output0"].data)[0]

        return run

    return {name: open_one(name, path) for name, path in sorted(files.items())}


BIOIMAGEIO = Library("bioimageio.core", "bioimageio.core", "bioimageio", open_bioimageio)


@dataclass(frozen=True)
class AtlasSegmenter(PublishedSegmenter):
    """Outline cells by the atlas's networks; the weights are fetched when it is made.

    Parameters
    ----------
    config
        Levels, sizes, resolution and device.
    missing
        Stains that the fields do not have; their channel is zero, which the networks were not
        trained on. The nucleus stain cannot be missing.
    weights
        Where the weights come from.
    library
        What runs the networks.

    Raises
    ------
    MissingExtraError
        When bioimageio.core is not installed.
    ConfigError
        When the missing stains are none of the three, or the nucleus stain is among them.
    ModelError
        When the weights cannot be had.
    """

    config: AtlasConfig = field(default_factory=AtlasConfig)
    missing: tuple[Channel, ...] = ()
    weights: PublishedWeights = ATLAS_WEIGHTS
    library: Library = BIOIMAGEIO
    name: str = field(default="hpa-unet", init=False)
    _files: Files = field(default=(), init=False, repr=False)

    def _check_missing(self) -> None:
        super()._check_missing()
        if Channel.NUCLEUS in self.missing:
            raise ConfigError(
                "segmenter hpa-unet: expected the nucleus stain, its cells grow from nuclei. Take "
                "--segmenter unet, cellpose or instanseg for fields without it."
            )

    def __call__(self, fov: FieldOfView) -> CellMasks:
        """Outline nuclei and cells.

        Parameters
        ----------
        fov
            Any size, pixel size and bit depth.

        Returns
        -------
        CellMasks
            Ids in reading order of the cells' first pixels on the working grid.
        """
        grid = network_grid((fov.height, fov.width), fov.pixel_size_um, self.config.pixel_um)
        networks = open_networks(self.library, self._files, self.config.device)
        maps = {}
        for file, stains in ((NUCLEUS_FILE, _NUCLEUS_STAINS), (CELL_FILE, _CELL_STAINS)):
            stack = input_stack(fov, grid, stains, missing=self.missing)
            normalised = (stack - _MEAN[:, None, None]) / _DEVIATION
            maps[file] = self._draw(networks[file], normalised)
        nuclei = _find_nuclei(maps[NUCLEUS_FILE][_NUCLEUS_MAP], grid, self.config)
        cells = _grow_cells(nuclei, maps[CELL_FILE], self.config.cell_level)
        ids = finish_cells(cells, nuclei, grid=grid, fov=fov, least_um2=self.config.min_cell_um2)
        return CellMasks(*ids, self.name, fov.pixel_size_um)

    def _draw(self, network: Network, stack: _Map) -> _Map:
        """Run a network, in tiles where the image is large."""

        def run(tile: _Map) -> _Map:
            rows, columns = tile.shape[1:]
            found = np.asarray(network(pad_to(tile, _SIDE_MULTIPLE, _SIDE_MULTIPLE)), np.float32)
            if found.ndim != 3 or len(found) != _N_MAPS or not np.isfinite(found).all():
                raise ModelError(
                    f"segmenter hpa-unet: expected {_N_MAPS} finite maps, got an array of shape "
                    f"{found.shape}. Verify the weights: hpacells models verify hpa-unet."
                )
            return found[:, :rows, :columns]

        return map_in_tiles(stack, run, n_maps=_N_MAPS, core_px=self.config.tile_px)


def _find_nuclei(nucleus: _Map, grid: WorkingScale, config: AtlasConfig) -> _Ids:
    """Find the nuclei, without debris that the frame does not cut."""
    mask = ndimage.binary_fill_holes(nucleus > config.nucleus_level)
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    nuclei = np.asarray(parts, np.int32).reshape(mask.shape)
    return drop_debris(nuclei, grid.px2(config.min_nucleus_um2))


def _grow_cells(nuclei: _Ids, maps: _Map, level: float) -> _Ids:
    """Grow nuclei over the cell map, the likeliest borders last; a nucleus is always cell."""
    if not nuclei.any():
        return np.zeros_like(nuclei)
    mask = (maps[_CELL_MAP] > level) | (nuclei > 0)
    grown: _Ids = watershed(maps[_BORDER_MAP], nuclei, mask=mask).astype(np.int32)
    return grown
