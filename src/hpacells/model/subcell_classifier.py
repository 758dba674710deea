"""SubCell as a model folder: its encoder, its classifiers, 31 atlas terms merged to 19 locations.

The published classifiers' probabilities are averaged, of the terms that share a location the
highest counts, and the logit of that is the model's answer. All 31 stand in a second, small graph
from embeddings to terms.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hpacells.core.atlas_terms import LOCATION_OF_TERM
from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS
from hpacells.model.encoder_input import make_input
from hpacells.model.export import export_model, strip_notes, write_graph
from hpacells.model.pretrained import load_strictly
from hpacells.model.subcell import (
    SUBCELL_LOCATIONS,
    SUBCELL_STAINS,
    SubcellEncoder,
    build_subcell_classifier,
    load_subcell_classifier,
)
from hpacells.runtime.model_folder import TERMS_FILE, ModelSpec

__all__ = ["SubcellClassifier", "TermHeads", "convert_subcell", "load_subcell"]


class TermHeads(nn.Module):
    """Several classifiers of the same terms, averaged.

    Parameters
    ----------
    heads
        Each ``(N, 1536)`` → ``(N, 31)`` logits.
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def logits(self, embedding: Tensor) -> Tensor:
        """Compute ``(N, 31)``: the logit of the mean probability, exact where that is near 1."""
        each = torch.stack([head(embedding) for head in self.heads])
        present = torch.logsumexp(nn.functional.logsigmoid(each), dim=0)
        absent = torch.logsumexp(nn.functional.logsigmoid(-each), dim=0)
        return present - absent

    def forward(self, embedding: Tensor) -> Tensor:
        """Compute the mean probabilities ``(N, 31)`` of ``(N, 1536)`` embeddings."""
        return torch.sigmoid(self.logits(embedding))


class SubcellClassifier(nn.Module):
    """Masked crops to logits of the 19 locations, and embeddings.

    Parameters
    ----------
    backbone
        A key of ``SUBCELL_STAINS``.
    encoder
        That backbone, with its weights.
    heads
        The classifiers on it.
    crop_px
        Side ``S`` of the crops.
    """

    def __init__(
        self, backbone: str, encoder: SubcellEncoder, heads: TermHeads, *, crop_px: int
    ) -> None:
        super().__init__()
        self.crop_px = crop_px
        self.input = make_input("cell_min_max", backbone, encoder)
        self.backbone = encoder
        self.terms = heads

    def forward(self, crops: Tensor, cell_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Classify ``(N, 4, S, S)`` crops, 0-255, within their masks ``(N, S, S)``.

        Returns
        -------
        logits
            ``(N, 19)`` float32.
        embedding
            ``(N, 1536)`` float32.
        """
        embedding = self.backbone(self.input(crops, cell_mask))
        terms = self.terms.logits(embedding)
        return torch.stack([terms[:, mine].amax(dim=1) for mine in _MERGED], dim=1), embedding


_MERGED = [
    [i for i, term in enumerate(SUBCELL_LOCATIONS) if LOCATION_OF_TERM.get(term) == k]
    for k in range(N_LOCATIONS)
]
"""Of each location, the positions of the terms that merge into it: at least one."""


def convert_subcell(
    spec: ModelSpec,
    stains: Sequence[Channel],
    files: Mapping[str, Path],
    folder: Path,
    *,
    depth: int | None = None,
) -> ModelSpec:
    """Make a model folder of the published files.

    Parameters
    ----------
    spec
        What ``model.json`` says beside what is decided here: terms, architecture, normalisation.
    stains
        Of the encoder, in its order.
    files
        By published name: one encoder and at least one classifier, told apart by what they hold.
    folder
        Where it is written, ``model.json`` last.
    depth
        Layers of the encoder, where not the published ones' (tests).

    Raises
    ------
    ModelError
        When the stains are those of no encoder, there is not one encoder with classifiers, a file
        is not what it should be, or the graph does not compute what the network computes.
    """
    names = [name for name, wanted in SUBCELL_STAINS.items() if wanted == tuple(stains)]
    encoders = sorted(name for name in files if "classifier" not in name)
    heads = sorted(files.keys() - set(encoders))
    if not names or len(encoders) != 1 or not heads:
        raise ModelError(
            f"model {spec.name}: expected SubCell's stains, one encoder file and files named "
            f"'…classifier…', got stains {', '.join(stains)}, {', '.join(sorted(files))}. Correct "
            "its entry in the list of models."
        )
    kwargs = {} if depth is None else {"depth": depth}
    encoder = SubcellEncoder(len(stains), crop_px=spec.crop_px, **kwargs)
    encoder.load(files[encoders[0]])
    terms = TermHeads([load_subcell_classifier(files[name]) for name in heads])
    network = SubcellClassifier(names[0], encoder, terms, crop_px=spec.crop_px).eval()
    folder.mkdir(parents=True, exist_ok=True)
    write_graph(
        terms.eval(),
        (torch.zeros(2, spec.embedding_size),),
        folder / TERMS_FILE,
        inputs=["embedding"],
        outputs=["terms"],
    )
    strip_notes(folder / TERMS_FILE)
    return export_model(
        network,
        spec.model_copy(
            update={
                "architecture": spec.architecture.model_copy(
                    update={"backbone": names[0], "kwargs": kwargs}
                ),
                "terms": SUBCELL_LOCATIONS,
            }
        ),
        folder,
    )


def load_subcell(spec: ModelSpec, weights: Path) -> SubcellClassifier:
    """Read the weights of such a folder back into a network, in evaluation mode.

    Raises
    ------
    ModelError
        When they are those of another network.
    """
    name, kwargs = spec.architecture.backbone, spec.architecture.kwargs
    state = load_file(weights)
    heads = {key.split(".")[2] for key in state if key.startswith("terms.heads.")}
    network = SubcellClassifier(
        name,
        SubcellEncoder(len(SUBCELL_STAINS[name]), crop_px=spec.crop_px, **kwargs),
        TermHeads([build_subcell_classifier() for _ in heads]),
        crop_px=spec.crop_px,
    )
    load_strictly(network, state, weights)
    return network.eval()
