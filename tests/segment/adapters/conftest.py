"""Published segmenters without their libraries: small torch networks in the same layout.

The networks are TorchScript files, as the published ones are, written beside the test and fetched
from there by their checksum. None of the published weights was ever run in these tests.
"""

import hashlib
import warnings

import cv2
import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.runtime.published_weights import PublishedFile, PublishedWeights
from hpacells.segment.adapters.library import open_networks


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and no network left open from another test."""
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    open_networks.cache_clear()
    return tmp_path / "cache"


def save_script(network, path):
    """Save a network as TorchScript; that torch would rather have it exported is no news."""
    import torch  # noqa: PLC0415  slow, and not every test here wants it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network.eval()).save(str(path))


@pytest.fixture
def publish(tmp_path):
    """Make networks published weights: file name → network, or bytes."""

    def make(**networks):
        files = []
        (tmp_path / "published").mkdir()
        for name, network in networks.items():
            path = tmp_path / "published" / name
            if isinstance(network, bytes):
                path.write_bytes(network)
            else:
                save_script(network, path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            files.append(PublishedFile(f"{name}.pt", path.as_uri(), sha256))
        return PublishedWeights("test", "Test weights", "CC0-1.0", "None.", tuple(files))

    return make


@pytest.fixture
def draw():
    """Draw round cells with round nuclei at places (rows, columns in µm)."""

    def make(shape=(400, 620), *, pixel_um=0.08, at_um=((12, 14), (18, 37)), levels=(180, 200)):
        pixels = np.zeros((len(CHANNELS), *shape), np.uint8)
        body, nucleus = levels
        for row, column in at_um:
            centre = (round(column / pixel_um), round(row / pixel_um))
            for channel in (Channel.MICROTUBULES, Channel.ER):
                cv2.circle(pixels[channel.position], centre, round(10 / pixel_um), body, -1)
            cv2.circle(pixels[Channel.NUCLEUS.position], centre, round(5 / pixel_um), nucleus, -1)
        return FieldOfView("f", pixels, pixel_um, 255)

    return make
