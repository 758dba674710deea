"""Small non-square fields written to disk, for the tests of reading."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from hpacells.core.channels import CHANNELS

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))  # the atlas's stand-in lies there

HEIGHT, WIDTH = 24, 40


@pytest.fixture
def planes() -> dict[str, np.ndarray]:
    """Four different 8-bit stains (24, 40), smooth enough for JPEG."""
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (len(CHANNELS), HEIGHT, WIDTH)).astype(np.uint8)
    return {c.value: cv2.GaussianBlur(noise[c.position], (0, 0), 2) for c in CHANNELS}


@pytest.fixture
def write_field(planes) -> Callable[..., Path]:
    """Write a quadruplet: ``write_field(folder, "a", ".png", red=other)``; None leaves one out."""

    def write(folder: Path, fov_id: str, suffix: str = ".png", **changed: np.ndarray | None):
        folder.mkdir(parents=True, exist_ok=True)
        for colour, plane in {**planes, **changed}.items():
            if plane is None:
                continue
            path = folder / f"{fov_id}_{colour}{suffix}"
            if "tif" in suffix.lower():
                tifffile.imwrite(path, plane)
            else:
                shown = plane[..., ::-1] if plane.ndim == 3 else plane  # OpenCV writes BGR
                path.write_bytes(cv2.imencode(suffix, shown)[1].tobytes())
        return folder

    return write


@pytest.fixture
def real_data() -> Path:
    """Give the folder of real data, or skip."""
    folder = os.environ.get("HPACELLS_REAL_DATA")
    if not folder:
        pytest.skip("HPACELLS_REAL_DATA is not set")
    return Path(folder)
