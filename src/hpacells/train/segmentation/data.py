"""Fields with true masks, kept once at the network's resolution; patches are cut from them.

::

    CACHE/<fov_id>.npy         (5, h, w) uint8: the three stains as the network gets them (times
                               255), the four maps as bits 0-3, the pixels' weights (times 50)
    CACHE/<fov_id>_cells.npy   (h, w) uint16: the true ids, for validation
    CACHE/<fov_id>.sha256      of what the two were made from; another one makes them again

The arrays are mapped, not read: memory does not grow with the number of fields.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError, InputError
from hpacells.core.fov import FovRecord
from hpacells.core.masks import sample_ids
from hpacells.core.pools import over_processes
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import hash_settings, sha256_bytes, sha256_file
from hpacells.core.storage import atomic_path
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import find_mask, read_masks
from hpacells.images.read import digest_field, read_field
from hpacells.runtime.segmenter_folder import MAPS
from hpacells.segment.resolution import keep_inside
from hpacells.segment.stain_input import NORMALISATION, network_grid, stain_stack
from hpacells.train.segmentation.targets import TARGETS_VERSION, build_targets, pixel_weights

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
    simulation
        What the dataset folder says of its making: seed and other settings, number of fields, the
        simulator's look; empty where it says nothing.
    """

    folder: Path
    fov_ids: tuple[str, ...]
    data_hash: str
    simulation: Mapping[str, Any] = field(default_factory=dict)

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
        The cache; fields that are there already are kept, unless their images, masks or pixel
        size, or the rules of stains and maps, have changed since.
    pixel_um
        µm per pixel wanted.
    workers
        Processes.
    progress
        Told after each field.

    Raises
    ------
    InputError
        When there is no truth, or no field, or ``simulate.json`` is damaged.
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
    data_hash = sha256_bytes(named.encode())
    return FieldCache(folder, tuple(sorted(digests)), data_hash, _read_simulation(data))


def _read_simulation(data: Path) -> dict[str, Any]:
    """Read how a simulated dataset was made; empty for another one."""
    path = data / "simulate.json"
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {"fields": known["fields"], "look": known.get("look"), **known["settings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected the settings of a simulated dataset ({error!r}). Make the dataset "
            "again with 'hpacells simulate'."
        ) from error


def _cache_field(record: FovRecord, *, truth: Path, folder: Path, pixel_um: float) -> str:
    digest = digest_field(record)
    path, ids_path = folder / f"{record.fov_id}.npy", folder / f"{record.fov_id}_cells.npy"
    note = folder / f"{record.fov_id}.sha256"  # written last
    source = hash_settings(
        {
            "images": digest,
            "masks": [sha256_file(find_mask(truth, record.fov_id, p)) for p in ("cells", "nuclei")],
            "field_pixel_um": record.pixel_size_um,
            "pixel_um": pixel_um,
            "normalisation": NORMALISATION,
            "targets": TARGETS_VERSION,
        }
    )
    if note.is_file() and note.read_text(encoding="ascii").strip() == source:
        return digest
    note.unlink(missing_ok=True)
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
    with atomic_path(note) as temporary:
        temporary.write_text(f"{source}\n", encoding="ascii")
    return digest


def unpack_targets(bits: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.bool_]]:
    """Give the maps ``(h, w)`` bool of a plane of bits, in the order of ``MAPS``."""
    for k in range(len(MAPS)):
        yield (bits >> k & 1).astype(np.bool_)
