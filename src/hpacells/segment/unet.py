"""The ``unet`` segmenter: a small network draws maps, and cells are read from them.

It sees the nucleus, microtubule and ER stains, never the protein, at the pixel size that its
weights were trained at. A stain that is missing has to be named; a network does not guess it.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, ModelError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.runtime.registry import WEIGHTS_FOLDER
from hpacells.runtime.segmenter_folder import (
    MAPS,
    SEGMENTER_SPEC,
    SegmenterFolder,
    load_segmenter,
)
from hpacells.runtime.segmenter_session import MapSession, OpenSegmenter, open_segmenter
from hpacells.segment.config import UnetConfig
from hpacells.segment.instances import cells_from_maps
from hpacells.segment.redraw import redraw
from hpacells.segment.resolution import WorkingScale, keep_inside, renumber
from hpacells.segment.stain_input import NORMALISATION, network_grid, present_flags, stain_stack
from hpacells.segment.tiles import map_in_tiles

__all__ = ["UNET_FOLDER", "UnetSegmenter"]

UNET_FOLDER = WEIGHTS_FOLDER / "unet-sim"
"""Where the shipped weights lie."""


@dataclass(frozen=True)
class UnetSegmenter:
    """Outline cells by a network.

    Parameters
    ----------
    folder
        The segmenter folder: ``segmenter.json`` and its graph.
    config
        How cells are read from the maps.
    missing
        Stains that the fields do not have, in any order; their channel is not looked at.
    open_network
        What runs the network; ONNX Runtime on a CPU unless a run says otherwise.

    Raises
    ------
    ConfigError
        When there are no weights, or the missing stains are not some of the network's three.
    ModelError
        When the folder is damaged, or its network was trained on stains normalised otherwise.
    """

    folder: Path = UNET_FOLDER
    config: UnetConfig = field(default_factory=UnetConfig)
    missing: tuple[Channel, ...] = ()
    open_network: OpenSegmenter = open_segmenter
    name: str = field(default="unet", init=False)

    def __post_init__(self) -> None:
        present_flags(self.missing)
        if not (self.folder / SEGMENTER_SPEC).is_file():
            raise ConfigError(
                f"segmenter unet: expected its weights in {self.folder}, there are none. Train "
                "them with 'python scripts/train_segmenter.py', or take --segmenter watershed."
            )
        wanted = self._loaded().spec.normalisation
        if wanted != NORMALISATION:
            raise ModelError(
                f"{self.folder / SEGMENTER_SPEC}: its network wants stains normalised as "
                f"{wanted!r}, this version of hpacells gives {NORMALISATION!r}. Take the weights "
                "that belong to this version, or the version that they were trained with."
            )

    def _loaded(self) -> SegmenterFolder:
        return _load(self.folder, (self.folder / SEGMENTER_SPEC).stat().st_mtime_ns)

    @property
    def settings(self) -> dict[str, object]:
        """Configuration, missing stains, input and hash of the weights, as JSON-ready values."""
        found = self._loaded()
        return {
            **self.config.model_dump(mode="json"),
            "missing": sorted(stain.value for stain in self.missing),
            "pixel_size_um": found.spec.pixel_size_um,
            "normalisation": found.spec.normalisation,
            "weights": f"{found.spec.name}-{found.spec.version}",
            "weights_sha256": found.graph_sha256,
        }

    def maps(self, fov: FieldOfView) -> tuple[npt.NDArray[np.float32], WorkingScale]:
        """Compute what the network draws.

        Returns
        -------
        maps
            ``(4, h, w)`` float32 in [0, 1], in the order of ``MAPS``.
        grid
            The grid they lie on.
        """
        found = self._loaded()
        session = _open(found.path, found.graph_sha256, self.open_network)
        grid = network_grid((fov.height, fov.width), fov.pixel_size_um, found.spec.pixel_size_um)
        present = present_flags(self.missing)
        maps = map_in_tiles(
            stain_stack(fov, grid),
            lambda stains: session.run(stains, present),
            n_maps=len(MAPS),
            core_px=self.config.tile_px,
        )
        return maps, grid

    def outline(
        self, maps: npt.NDArray[np.float32], grid: WorkingScale, fov: FieldOfView
    ) -> CellMasks:
        """Read the cells of a field from its maps."""
        cells, nuclei = keep_inside(*cells_from_maps(maps, grid, self.config))
        cells, nuclei = renumber(cells, nuclei)
        cells, nuclei = redraw(cells, nuclei, (fov.height, fov.width))
        return CellMasks(cells, nuclei, self.name, fov.pixel_size_um)

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
        maps, grid = self.maps(fov)
        return self.outline(maps, grid, fov)


@lru_cache(maxsize=8)
def _load(folder: Path, changed_ns: int) -> SegmenterFolder:  # noqa: ARG001  part of the cache's key
    return load_segmenter(folder)


@lru_cache(maxsize=2)
def _open(folder: Path, sha256: str, opener: OpenSegmenter) -> MapSession:  # noqa: ARG001  its key
    return opener(load_segmenter(folder))
