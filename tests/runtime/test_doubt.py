import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from hpacells.core.locations import N_LOCATIONS
from hpacells.runtime.doubt import describe_crops, distance, fit_cloud, fit_doubt, score_doubt
from hpacells.runtime.model_folder import DOUBT_LEVELS, Cloud, Doubt, load_model, pack, unpack
from hpacells.runtime.session import open_session

SIDE = 32  # of the tiny model


def draw_cells(seed, n):
    """Round cells with four stains of about the brightness and grain of real ones."""
    rng = np.random.default_rng(seed)
    crops, masks = np.zeros((n, 4, SIDE, SIDE)), np.zeros((n, SIDE, SIDE), np.uint8)
    for crop, mask in zip(crops, masks, strict=True):
        body = tuple(int(r) for r in rng.integers(9, 14, 2))
        cv2.ellipse(mask, (16, 16), body, rng.uniform(0, 180), 0, 360, 1, -1)
        grain = rng.gamma(4, 0.25, crop.shape)
        levels = np.array([60, 50, 0, 40]) * rng.lognormal(0, 0.3, 4)
        stains = cv2.GaussianBlur(grain.transpose(1, 2, 0), (0, 0), 0.8).transpose(2, 0, 1)
        stains = np.ascontiguousarray(stains * levels[:, None, None])
        cv2.circle(stains[2], (16, 16), 5, float(rng.uniform(90, 160)), -1)
        crop[:] = stains * mask
    return np.clip(crops, 0, 255).astype(np.uint8), masks


@pytest.fixture
def judge(tiny_model_folder):
    """Fits on ordinary cells; gives a function from crops and masks to doubts."""
    session = open_session(load_model(tiny_model_folder))

    def answers(crops, masks):
        logits, embedding = session.run(crops, masks)
        return embedding, (1 / (1 + np.exp(-logits))).astype(np.float32)

    crops, masks = draw_cells(0, 300)
    doubt = fit_doubt(describe_crops(crops, masks), *answers(crops, masks))
    return lambda crops, masks: score_doubt(doubt, crops, masks, *answers(crops, masks))


def test_ordinary_cells_have_every_doubt(judge):
    found = judge(*draw_cells(1, 300))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.12)


def _noise(crops, rng):
    return rng.integers(0, 256, crops.shape).astype(np.uint8)


@pytest.mark.parametrize("stain", range(4))
def test_a_missing_stain_raises_it(judge, stain):
    crops, masks = draw_cells(2, 40)
    crops[:, stain] = 0
    assert (judge(crops, masks) > 0.9).all()


@pytest.mark.parametrize("change", ["blank", "full", "noise", "blurred", "debris"])
def test_what_is_no_cell_raises_it(judge, change):
    crops, masks = draw_cells(3, 40)
    if change == "debris":  # a speck of a cell
        masks[:] = 0
        masks[:, 14:18, 15:18] = 1
    changed = {
        "blank": lambda: np.zeros_like(crops),
        "full": lambda: np.full_like(crops, 255),
        "noise": lambda: _noise(crops, np.random.default_rng(0)),
        "blurred": lambda: np.repeat(
            crops.mean(axis=(2, 3), keepdims=True).astype(np.uint8), SIDE, axis=2
        ).repeat(SIDE, axis=3),
        "debris": lambda: crops,
    }[change]()
    assert (judge(changed, masks) > 0.9).all()


def test_a_kind_never_seen_raises_it():
    """The crops are ordinary; only the embedding tells."""
    rng = np.random.default_rng(0)
    crops, masks = draw_cells(6, 200)
    p = np.full((200, N_LOCATIONS), 0.1, np.float32)  # all equally undecided
    known = (rng.normal(0, 1, (200, 8)) @ rng.normal(0, 1, (8, 40))).astype(np.float32)
    doubt = fit_doubt(describe_crops(crops, masks), known, p)
    other = (known + 6 * rng.normal(0, 1, 40)).astype(np.float32)
    assert (score_doubt(doubt, crops, masks, other, p) > 0.9).all()
    assert score_doubt(doubt, crops, masks, known, p).mean() == pytest.approx(0.5, abs=0.05)


