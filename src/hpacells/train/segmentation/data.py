"""Fields with true masks, kept once at the network's resolution; patches are cut from them.

::

    CACHE/<fov_id>.npy         (5, h, w) uint8: the three stains as the network gets them (times
                               255), the four maps as bits 0-3, the pixels' weights (times 50)
    CACHE/<fov_id>_cells.npy   (h, w) uint16: the true ids, for validation

Both are mapped, not read: memory does not grow with the number of fields.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError, InputError
from hpacells.core.fov import FovRecord
from hpacells.core.pools import over_processes
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import sha256_bytes
from hpacells.core.storage import atomic_path
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_masks
from hpacells.images.read import digest_field, read_field
from hpacells.runtime.segmenter_folder import MAPS
from hpacells.segment.resolution import keep_inside, sample_ids
from hpacells.segment.stain_input import network_grid, stain_stack
from hpacells.train.segmentation.targets import build_targets, pixel_weights

__all__ = ["N_PLANES", "WEIGHT_SCALE", "FieldCache", "build_cache", "unpack_targets"]

N_PLANES = 5
WEIGHT_SCALE = 50.0


@dataclass(frozen=True)
class FieldCache:
    """Cached fields.

    Parameters
    ----------
    folder
        Where they lie.
    fov_ids
        Sorted.
    data_hash
        sha256 over the ids and the content of the images.
    """

    folder: Path
    fov_ids: tuple[str, ...]
    data_hash: str

    def planes(self, i: int) -> npt.NDArray[np.uint8]:
        """Map field ``i``: ``(5, h, w)`` uint8, read-only."""
        return np.load(self.folder / f"{self.fov_ids[i]}.npy", mmap_mode="r")

    def cells(self, i: int) -> npt.NDArray[np.int32]:
        """Read the true ids of field ``i``: ``(h, w)`` int32."""
        return np.load(self.folder / f"{self.fov_ids[i]}_cells.npy").astype(np.int32)


def build_cache(
    data: Path,
    folder: Path,
    pixel_um: float,
    *,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> FieldCache:
    """Bring every field of a dataset folder with truth to the network's resolution.

    Parameters
    ----------
    data
        A dataset folder with ``truth/<fov_id>_cells.png`` and ``_nuclei.png``.
    folder
        The cache; fields that are there already are kept.
    pixel_um
        µm per pixel wanted.
    workers
        Processes.
    progress
        Told after each field.

    Raises
    ------
    InputError
        When there is no truth, or no field.
    ImageError
        When a field or its masks cannot be read.
    """
    truth = data / "truth"
    if not truth.is_dir():
        raise InputError(
            f"{data}: expected a dataset folder with truth/, there is none. Make one with "
            "'hpacells simulate'."
        )
    records = discover_fields(data)
    if not records:
        raise InputError(f"{data}: expected fields, found none")
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(_cache_field, truth=truth, folder=folder, pixel_um=pixel_um)
    digests = {}
    with closing(over_processes(work, records, workers=workers)) as results:
        for done, (record, digest) in enumerate(results, start=1):
            digests[record.fov_id] = digest
            progress(done, len(records), record.fov_id)
    named = "\n".join(f"{fov_id} {digests[fov_id]}" for fov_id in sorted(digests))
    return FieldCache(folder, tuple(sorted(digests)), sha256_bytes(named.encode()))


def _cache_field(record: FovRecord, *, truth: Path, folder: Path, pixel_um: float) -> str:
    digest = digest_field(record)
    path, ids_path = folder / f"{record.fov_id}.npy", folder / f"{record.fov_id}_cells.npy"
    if path.is_file():  # written after the ids
        return digest
    fov = read_field(record)
    masks = read_masks(truth, record.fov_id, pixel_size_um=fov.pixel_size_um)
    if masks.cells.shape != (fov.height, fov.width):
        raise ImageError(
            f"field {record.fov_id}: expected masks of {fov.height} x {fov.width} pixels, got "
            f"{masks.cells.shape[0]} x {masks.cells.shape[1]}"
        )
    grid = network_grid((fov.height, fov.width), fov.pixel_size_um, pixel_um)
    cells, nuclei = keep_inside(*(sample_ids(m, grid.shape) for m in (masks.cells, masks.nuclei)))
    targets = build_targets(cells, nuclei, grid.pixel_um)
    bits = np.packbits(targets, axis=0, bitorder="little")  # (1, h, w)
    weights = np.rint(pixel_weights(cells, grid.pixel_um) * WEIGHT_SCALE).clip(0, 255)
    stains = np.rint(stain_stack(fov, grid) * 255)
    planes = np.concatenate([stains.astype(np.uint8), bits, weights[None].astype(np.uint8)])
    for target, content in ((ids_path, cells.astype(np.uint16)), (path, planes)):
        with atomic_path(target) as temporary:
            np.save(temporary, content)
    return digest


def unpack_targets(bits: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.bool_]]:
    """Give the maps ``(h, w)`` bool of a plane of bits, in the order of ``MAPS``."""
    for k in range(len(MAPS)):
        yield (bits >> k & 1).astype(np.bool_)
