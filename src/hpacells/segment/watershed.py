"""The ``watershed`` segmenter: nuclei, then bodies seeded by them, without any weights.

It sees the nucleus, microtubule and ER stains, never the protein. It does not know mitosis, does
not join the nuclei of a multinucleated cell unless they touch, and gives no cell without a nucleus.
"""

from dataclasses import dataclass, field

from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.bodies import body_intensity, grow_bodies
from hpacells.segment.config import SegmentConfig
from hpacells.segment.nuclei import find_nuclei
from hpacells.segment.redraw import finish_cells
from hpacells.segment.resolution import WorkingScale

__all__ = ["WatershedSegmenter"]


@dataclass(frozen=True)
class WatershedSegmenter:
    """Outline cells by thresholds and watersheds on a grid of fixed physical size.

    Parameters
    ----------
    config
        Settings, in µm.
    """

    config: SegmentConfig = field(default_factory=SegmentConfig)
    name: str = field(default="watershed", init=False)

    @property
    def settings(self) -> dict[str, object]:
        """The configuration as JSON-ready values."""
        return self.config.model_dump(mode="json")

    def __call__(self, fov: FieldOfView) -> CellMasks:
        """Outline nuclei and cells.

        Parameters
        ----------
        fov
            Any size, pixel size and bit depth.

        Returns
        -------
        CellMasks
            Ids in reading order of the cells' first pixels on the working grid; none where no
            nucleus is seen.
        """
        shape = (fov.height, fov.width)
        grid = WorkingScale.of_field(shape, fov.pixel_size_um, self.config.working_pixel_um)
        stains = {
            channel: grid.reduce(fov.channel(channel), fov.max_value)
            for channel in (Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER)
        }
        nuclei = find_nuclei(stains[Channel.NUCLEUS], grid, self.config)
        intensity = body_intensity(
            stains[Channel.MICROTUBULES], stains[Channel.ER], grid, self.config
        )
        cells = grow_bodies(nuclei, intensity, grid, self.config)
        ids = finish_cells(cells, nuclei, grid=grid, fov=fov, least_um2=self.config.min_cell_um2)
        return CellMasks(*ids, self.name, fov.pixel_size_um)