def test_undecided_probabilities_raise_it():
    rng = np.random.default_rng(0)
    sure = rng.choice([0.02, 0.98], (200, N_LOCATIONS), p=[0.9, 0.1]).astype(np.float32)
    same = np.zeros((200, 5), np.float32)
    crops, masks = np.zeros((200, 4, 8, 8), np.uint8), np.ones((200, 8, 8), np.uint8)
    doubt = fit_doubt(describe_crops(crops, masks), same, sure)
    torn = np.full((3, N_LOCATIONS), 0.5, np.float32)
    assert (score_doubt(doubt, crops[:3], masks[:3], same[:3], torn) == 1).all()


def test_a_cell_has_its_doubt_whoever_stands_beside_it(judge):
    crops, masks = draw_cells(4, 70)
    together = judge(crops, masks)
    alone = [judge(crops[i : i + 1], masks[i : i + 1])[0] for i in (0, 33, 69)]
    assert together[[0, 33, 69]].tolist() == [float(value) for value in alone]
    assert judge(crops[:0], masks[:0]).shape == (0,)


def test_without_a_fit_it_is_one_minus_the_largest():
    crops, masks = draw_cells(5, 2)
    p = np.zeros((2, N_LOCATIONS), np.float32)
    p[0, 3], p[1, 4] = 0.25, 1
    assert score_doubt(None, crops, masks, np.zeros((2, 4), np.float32), p).tolist() == [0.75, 0]


def test_a_drawn_crop_described():
    crops, masks = np.zeros((1, 1, 2, 3), np.uint8), np.ones((1, 2, 3), np.uint8)
    crops[0, 0] = [[10, 30, 99], [10, 30, 99]]
    masks[0, :, 2] = 0  # outside
    mean, sd, step, area = describe_crops(crops, masks)[0]
    assert (mean, sd, step) == pytest.approx(tuple(np.log([20.5, 10.5, 20.5])))
    assert area == pytest.approx(np.log(5))
    nothing = describe_crops(crops, masks * 0)[0]
    assert np.isfinite(nothing).all()


def test_distance_is_mahalanobis():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (2000, 5)) @ rng.normal(0, 1, (5, 5)) + 3
    cloud = fit_cloud(points)
    away = points[:50] - points.mean(axis=0)
    inverse = np.linalg.inv(np.cov(points.T, bias=True))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", away, inverse, away))
    assert distance(cloud, points[:50]) == pytest.approx(expected, rel=1e-3)


def test_directions_beyond_the_axes_count_as_one():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (3000, 40)) * np.array([5.0] * 16 + [0.5] * 24)
    cloud = fit_cloud(points)
    aside = np.zeros((1, 40))
    aside[0, -1] = 5.0
    assert distance(cloud, points.mean(axis=0) + aside)[0] == pytest.approx(10, rel=0.1)
    assert len(unpack(cloud.spread)) == 17


@pytest.mark.parametrize(
    ("mean", "axes", "spread"),
    [([0, 0], [1, 0, 0], [1, 1]), ([0, 0], [1, 0], [1, 0]), ([0, np.inf], [1, 0], [1, 1])],
)
def test_a_malformed_cloud_is_refused(mean, axes, spread):
    with pytest.raises(ValidationError, match=r"expected A axes|expected finite"):
        Cloud(mean=pack(np.array(mean)), axes=pack(np.array(axes)), spread=pack(np.array(spread)))


def test_quantiles_that_fall_or_are_too_few_are_refused():
    cloud = fit_cloud(np.eye(3))
    right = pack(np.arange(len(DOUBT_LEVELS)))
    for wrong in (pack(np.arange(3)), pack(-np.arange(len(DOUBT_LEVELS)))):
        with pytest.raises(ValidationError, match="ascending"):
            Doubt(crop=cloud, embedding=cloud, levels=(right, right, wrong), total=right)


def test_a_model_folder_keeps_it(make_model_folder):
    rng = np.random.default_rng(0)
    p = rng.random((200, N_LOCATIONS)).astype(np.float32)
    doubt = fit_doubt(rng.normal(0, 1, (200, 13)), rng.normal(0, 1, (200, 128)), p)
    folder = make_model_folder(doubt=doubt, fitted={"doubt": "against 200 cells"})
    spec = load_model(folder).spec
    assert spec.doubt == doubt
    assert spec.fitted == {"doubt": "against 200 cells"}
    assert len(doubt.model_dump_json()) < 50_000
