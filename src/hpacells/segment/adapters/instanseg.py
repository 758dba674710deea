"""The ``instanseg`` segmenter: InstanSeg's ``fluorescence_nuclei_and_cells``.

One network for nuclei and cells, with ids that InstanSeg has already matched; they are matched
again here by overlap, so that nothing rests on it. The weights are TorchScript: a graph of known
operators, not a pickle of arbitrary objects. A missing stain is left out of the input, for the
network takes any number of channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.runtime.published_weights import PublishedWeights
from hpacells.runtime.segmenter_folder import MAP_STAINS
from hpacells.segment.adapters.catalogue import INSTANSEG_WEIGHTS
from hpacells.segment.adapters.config import InstansegConfig
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
from hpacells.segment.stain_input import network_grid

__all__ = ["INSTANSEG", "InstansegSegmenter", "open_instanseg"]

_PAIRS = "nuclei and cells"
_TRAINED_UM = 0.5
_WHOLE_PX = 1500 * 1500
"""Working pixels up to which InstanSeg computes an image in one piece."""


def open_instanseg(files: Mapping[str, Path], device: str) -> Mapping[str, Network]:
    """Open InstanSeg's weights with InstanSeg.

    Raises
    ------
    ModelError
        When the network was trained at another pixel size than 0.5 µm.
    """
    torch = import_module("torch")  # optional and heavy: the extra 'instanseg'
    library = import_module("instanseg")
    (path,) = files.values()
    script = torch.jit.load(str(path), map_location=device)
    trained_um = float(script.pixel_size)
    if abs(trained_um - _TRAINED_UM) > 0.01:
        raise ModelError(
            f"{path}: expected a network trained at {_TRAINED_UM} µm per pixel, got "
            f"{trained_um:g}. It is another one of InstanSeg's."
        )
    model = library.InstanSeg(script, device=device, verbosity=0)

    def run(stack: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        large = stack[0].size > _WHOLE_PX
        ask = model.eval_medium_image if large else model.eval_small_image
        # already at the network's pixel size; InstanSeg normalises
        found = ask(torch.from_numpy(stack), pixel_size=_TRAINED_UM, return_image_tensor=False)
        return np.asarray(found)[0]

    return {_PAIRS: run}


INSTANSEG = Library("instanseg", "instanseg-torch", "instanseg", open_instanseg)


@dataclass(frozen=True)
class InstansegSegmenter(PublishedSegmenter):
    """Outline cells by InstanSeg; the weights are fetched when it is made.

    Parameters
    ----------
    config
        Sizes, resolution and device.
    missing
        Stains that the fields do not have; they are left out of the network's input.
    weights
        Where the weights come from.
    library
        What runs the network: ``(C, h, w)`` to ``(2, h, w)`` ids of nuclei and of cells.

    Raises
    ------
    MissingExtraError
        When instanseg-torch is not installed.
    ConfigError
        When the missing stains are none of the three, or all of them.
    ModelError
        When the weights cannot be had.
    """

    config: InstansegConfig = field(default_factory=InstansegConfig)
    missing: tuple[Channel, ...] = ()
    weights: PublishedWeights = INSTANSEG_WEIGHTS
    library: Library = INSTANSEG
    name: str = field(default="instanseg", init=False)
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

        Raises
        ------
        ModelError
            When the network does not give nuclei and cells.
        """
        grid = network_grid((fov.height, fov.width), fov.pixel_size_um, self.config.pixel_um)
        stains = [stain for stain in MAP_STAINS if stain not in self.missing]
        found: npt.NDArray[np.generic] = np.zeros((2, *grid.shape), np.int32)
        if not is_blank(fov, stains):
            network = open_networks(self.library, self._files, self.config.device)[_PAIRS]
            found = network(pad_to(input_stack(fov, grid, stains), LEAST_SIDE_PX, 1))
        if found.ndim != 3 or len(found) != 2:
            raise ModelError(
                "segmenter instanseg: expected ids of nuclei and of cells, got an array of shape "
                f"{found.shape}. It is another one of InstanSeg's networks."
            )
        nuclei, cells = (read_ids(ids, grid.shape, "segmenter instanseg") for ids in found)
        ids = finish_cells(
            cells,
            match_nuclei(nuclei, cells),
            grid=grid,
            fov=fov,
            least_um2=self.config.min_cell_um2,
        )
        return CellMasks(*ids, self.name, fov.pixel_size_um)
