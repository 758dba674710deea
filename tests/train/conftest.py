import cv2
import numpy as np
import pyarrow as pa
import pytest

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CELL_QUALITY_COLUMNS, CellTable
from hpacells.core.crop_spec import CropSpec
from hpacells.crops.field_crops import FieldCrops, write_part
from hpacells.crops.store import finish_store, part_path, prepare_store
from hpacells.train.config import AugmentConfig, TrainConfig
from hpacells.train.data import load_training_data

SIDE = 24
SPEC = CropSpec(SIDE, 0.8)


def cells_of(fov_id, n):
    rows = {
        "fov_id": [fov_id] * n,
        "cell_id": list(range(1, n + 1)),
        "status": ["ok"] * n,
        "reason": [None] * n,
        **{name: [0] * n for name in ("r0", "c0")},
        **{name: [9] * n for name in ("r1", "c1")},
        **{name: [1.0] * n for name in CELL_MEASURE_SCHEMA.names[8:13]},
        "chance_inside": [1.0] * n,
        **{name: [False] * n for name in ("touches_border", *CELL_QUALITY_COLUMNS)},
    }
    return CellTable(pa.table(rows, schema=CELL_MEASURE_SCHEMA))


def draw_cell(rng, classes):
    """Class 0 fills the nucleus, 7 is a bright blob beside it, 16 the body without the nucleus."""
    crop = np.zeros((4, SIDE, SIDE), np.uint8)
    body, nucleus = np.zeros((2, SIDE, SIDE), np.uint8)
    cv2.circle(body, (12, 12), 10, 1, -1)
    cv2.circle(nucleus, (12, 12), 5, 1, -1)
    crop[0][body > 0], crop[3][body > 0], crop[2][nucleus > 0] = 60, 50, 120
    if 0 in classes:
        crop[1][nucleus > 0] = 90
    if 16 in classes:
        crop[1][(body > 0) & (nucleus == 0)] = 70
    if 7 in classes:
        angle = rng.uniform(0, 2 * np.pi)
        spot = (int(12 + 7 * np.cos(angle)), int(12 + 7 * np.sin(angle)))
        cv2.circle(crop[1], spot, 2, 220, -1)
    noise = rng.integers(0, 12, crop.shape)
    return np.minimum(crop + noise * (body > 0), 255).astype(np.uint8), body > 0


def _make_store(folder, n_fields, *, seed=0, gene=True, n_cells=6):
    """A store of obvious cells; each image has one or two of the classes 0, 7, 16."""
    rng = np.random.default_rng(seed)
    prepare_store(folder, SPEC, "drawn")
    names = []
    for i in range(n_fields):
        labels = [(0,), (7,), (16,), (0, 7), (7, 16)][i % 5]
        n = n_cells + i % 3
        drawn = [draw_cell(rng, [c for c in labels if rng.random() < 0.9]) for _ in range(n)]
        name = f"f{i:03d}"
        part = FieldCrops(
            fov_id=name,
            digest=f"{seed}-{i}",
            shape=(50, 70),
            pixel_size_um=0.4,
            cells=cells_of(name, n),
            crops=np.stack([crop for crop, _ in drawn]),
            cell_masks=np.stack([mask for _, mask in drawn]),
            metadata={
                "image_labels": "|".join(map(str, labels)),
                "gene": f"G{i // 2}" if gene else None,
            },
        )
        write_part(part_path(folder, name), part)
        names.append(name)
    return finish_store(folder, names, [])


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return _make_store(tmp_path_factory.mktemp("store"), 40)


@pytest.fixture(scope="session")
def make_store():
    return _make_store


@pytest.fixture
def data(store):
    return load_training_data(store)


@pytest.fixture
def tiny_config():
    """Learns the drawn cells in seconds."""
    return TrainConfig(
        backbone="hpa_nfnet_pico",
        embedding_size=32,
        crop_px=SIDE,
        pixel_size_um=0.8,
        bag_size=4,
        epochs=2,
        augment=AugmentConfig(shift_px=1, warp_share=0.1),
        checkpoint_every=2,
        val_fraction=0.2,
    )
