"""Which published segmentation weights are known: addresses, checksums, licences.

Of the atlas's networks the publisher gives checksums, in bioimage.io's descriptions. Of Cellpose's
the one here was found at others who use the same file, not at its publisher. Of InstanSeg's none
was found: the first sight is written down instead (``runtime.published_weights``).
"""

from collections.abc import Mapping
from types import MappingProxyType

from hpacells.runtime.published_weights import PublishedFile, PublishedWeights

__all__ = [
    "ATLAS_WEIGHTS",
    "CELLPOSE_WEIGHTS",
    "CELL_FILE",
    "INSTANSEG_WEIGHTS",
    "NUCLEUS_FILE",
    "SEGMENTER_WEIGHTS",
]

NUCLEUS_FILE = "nuclei_model.pt"
CELL_FILE = "cell_model.pt"

ATLAS_WEIGHTS = PublishedWeights(
    name="atlas",
    title="The atlas's own nucleus and cell networks (Zenodo 6200999 and 6200635)",
    licence="CC-BY-4.0",
    notice=(
        "Name the Human Protein Atlas and doi:10.5281/zenodo.6200999, doi:10.5281/zenodo.6200635 "
        "where you publish results."
    ),
    files=(
        PublishedFile(
            NUCLEUS_FILE,
            "https://zenodo.org/api/records/7690494/files/nuclei_model.pt/content",
            "8d3af116378b12d54a15d880b942c2d7e74ba52e11421a7ba16c702d1a112ba5",
        ),
        PublishedFile(
            CELL_FILE,
            "https://zenodo.org/api/records/7702687/files/cell_model.pt/content",
            "7e94848c41f2a8a2e881a194fbd0228af15d3df864313c53bf3b130e90ca0275",
        ),
    ),
)
"""Newest version of each, both TorchScript, on which bioimage.io's descriptions rest."""

CELLPOSE_WEIGHTS = PublishedWeights(
    name="cellpose",
    title="Cellpose-SAM, the network of Cellpose 4 (cpsam_v2, 1.2 GB)",
    licence="BSD-3-Clause code; weights trained on non-commercial data",
    notice=(
        "Part of the images that these weights were trained on may be used for non-commercial "
        "purposes only (CC BY-NC): ask the authors before a commercial use."
    ),
    files=(
        PublishedFile(
            "cpsam_v2",
            "https://huggingface.co/mouseland/cellpose-sam/resolve/main/cpsam_v2",
            "0f1cc3f7ecdd8a037a57c6c48d9d8921391be4cbce3fa9f13c3e3a2e1253c667",
            sha256_source="others who use it, not its publisher",
        ),
    ),
)

INSTANSEG_WEIGHTS = PublishedWeights(
    name="instanseg",
    title="InstanSeg fluorescence_nuclei_and_cells, version 0.1.1",
    licence="Apache-2.0",
    notice="The data sets that it was trained on have licences of their own: see its model card.",
    files=(
        PublishedFile(
            "instanseg.pt",
            "https://github.com/instanseg/instanseg/releases/download/instanseg_models_v0.1.1/"
            "fluorescence_nuclei_and_cells.zip",
            None,
            member="fluorescence_nuclei_and_cells/instanseg.pt",
        ),
    ),
)

SEGMENTER_WEIGHTS: Mapping[str, PublishedWeights] = MappingProxyType(
    {w.name: w for w in (ATLAS_WEIGHTS, CELLPOSE_WEIGHTS, INSTANSEG_WEIGHTS)}
)
"""Name of the segmenter → its weights."""
