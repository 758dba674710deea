"""``<fov_id>.zarr``: a field as OME-Zarr (NGFF 0.4 in Zarr 2, or 0.5 in Zarr 3).

::

    0, 1, …             the four stains (c, y, x) as stored, each level half the one before
    labels/cells/0 …    cell ids (y, x) uint16; labels/nuclei the same
    attributes          pixel size in µm, channel names and colours; of the labels one colour per
                        cell (its highest score's location, grey for a rejected one) and its
                        properties: status, scores, areas, intensities

With ``labels_only`` the image is left out. Masks and pixels are kept exactly (level 0). Lost: what
is known of the field, embeddings.

The metadata is a few small dictionaries, written here; ome-zarr's own writer would bring dask
along and takes longer. Its reader and the published schemas check them in the tests.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.palette import REJECTED_COLOR, STYLES, hex_to_rgb
from hpacells.core.storage import atomic_folder
from hpacells.export.config import ExportSettings
from hpacells.export.geojson import MEASUREMENTS
from hpacells.export.run_images import find_run_images, read_run_image
from hpacells.export.run_reader import FinishedRun, RunField

__all__ = ["open_zarr_writer"]

_CHUNK_PX = 1024
_SMALLEST_PX = 256
"""Levels are added until a side is no longer than this."""
_ZARR_OF = {"0.4": 2, "0.5": 3}
_CHANNEL_LOOKS = {
    Channel.MICROTUBULES: ("microtubules", "FF0000"),
    Channel.PROTEIN: ("protein", "00FF00"),
    Channel.NUCLEUS: ("nucleus", "0000FF"),
    Channel.ER: ("endoplasmic reticulum", "FFFF00"),
}
_PROPERTIES = ("status", "reason", *MEASUREMENTS)

_Pixels = npt.NDArray[np.integer]


def open_zarr_writer(
    run: FinishedRun, settings: ExportSettings
) -> Callable[[RunField, Path], None]:
    """Give what writes a field's OME-Zarr folder.

    Parameters
    ----------
    run
        Says where the images are and what was in them.
    settings
        ``ngff``, ``labels_only``, ``images``.

    Raises
    ------
    InputError
        When the images are no longer where the run found them. Writing a field raises it when
        they have changed since.
    """
    import zarr  # noqa: PLC0415  takes a second: only where an OME-Zarr is written

    records = {} if settings.labels_only else find_run_images(run, settings.images)

    def write(field: RunField, path: Path) -> None:
        fov = None if settings.labels_only else read_run_image(run, records, field.fov_id)
        with atomic_folder(path) as temporary:
            _ZarrField(zarr, settings.ngff, temporary).write(field, fov)

    return write


class _ZarrField:
    """One field's store while it is written."""

    def __init__(self, zarr: ModuleType, ngff: str, folder: Path) -> None:
        self._ngff = ngff
        self._zarr = zarr
        self._root = zarr.open_group(folder, mode="w", zarr_format=_ZARR_OF[ngff])

    def write(self, field: RunField, fov: FieldOfView | None) -> None:
        """Write image and labels."""
        size = float(field.row["pixel_size_um"])
        if fov is not None:
            levels = _halve_image(fov.pixels)
            self._write_levels(self._root, levels, size, field.fov_id, self._omero(fov))
        masks = field.read_masks()
        labels = self._root.create_group("labels")
        self._describe(labels, {"labels": ["cells", "nuclei"]})
        for name, ids in (("cells", masks.cells), ("nuclei", masks.nuclei)):
            present = set(np.flatnonzero(np.bincount(ids.ravel())).tolist())
            looks = self._image_label(field, present, with_image=fov is not None)
            self._write_levels(
                labels.create_group(name), _halve_ids(ids.astype(np.uint16)), size, name, looks
            )

    def _describe(self, group: Any, content: dict[str, Any]) -> None:
        """Put metadata where this version has it."""
        if self._ngff == "0.4":
            group.attrs.update(content)
        else:
            group.attrs["ome"] = {"version": self._ngff, **content}

    def _write_levels(
        self, group: Any, levels: list[_Pixels], size: float, name: str, rest: dict[str, Any]
    ) -> None:
        axes = ["c", "y", "x"][-levels[0].ndim :]
        datasets = []
        for i, level in enumerate(levels):
            chunks = (1,) * (level.ndim - 2) + tuple(min(_CHUNK_PX, n) for n in level.shape[-2:])
            how: dict[str, Any] = (
                {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
                if self._ngff == "0.4"
                else {"dimension_names": axes}
            )
            group.create_array(str(i), shape=level.shape, chunks=chunks, dtype=level.dtype, **how)[
                ...
            ] = level
            datasets.append(
                {"path": str(i), "coordinateTransformations": _place(level.ndim, size, i)}
            )
        version = {"version": self._ngff} if self._ngff == "0.4" else {}
        multiscale = {**version, "name": name, "axes": _AXES[-len(axes) :], "datasets": datasets}
        self._describe(group, {"multiscales": [multiscale], **rest})

    def _omero(self, fov: FieldOfView) -> dict[str, Any]:
        channels = [
            {
                "label": _CHANNEL_LOOKS[channel][0],
                "color": _CHANNEL_LOOKS[channel][1],
                "active": True,
                "window": {"min": 0, "max": fov.max_value, "start": 0, "end": fov.max_value},
            }
            for channel in CHANNELS
        ]
        return {"omero": {"channels": channels}}

    def _image_label(
        self, field: RunField, present: set[int], *, with_image: bool
    ) -> dict[str, Any]:
        colors, properties = [], []
        for row, top in zip(field.cells.to_pylist(), field.top_locations, strict=True):
            if row["cell_id"] in present:
                color = REJECTED_COLOR if top is None else STYLES[top].color
                value = {"label-value": row["cell_id"]}
                colors.append({**value, "rgba": [*hex_to_rgb(color), 255]})
                properties.append({**value, **{name: row[name] for name in _PROPERTIES}})
        version = {"version": self._ngff} if self._ngff == "0.4" else {}
        source = {"source": {"image": "../../"}} if with_image else {}
        # the schema does not take an empty list
        looks = {"colors": colors, "properties": properties} if colors else {}
        return {"image-label": {**version, **looks, **source}}


_AXES = [
    {"name": "c", "type": "channel"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def _place(ndim: int, size: float, level: int) -> list[dict[str, Any]]:
    """Say where a level's pixels lie. Positions are of pixels' middles, the first one's is 0.

    A level of an image averages blocks whose middles lie off the first pixel's; one of ids takes
    each block's first pixel.
    """
    factor = 2**level
    scale = [1.0] * (ndim - 2) + [size * factor] * 2
    places: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if ndim == 3 and level:
        shift = [0.0] + [size * (factor - 1) / 2] * 2
        places.append({"type": "translation", "translation": shift})
    return places


def _halve_image(pixels: _Pixels) -> list[_Pixels]:
    """Give the levels of an image ``(C, H, W)``: means of 2 x 2 pixels, rounded."""
    levels = [pixels]
    while min(levels[-1].shape[1:]) > _SMALLEST_PX:
        last = levels[-1]
        odd = [(0, 0), (0, last.shape[1] % 2), (0, last.shape[2] % 2)]
        wide = np.pad(last, odd, mode="edge").astype(np.uint32)
        total = wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2]
        levels.append(((total + 2) // 4).astype(pixels.dtype))
    return levels


def _halve_ids(ids: _Pixels) -> list[_Pixels]:
    levels = [ids]
    while min(levels[-1].shape) > _SMALLEST_PX:
        levels.append(levels[-1][::2, ::2])
    return levels
