import cv2
import numpy as np
import pyarrow as pa
import pytest

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CELL_QUALITY_COLUMNS, CellTable
from hpacells.core.channels import CHANNELS
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ImageError
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.masks import CellMasks
from hpacells.crops.extract import extract_crops
from hpacells.crops.field_crops import FieldCrops, write_part
from hpacells.crops.store import finish_store, part_path, prepare_store

SPEC = CropSpec(20, 0.25)


def _make_field(shape=(60, 90), *, seed=0, pixel_size_um=0.1, fov_id="a", dtype=np.uint8):
    """A smooth random field with three cells: 2 has no nucleus, 5 is cut by the frame."""
    rng = np.random.default_rng(seed)
    high = np.iinfo(dtype).max
    noise = rng.integers(0, high + 1, (4, *shape)).astype(np.float32)
    smooth = [cv2.GaussianBlur(plane, (0, 0), 3) for plane in noise]
    pixels = np.clip(np.stack(smooth), 0, high).astype(dtype)
    fov = FieldOfView(fov_id, pixels, pixel_size_um, int(high))
    cells = np.zeros(shape, np.int32)
    nuclei = np.zeros(shape, np.int32)
    cells[10:40, 10:40], nuclei[20:30, 15:25] = 1, 1
    cells[12:36, 42:60] = 2
    cells[50:60, 60:90], nuclei[54:60, 80:90] = 5, 5
    return fov, CellMasks(cells, nuclei, "drawn", pixel_size_um)


def _table_of(masks, fov_id, rejected=()):
    ids = masks.cell_ids.tolist()
    n = len(ids)
    zeros = {name: [0] * n for name in CELL_MEASURE_SCHEMA.names[4:13]}
    status = ["rejected" if i in rejected else "ok" for i in ids]
    reason = ["debris" if i in rejected else None for i in ids]
    rows = {"fov_id": [fov_id] * n, "cell_id": ids, "status": status, "reason": reason}
    flags = {name: [False] * n for name in ("touches_border", *CELL_QUALITY_COLUMNS)}
    rows |= {**zeros, **flags, "chance_inside": [1.0] * n}
    return CellTable(pa.table(rows, schema=CELL_MEASURE_SCHEMA))


class _DrawnMasks:
    """A mask source for tests; fields named in ``broken`` fail."""

    def __init__(self, broken=(), salt=""):
        self.broken, self.salt, self.calls = broken, salt, []

    name = "drawn"

    def digest(self, fov_id):
        return self.salt

    def __call__(self, fov):
        self.calls.append(fov.fov_id)
        if fov.fov_id in self.broken:
            raise ImageError(f"field {fov.fov_id}: no masks")
        _, masks = _make_field(fov.pixels.shape[1:], fov_id=fov.fov_id)
        return masks, _table_of(masks, fov.fov_id, rejected=(2,))


def _make_part(fov_id, *, rejected=(2,), seed=0, labels="0|16"):
    fov, masks = _make_field(seed=seed, fov_id=fov_id)
    table = _table_of(masks, fov_id, rejected)
    kept = [i for i in masks.cell_ids if i not in rejected]
    crops, cell_masks = extract_crops(fov, masks, kept, SPEC)
    return FieldCrops(
        fov_id, "d" + fov_id, (60, 90), 0.1, table, crops, cell_masks, {"image_labels": labels}
    )


def _make_store(folder, parts, failures=()):
    prepare_store(folder, SPEC, "drawn")
    for part in parts:
        write_part(part_path(folder, part.fov_id), part)
    return finish_store(folder, [part.fov_id for part in parts], failures)


@pytest.fixture
def make_field():
    return _make_field


@pytest.fixture
def table_of():
    return _table_of


@pytest.fixture
def drawn_masks():
    return _DrawnMasks


@pytest.fixture
def make_part():
    return _make_part


@pytest.fixture
def make_store():
    return _make_store


@pytest.fixture
def records(tmp_path):
    """Three fields on disk; the first has a label and a gene."""
    found = []
    for i, name in enumerate(("a", "b", "c")):
        fov, _ = _make_field(seed=i, fov_id=name)
        paths = {}
        for channel in CHANNELS:
            paths[channel] = tmp_path / f"{name}_{channel.value}.png"
            cv2.imwrite(str(paths[channel]), fov.channel(channel))
        known = {"image_locations": (0, 16), "gene": "G1"} if i == 0 else {}
        found.append(FovRecord(name, paths, pixel_size_um=0.1, **known))
    return found
