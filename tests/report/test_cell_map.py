import sys
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from hpacells.core.cell_table import EMBEDDING_SCHEMA
from hpacells.core.errors import InputError, MissingExtraError
from hpacells.report.cell_map import draw_map, read_embeddings


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(4)
    return (rng.normal(size=(60, 12)) * np.linspace(3, 0.1, 12)).astype(np.float32)


def test_pca_agrees_with_scikit_learn(embeddings):
    drawn = draw_map(embeddings, "pca")
    model = PCA(2).fit(embeddings)
    theirs = model.transform(embeddings)
    signs = np.sign((drawn.places * theirs).sum(axis=0))
    np.testing.assert_allclose(drawn.places, theirs * signs, atol=1e-4)
    shares = model.explained_variance_ratio_
    assert f"{shares[0]:.0%} and {shares[1]:.0%}" in drawn.note


def test_pca_of_turned_embeddings_is_the_same_map(embeddings):
    assert (draw_map(embeddings, "pca").places == draw_map(embeddings, "pca").places).all()
    shuffled = draw_map(embeddings[::-1], "pca").places[::-1]
    np.testing.assert_allclose(shuffled, draw_map(embeddings, "pca").places, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 1), (3, 2), (40, 3)])
def test_equal_cells_lie_on_one_place(shape):
    drawn = draw_map(np.ones(shape, np.float32), "pca")
    assert drawn.places.shape == (shape[0], 2)
    np.testing.assert_allclose(drawn.places, 0, atol=1e-12)


@pytest.mark.parametrize(("method", "fewest"), [("pca", 3), ("umap", 10)])
def test_too_few_cells_give_no_map(embeddings, method, fewest):
    drawn = draw_map(embeddings[: fewest - 1], method)
    assert drawn.places is None
    assert f"{fewest} cells; {fewest - 1} are here" in drawn.note


def test_umap_is_asked_with_a_seed(embeddings, monkeypatch):
    asked = {}

    class Fake:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, vectors):
            return vectors[:, :2]

    module = ModuleType("umap")
    module.UMAP = Fake
    monkeypatch.setitem(sys.modules, "umap", module)
    drawn = draw_map(embeddings[:12], "umap")
    assert asked == {"n_neighbors": 11, "random_state": 0, "n_jobs": 1}
    assert drawn.places.tolist() == embeddings[:12, :2].tolist()


@pytest.mark.slow
def test_umap_keeps_groups_apart():
    pytest.importorskip("umap")
    rng = np.random.default_rng(5)
    groups = np.repeat([0, 1], 30)
    embeddings = (rng.normal(size=(60, 8)) + 20 * groups[:, None]).astype(np.float32)
    places = draw_map(embeddings, "umap").places
    middles = [places[groups == group].mean(axis=0) for group in (0, 1)]
    nearest = np.linalg.norm(places[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == groups).all()


def test_without_umap_the_extra_is_named(embeddings, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"hpacells\[umap\]"):
        draw_map(embeddings, "umap")


def test_embeddings_of_the_asked_fields_are_read(tmp_path):
    rows = [
        {"fov_id": fov_id, "cell_id": i, "embedding": [i, ord(fov_id)]}
        for fov_id in "abc"
        for i in (1, 2)
    ]
    assert read_embeddings(tmp_path, ["a"]) == {}
    pq.write_table(pa.Table.from_pylist(rows, EMBEDDING_SCHEMA), tmp_path / "embeddings.parquet")
    found = read_embeddings(tmp_path, ["c", "a", "z"])
    assert {key: vector.tolist() for key, vector in found.items()} == {
        (fov_id, i): [i, ord(fov_id)] for fov_id in "ac" for i in (1, 2)
    }
    assert read_embeddings(tmp_path, []) == {}


def test_a_damaged_table_is_refused(tmp_path):
    (tmp_path / "embeddings.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_embeddings(tmp_path, ["a"])
