"""SubCell as a model folder: what its graphs answer, against the networks and by hand."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from hpacells.core.atlas_terms import LOCATION_OF_TERM, TERMS_WITHOUT_LOCATION
from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.locations import LOCATION_KEYS
from hpacells.model.published import install_classifier
from hpacells.model.subcell import SUBCELL_LOCATIONS, SubcellEncoder, load_subcell_classifier
from hpacells.model.subcell_classifier import TermHeads
from hpacells.model.torch_session import open_torch_session
from hpacells.runtime.session import open_session
from hpacells.runtime.terms import score_terms, term_columns

SIDE = 64
MERGED = {
    "actin_filaments": ["actin_filaments", "focal_adhesion_sites"],
    "centrosome": ["centrosome", "centriolar_satellite"],
    "plasma_membrane": ["plasma_membrane", "cell_junctions"],
    "vesicles": [
        *("vesicles", "peroxisomes", "endosomes", "lysosomes"),
        *("lipid_droplets", "cytoplasmic_bodies"),
    ],
}


def draw_cells(n, seed=3):
    rng = np.random.default_rng(seed)
    crops = rng.integers(0, 200, (n, 4, SIDE, SIDE), dtype=np.uint8)
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    masks[:, 8:50, 12:60] = 1
    return crops, masks


def test_the_folder_answers_what_the_published_networks_answer(publish_subcell, tmp_path):
    entry, _ = publish_subcell()
    folder = install_classifier(entry, tell=lambda line: None)
    assert sorted(folder.spec.files) == ["model.onnx", "model.safetensors", "terms.onnx"]
    assert folder.spec.needs == ("red", "green", "blue", "yellow")
    assert (folder.spec.licence, folder.spec.citation) == ("MIT", "nobody")
    crops, masks = draw_cells(3)
    logits, embedding = open_session(folder).run(crops, masks)
    terms = score_terms(folder, embedding)
    on_torch = open_torch_session(folder, device="cpu", precision="float32").run(crops, masks)
    np.testing.assert_allclose(on_torch[0], logits, atol=1e-4)
    np.testing.assert_allclose(on_torch[1], embedding, atol=1e-3)

    served = tmp_path / "served"
    encoder = SubcellEncoder(4, crop_px=SIDE, depth=1).eval()
    encoder.load(served / "encoder.pth")
    grey = (crops[:, [0, 3, 2, 1]] * masks[:, None]).astype(np.float32)
    highest = grey.max(axis=(1, 2, 3), keepdims=True)  # the least is 0, outside the cell
    with torch.no_grad():
        expected = encoder(torch.from_numpy(grey / (highest + 1e-6)))
        heads = [load_subcell_classifier(served / f"classifier_seed_{i}.pth") for i in (0, 1)]
        each = [head(expected).sigmoid().numpy() for head in heads]
    np.testing.assert_allclose(embedding, expected.numpy(), atol=1e-3)
    mean = np.mean(each, axis=0)
    found = np.column_stack([terms[name].to_numpy() for name in term_columns(SUBCELL_LOCATIONS)])
    np.testing.assert_allclose(found, mean, atol=1e-4)
    for k, key in enumerate(LOCATION_KEYS):
        merged = [terms[f"term_{term}"].to_numpy() for term in MERGED.get(key, [key])]
        np.testing.assert_allclose(expit(logits[:, k]), np.max(merged, axis=0), atol=1e-4)


def test_no_cells_give_no_rows(publish_subcell):
    entry, _ = publish_subcell(n_heads=1)
    folder = install_classifier(entry, tell=lambda line: None)
    table = score_terms(folder, np.zeros((0, 1536), np.float32))
    assert (table.num_rows, table.column_names) == (0, term_columns(SUBCELL_LOCATIONS))


def test_a_mean_near_one_keeps_its_logit():
    heads = [torch.nn.Linear(1, 1) for _ in range(2)]
    for head, bias in zip(heads, (18.0, 20.0), strict=True):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, bias)
    absent = (np.exp(-18.0) + np.exp(-20.0)) / 2
    with torch.no_grad():
        logit = TermHeads(heads).logits(torch.zeros(1, 1)).item()
    assert logit == pytest.approx(-np.log(absent), abs=1e-4)


def test_every_term_is_merged_or_known_to_be_dropped():
    dropped = [term for term in SUBCELL_LOCATIONS if term not in LOCATION_OF_TERM]
    assert dropped == ["Cytokinetic bridge", "Midbody", "Mitotic chromosome", "Nucleoli rim"]
    assert set(dropped) <= TERMS_WITHOUT_LOCATION
    assert set(LOCATION_OF_TERM.values()) == set(range(len(LOCATION_KEYS)))


def test_the_stains_must_be_an_encoders(publish_subcell):
    entry, _ = publish_subcell(stains=["green", "blue"])
    with pytest.raises(ModelError, match="expected SubCell's stains, one encoder file"):
        install_classifier(entry, tell=lambda line: None)
    assert not entry.folder.exists()


def test_the_encoder_of_other_stains_is_refused(publish_subcell):
    entry, _ = publish_subcell(stains=["blue", "green"])
    with pytest.raises(ModelError, match="another architecture"):
        install_classifier(entry, tell=lambda line: None)
    assert not entry.folder.exists()
    assert not entry.folder.with_name(".making").exists()


def test_the_protein_and_nucleus_alone(publish_subcell):
    entry, _ = publish_subcell(n_stains=2, stains=["blue", "green"], n_heads=1)
    folder = install_classifier(entry, tell=lambda line: None)
    crops, masks = draw_cells(1)
    first = open_session(folder).run(crops, masks)[1]
    crops[:, [Channel.MICROTUBULES.position, Channel.ER.position]] = 0
    np.testing.assert_array_equal(open_session(folder).run(crops, masks)[1], first)
