import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from hpacells.core.cell_table import (
    CELL_MEASURE_SCHEMA,
    CELL_QUALITY_COLUMNS,
    CellStatus,
    CellTable,
)
from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.runtime.model_folder import Calibration, Postprocessing, load_model
from hpacells.runtime.postprocess import (
    blend_scores,
    border_weights,
    calibrate,
    calibrated_logits,
    pool_cells,
    score_field,
)


def make_cells(*rows):
    """Cells of (status, area_um2, nucleus_area_um2[, chance_inside])."""
    return CellTable(
        pa.Table.from_pylist(
            [
                {
                    **dict.fromkeys(("r0", "c0", "r1", "c1"), 0),
                    **dict.fromkeys(("protein_mean", "protein_total", "dna_total"), 0.0),
                    "fov_id": "a",
                    "cell_id": i,
                    "status": status,
                    "reason": "debris" if status == "rejected" else None,
                    "area_um2": area,
                    "nucleus_area_um2": nucleus,
                    "touches_border": status == "border",
                    "chance_inside": chance[0] if chance else 1.0,
                    **dict.fromkeys(CELL_QUALITY_COLUMNS, False),
                }
                for i, (status, area, nucleus, *chance) in enumerate(rows, start=1)
            ],
            schema=CELL_MEASURE_SCHEMA,
        )
    )


OK, BORDER, REJECTED = (status.value for status in CellStatus)
MIXED = ((OK, 400.0, 90.0), (BORDER, 100.0, 0.0, 0.3), (REJECTED, 3.0, 0.0), (OK, 600.0, 80.0))


@pytest.fixture
def logits():
    return np.random.default_rng(5).normal(0, 2, (4, N_LOCATIONS)).astype(np.float32)


def score(make_model_folder, logits, *rows, calibration=None, **constants):
    folder = make_model_folder(
        calibration=calibration or Calibration(), postprocessing=Postprocessing(**constants)
    )
    embedding = np.ones((len(rows), 6), np.float32)
    return score_field(logits, embedding, make_cells(*rows), load_model(folder))


def test_the_cell_score_is_the_calibrated_sigmoid_of_that_cell_alone(make_model_folder, logits):
    scale = tuple(np.linspace(0.5, 2, N_LOCATIONS))
    bias = tuple(np.linspace(-1, 1, N_LOCATIONS))
    calibration = Calibration(scale=scale, bias=bias)
    table = score(make_model_folder, logits, *MIXED, calibration=calibration)
    expected = 1 / (1 + np.exp(-(logits.astype(float) * scale + bias)))
    assert table.cell == pytest.approx(expected, abs=1e-6)
    model = load_model(make_model_folder("again", calibration=calibration))
    assert np.array_equal(calibrate(logits, model), table.cell)
    assert np.array_equal(calibrate(logits[2:3], model), table.cell[2:3])


def test_image_and_blend_by_hand(make_model_folder, logits):
    table = score(make_model_folder, logits, *MIXED, image_pooling="max")
    counted = expit(logits[[0, 1, 3]].astype(float))
    image = counted.max(axis=0)
    assert table.image == pytest.approx(image, abs=1e-6)
    assert table.blend[0] == pytest.approx(0.7 * counted[0] + 0.3 * image, abs=1e-6)
    assert table.blend[1] == pytest.approx(0.3 * (0.7 * counted[1] + 0.3 * image), abs=1e-6)


def test_rejected_cells_influence_no_other_and_have_scores(make_model_folder, logits):
    first = score(make_model_folder, logits, *MIXED)
    other = logits.copy()
    other[2] = 50
    folder = make_model_folder("other")
    second = score_field(other, np.ones((4, 6), np.float32), make_cells(*MIXED), load_model(folder))
    kept = [0, 1, 3]
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.blend[kept], second.blend[kept])
    assert np.isfinite(first.cell).all()
    assert np.isfinite(first.blend).all()


@pytest.mark.parametrize("how", ["max", "lse", "noisy_or", "top_mean", "mean"])
def test_pooling_keeps_the_order_of_cells_out_and_a_uniform_field_in(how):
    constants = Postprocessing(image_pooling=how)
    logits = np.random.default_rng(1).normal(0, 3, (9, N_LOCATIONS))
    pooled = pool_cells(logits, constants)
    assert pool_cells(logits[::-1], constants) == pytest.approx(pooled, abs=1e-12)
    assert ((pooled >= 0) & (pooled <= 1)).all()
    assert (pool_cells(logits + 1, constants) > pooled).all()
    alone = pool_cells(logits[:1], constants)
    assert alone == pytest.approx(expit(logits[0]), abs=1e-12)
    assert (pool_cells(logits[:0], constants) == 0).all()


