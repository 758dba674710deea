"""The ``cellpose`` segmenter: Cellpose 4 (Cellpose-SAM), asked twice, for nuclei and for cells.

Nuclei come from the nucleus stain alone, cells from microtubules, ER and nucleus; a nucleus belongs
to the cell that it lies in most. The network takes any three channels in any order. The weights are
a PyTorch pickle: they are read with weights only, so that nothing in them can run, before Cellpose
opens them. Cellpose's own thresholds (flow error 0.4, logit 0) are kept.
"""

import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.runtime.published_weights import PublishedWeights
from hpacells.runtime.segmenter_folder import MAP_STAINS
from hpacells.segment.adapters.catalogue import CELLPOSE_WEIGHTS
from hpacells.segment.adapters.config import CellposeConfig
from hpacells.segment.adapters.library import (
    Files,
    Library,
    Network,
    PublishedSegmenter,
    open_networks,
)
from hpacells.segment.adapters.matching import (
    LEAST_SIDE_PX,
    input_stack,
    is_blank,
    match_nuclei,
    pad_to,
    read_ids,
)
from hpacells.segment.redraw import finish_cells
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import network_grid

__all__ = ["CELLPOSE", "CellposeSegmenter", "open_cellpose"]

_OBJECTS = "objects"
_Ids = npt.NDArray[np.int32]


def open_cellpose(files: Mapping[str, Path], device: str) -> Mapping[str, Network]:
    """Open Cellpose's weights with Cellpose.

    Raises
    ------
    ModelError
        When the file holds more than tensors, or Cellpose took other weights than these (it takes
        its default where it does not know a file).
    """
    torch = import_module("torch")  # optional and heavy: the extra 'cellpose'
    models = import_module("cellpose.models")
    (path,) = files.values()
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(
            f"{path}: expected a PyTorch file of tensors alone, got {error}. Remove it with "
            "'hpacells models remove cellpose' and fetch it again."
        ) from error
    model = models.CellposeModel(
        pretrained_model=str(path), device=torch.device(device), use_bfloat16=False
    )
    if Path(model.pretrained_model) != path:
        raise ModelError(
            f"segmenter cellpose: expected the weights {path}, Cellpose took "
            f"{model.pretrained_model}. Install the version that pyproject.toml names."
        )
    return {_OBJECTS: partial(_ask, model)}


def _ask(model: Any, stack: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
    """Ask Cellpose for the objects of ``(3, h, w)``; no rescaling, that was done before."""
    return np.asarray(model.eval(stack, channel_axis=0, diameter=None)[0])


CELLPOSE = Library("cellpose", "cellpose", "cellpose", open_cellpose)


@dataclass(frozen=True)
class CellposeSegmenter(PublishedSegmenter):
    """Outline cells by Cellpose 4; the weights are fetched when it is made.

    Parameters
    ----------
    config
        Sizes, resolution and device.
    missing
        Stains that the fields do not have. Without the nucleus stain there are no nuclei.
    weights
        Where the weights come from.
    library
        What runs the network: ``objects`` takes ``(3, h, w)`` and gives ids ``(h, w)``.

    Raises
    ------
    MissingExtraError
        When cellpose is not installed.
    ConfigError
        When the missing stains are none of the three, or all of them.
    ModelError
        When the weights cannot be had.
    """

    config: CellposeConfig = field(default_factory=CellposeConfig)
    missing: tuple[Channel, ...] = ()
    weights: PublishedWeights = CELLPOSE_WEIGHTS
    library: Library = CELLPOSE
    name: str = field(default="cellpose", init=False)
    _files: Files = field(default=(), init=False, repr=False)

    def __call__(self, fov: FieldOfView) -> CellMasks:
        """Outline nuclei and cells.

        Parameters
        ----------
        fov
            Any size, pixel size and bit depth.

        Returns
        -------
        CellMasks
            Ids in reading order of the cells' first pixels on the working grid; a cell in which no
            nucleus was seen has none.
        """
        grid = network_grid((fov.height, fov.width), fov.pixel_size_um, self.config.pixel_um)
        others = [stain for stain in MAP_STAINS if stain is not Channel.NUCLEUS]
        cells = self._objects(fov, grid, self.missing)
        nuclei = np.zeros_like(cells)
        if Channel.NUCLEUS not in self.missing:
            nuclei = match_nuclei(self._objects(fov, grid, others), cells)
        ids = finish_cells(cells, nuclei, grid=grid, fov=fov, least_um2=self.config.min_cell_um2)
        return CellMasks(*ids, self.name, fov.pixel_size_um)

    def _objects(self, fov: FieldOfView, grid: WorkingScale, missing: Collection[Channel]) -> _Ids:
        """Ask for the objects that the stains that are not missing show."""
        if is_blank(fov, [stain for stain in MAP_STAINS if stain not in missing]):
            return np.zeros(grid.shape, np.int32)
        stack = input_stack(fov, grid, MAP_STAINS, missing=missing)
        network = open_networks(self.library, self._files, self.config.device)[_OBJECTS]
        return read_ids(network(pad_to(stack, LEAST_SIDE_PX, 1)), grid.shape, "segmenter cellpose")
