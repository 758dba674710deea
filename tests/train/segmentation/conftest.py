"""A tiny dataset folder with truth: discs with nuclei."""

import cv2
import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.masks import CellMasks
from hpacells.images.mask_files import write_masks

N_FIELDS = 5
SHAPE = (180, 220)
PIXEL_UM = 0.16


def draw_field(rng):
    cells, nuclei = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    k = 0
    for row in (45, 135):
        for column in (40, 110, 180):
            k += 1
            at = (column + int(rng.integers(-6, 7)), row + int(rng.integers(-6, 7)))
            cv2.circle(cells, at, 34, k, cv2.FILLED)
            cv2.circle(nuclei, at, 14, k, cv2.FILLED)
    nuclei[nuclei != cells] = 0
    light = rng.integers(0, 12, (len(CHANNELS), *SHAPE)).astype(np.uint8)
    for channel, mask in (
        (Channel.NUCLEUS, nuclei),
        (Channel.ER, cells),
        (Channel.MICROTUBULES, cells),
    ):
        light[channel.position][mask > 0] += 150
    return light, CellMasks(cells, nuclei, "drawn", PIXEL_UM)


@pytest.fixture(scope="session")
def drawn_dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "train").mkdir()
    rng = np.random.default_rng(4)
    rows = ["ID,Label,pixel_size_um"]
    for i in range(N_FIELDS):
        light, masks = draw_field(rng)
        for channel in CHANNELS:
            path = folder / "train" / f"f{i}_{channel.value}.png"
            cv2.imwrite(str(path), light[channel.position])
        write_masks(folder / "truth", f"f{i}", masks)
        rows.append(f"f{i},16,{PIXEL_UM}")
    (folder / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