def test_pooling_by_hand():
    logits = np.log(np.array([[0.25 / 0.75], [0.5 / 0.5], [0.5 / 0.5], [0.2 / 0.8], [0.2 / 0.8]]))
    by_hand = {
        "noisy_or": 1 - 0.75 * 0.5 * 0.5 * 0.8 * 0.8,
        "max": 0.5,
        "top_mean": 0.5,  # a quarter of five, rounded up: two cells
        "mean": float(expit(logits.mean())),
        "lse": float(expit(np.log(np.exp(2 * logits).mean()) / 2)),
    }
    for how, expected in by_hand.items():
        pooled = pool_cells(logits, Postprocessing(image_pooling=how))
        assert float(pooled[0]) == pytest.approx(expected, abs=1e-12), how


def test_noisy_or_stays_finite_for_certain_cells():
    pooled = pool_cells(np.array([[800.0, -800.0]]), Postprocessing(image_pooling="noisy_or"))
    assert pooled.tolist() == [1.0, 0.0]


def test_negative_rules(make_model_folder, logits):
    others = np.delete(expit(logits.astype(float)), NEGATIVE, axis=1)
    rules = {"one_minus_max": 1 - others.max(axis=1), "product": (1 - others).prod(axis=1)}
    for rule, expected in rules.items():
        folder = make_model_folder(rule, postprocessing=Postprocessing(negative=rule))
        cell = calibrate(logits, load_model(folder))
        assert cell[:, NEGATIVE] == pytest.approx(expected, abs=1e-6)
        assert np.delete(cell, NEGATIVE, axis=1) == pytest.approx(others, abs=1e-6)
    certain = np.full((1, N_LOCATIONS), 90, np.float32)
    folder = make_model_folder("certain", postprocessing=Postprocessing(negative="product"))
    assert np.isfinite(calibrate(certain, load_model(folder))).all()


def test_damping_by_negative_touches_the_other_classes_of_the_blend_only(make_model_folder, logits):
    plain = score(make_model_folder, logits, *MIXED)
    folder = make_model_folder("damped", postprocessing=Postprocessing(negative_damping=1))
    damped = score_field(
        logits, np.ones((4, 6), np.float32), make_cells(*MIXED), load_model(folder)
    )
    assert np.array_equal(plain.cell, damped.cell)
    assert np.array_equal(plain.blend[:, NEGATIVE], damped.blend[:, NEGATIVE])
    keep = 1 - plain.cell[:, [NEGATIVE]]
    others = np.delete(plain.blend * keep, NEGATIVE, axis=1)
    assert np.delete(damped.blend, NEGATIVE, axis=1) == pytest.approx(others, abs=1e-6)


def test_product_blend(make_model_folder, logits):
    table = score(
        make_model_folder, logits, *MIXED, blend="product", cell_weight=0.5, image_weight=0.5
    )
    expected = np.sqrt(table.cell[0].astype(float) * table.image)
    assert table.blend[0] == pytest.approx(expected, abs=1e-6)


def test_only_border_cells_are_weighed_by_their_chance_to_count():
    cells = make_cells(*[(status, 400.0, 90.0, 0.25) for status in (OK, BORDER, REJECTED)])
    assert border_weights(cells, Postprocessing()) == pytest.approx([1, 0.25, 1])
    assert border_weights(cells, Postprocessing(border_power=0.5)) == pytest.approx([1, 0.5, 1])
    assert border_weights(cells, Postprocessing(border_power=0)) == pytest.approx([1, 1, 1])
    assert border_weights(make_cells(), Postprocessing()).shape == (0,)


def test_a_field_without_cells_has_image_scores_zero(make_model_folder):
    table = score(make_model_folder, np.zeros((0, N_LOCATIONS), np.float32))
    assert table.cell.shape == (0, N_LOCATIONS)
    assert (table.image == 0).all()


def test_logits_of_another_field_are_refused(make_model_folder, logits):
    with pytest.raises(ModelError, match="expected logits"):
        score(make_model_folder, logits[:3], *MIXED)


def test_a_derived_negative_has_constants_of_its_own():
    logits = np.random.default_rng(3).normal(0, 1, (4, N_LOCATIONS)).astype(np.float32)
    derived = Postprocessing(negative="product")
    scale, bias = np.ones(N_LOCATIONS), np.zeros(N_LOCATIONS)
    scale[NEGATIVE], bias[NEGATIVE] = 0.5, -1
    constants = Calibration(scale=tuple(scale), bias=tuple(bias))
    plain = calibrated_logits(logits, Calibration(), derived)
    fitted = calibrated_logits(logits, constants, derived)
    assert fitted[:, :NEGATIVE] == pytest.approx(plain[:, :NEGATIVE])
    assert fitted[:, NEGATIVE] == pytest.approx(0.5 * plain[:, NEGATIVE] - 1)


def test_cells_of_several_fields_blend_as_field_by_field():
    rng = np.random.default_rng(4)
    cell, image = rng.random((5, N_LOCATIONS)), rng.random((2, N_LOCATIONS))
    constants = Postprocessing(blend="product", negative_damping=0.5)
    owner = np.array([0, 0, 1, 1, 1])
    together = blend_scores(cell, image[owner], constants)
    apart = [blend_scores(cell[owner == i], image[i], constants) for i in (0, 1)]
    assert together == pytest.approx(np.concatenate(apart))
