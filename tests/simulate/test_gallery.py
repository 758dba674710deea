"""The sheet for eyes."""

import cv2
import numpy as np

from hpacells.core.locations import N_LOCATIONS
from hpacells.simulate.gallery import draw_tile, write_gallery


def test_a_sheet_has_a_row_per_location(tmp_path, monkeypatch):
    def flat_tile(line, location, *, seed):
        return np.full((320, 640, 3), location, np.uint8)

    monkeypatch.setattr("hpacells.simulate.gallery.draw_tile", flat_tile)
    seen = []
    write_gallery(
        tmp_path / "gallery.png",
        seed=1,
        lines=("U-2 OS", "HAP1"),
        progress=lambda *told: seen.append(told),
    )
    assert seen[0] == (1, N_LOCATIONS, "Nucleoplasm")
    assert seen[-1] == (N_LOCATIONS, N_LOCATIONS, "Negative")
    sheet = cv2.imread(str(tmp_path / "gallery.png"))
    assert sheet.shape[:2] == (40 + 320 * N_LOCATIONS, 200 + 2 * 640)
    assert sheet[40 + 320 * 5 + 100, -10, 0] == 5


def test_a_tile_shows_its_location():
    spindle = draw_tile("HEK 293", 11, seed=(1, 2))
    negative = draw_tile("HEK 293", 18, seed=(1, 2))
    assert spindle.shape == negative.shape
    assert spindle[..., 1].max() > 100
    assert negative[:, 320:, 1].mean() < 12
