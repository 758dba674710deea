from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hpacells.core.cell_table import CELL_SCHEMA, PROBABILITY_COLUMNS
from hpacells.core.corrections import CORRECTED_MASKS, Action, Correction, add_corrections
from hpacells.core.errors import InputError, OutputError
from hpacells.core.locations import N_LOCATIONS, NEGATIVE, target_vector
from hpacells.images.mask_files import mask_path, write_label_image
from hpacells.runtime.model_folder import load_model
from hpacells.train.bags import BagCells, draw_epoch, load_cells
from hpacells.train.batch import StepInput
from hpacells.train.config import TrainConfig
from hpacells.train.config_sections import MixConfig, SynthesisConfig
from hpacells.train.corrections import apply_corrections
from hpacells.train.data import cell_rows
from hpacells.train.mixing import mix_bags
from hpacells.train.objective import Answers, step_loss
from hpacells.train.prepare import PreparedData
from hpacells.train.run import train_on_store
from hpacells.train.synthesis import synthesise_bags

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def write_run(tmp_path):
    """A run folder of a store's cells (6 to 8 a field, boxes 0 0 9 9) with corrections."""

    def write(words, *, name="run", fields=("f000", "f001"), box=(0, 0, 9, 9)):
        folder = tmp_path / name
        folder.mkdir()
        rows = []
        for fov_id in fields:
            for cell_id in range(1, 9):
                row = dict.fromkeys(CELL_SCHEMA.names, 0) | {"status": "ok", "reason": None}
                row |= {n: False for n in CELL_SCHEMA.names if n.startswith(("qc_", "touches"))}
                row |= {"fov_id": fov_id, "cell_id": cell_id}
                row |= dict(zip(("r0", "c0", "r1", "c1"), box, strict=True))
                rows.append(row | {PROBABILITY_COLUMNS[cell_id % N_LOCATIONS]: 0.9})
        pq.write_table(pa.Table.from_pylist(rows, CELL_SCHEMA), folder / "cells.parquet")
        add_corrections(folder, words)
        return folder

    return write


def say(cell_id, action, locations=None, *, who="a", fov_id="f000"):
    return Correction(fov_id, cell_id, Action(action), "test", WHEN, locations, who=who)


def test_each_kind_of_word(data, store, write_run):
    run = write_run(
        [
            say(1, "accept"),
            say(2, "accept", (7, 16)),
            say(3, "correct", (0,)),
            say(4, "correct"),  # redrawn
            say(5, "reject"),
            say(6, "comment"),
            say(1, "correct", (16,), fov_id="f001"),
            say(8, "correct", (16,), fov_id="f000"),  # has six cells
            say(1, "correct", (16,), fov_id="elsewhere"),
        ]
    )
    taught = apply_corrections(data, store, [run])
    expected = np.full((len(data.crops), N_LOCATIONS), -1, np.float32)
    expected[0] = target_vector((1,))  # what the run calls cell 1
    expected[1] = target_vector((7, 16))
    expected[2] = target_vector((0,))
    expected[6] = target_vector((16,))  # the first of f001
    assert np.array_equal(taught.corrected, expected)
    assert np.flatnonzero(taught.left_out).tolist() == [4]
    assert taught.correction_counts == {
        "cells_corrected": 4,
        "cells_left_out": 1,
        "corrections_of_outlines": 2,
        "corrections_elsewhere": 2,
    }
    assert taught.crops is data.crops
    assert data.corrected is None


def test_people_who_disagree_make_a_soft_target_and_most_rejections_leave_out(
    data, store, write_run
):
    first = write_run(
        [
            say(1, "correct", (7,)),
            say(1, "accept", (7, 16), who="b"),
            say(2, "reject"),
            say(2, "correct", (0,), who="b"),
            say(3, "reject"),
            say(3, "reject", who="b"),
        ]
    )
    second = write_run([say(3, "correct", (0,), who="c")], name="second")
    taught = apply_corrections(data, store, [first, second])
    assert taught.corrected[0, [7, 16, 0]].tolist() == [1, 0.5, 0]
    assert taught.corrected[1, 0] == 1  # a tie keeps the cell
    assert np.flatnonzero(taught.left_out).tolist() == [2]


def test_other_words_are_another_training(data, store, write_run):
    hashes = {data.data_hash}
    for i, words in enumerate(([say(1, "reject")], [say(1, "correct", (7,))], [say(2, "reject")])):
        run = write_run(words, name=f"run{i}")
        hashes.add(apply_corrections(data, store, [run]).data_hash)
        hashes.add(apply_corrections(data, store, [run]).data_hash)
    assert len(hashes) == 4


def test_cells_outlined_in_another_way_are_refused_unless_redrawn(data, store, write_run):
    words = [say(1, "correct", (7,))]
    run = write_run(words, box=(0, 20, 9, 29))
    with pytest.raises(InputError, match=r"1 of its corrected cells.*f000 cell 1.*hpacells crop"):
        apply_corrections(data, store, [run])
    write_label_image(mask_path(run / CORRECTED_MASKS, "f000", "cells"), np.ones((5, 5), np.int32))
    assert apply_corrections(data, store, [run]).correction_counts["cells_corrected"] == 1
    unknown = write_run(words, name="other", fields=("f009",))
    with pytest.raises(InputError, match="lie elsewhere"):
        apply_corrections(data, store, [unknown])
    near = write_run(words, name="near", box=(0, 1, 9, 10))
    assert apply_corrections(data, store, [near]).correction_counts["cells_corrected"] == 1


def test_a_run_without_corrections_or_all_cells_rejected_are_told(data, store, write_run):
    with pytest.raises(InputError, match="hpacells review"):
        apply_corrections(data, store, [write_run([])])
    rows = cell_rows(store, data).select(["fov_id", "cell_id"]).to_pylist()
    words = [say(row["cell_id"], "reject", fov_id=row["fov_id"]) for row in rows]
    every = write_run(words, name="every", fields=data.fov_ids)
    with pytest.raises(InputError, match="every cell of the data was rejected"):
        apply_corrections(data, store, [every])


def test_cells_left_out_are_never_drawn_and_others_as_without(data):
    fields = np.arange(data.n_fields)
    kinds = {"bag_size": 4, "bags_per_batch": 3}

    def drawn(given):
        return list(draw_epoch(given, fields, rng=np.random.default_rng(3), **kinds))

    left_out = np.zeros(len(data.crops), np.bool_)
    nothing = replace(data, left_out=left_out)
    for one, other in zip(drawn(data), drawn(nothing), strict=True):
        assert np.array_equal(one.cells, other.cells)
    rejected = left_out.copy()
    rejected[1:5] = True
    batches = drawn(replace(data, left_out=rejected))
    cells = np.concatenate([batch.cells[batch.cell_present] for batch in batches])
    assert not set(cells) & {1, 2, 3, 4}
    assert {0, 5} <= set(cells)
    rejected[:6] = True
    assert np.flatnonzero(~replace(data, left_out=rejected).can_teach).tolist() == [0]


def test_a_batch_carries_its_cells_words(data, store, write_run):
    run = write_run([say(2, "correct", (7,))])
    taught = apply_corrections(data, store, [run])
    batch = next(
        draw_epoch(
            taught, np.array([0]), bag_size=8, bags_per_batch=1, rng=np.random.default_rng(0)
        )
    )
    corrected = load_cells(taught, batch).corrected
    cells = batch.cells[batch.cell_present].tolist()
    assert corrected[cells.index(1)].tolist() == target_vector((7,)).tolist()
    assert (np.delete(corrected, cells.index(1), axis=0) == -1).all()
    assert load_cells(data, batch).corrected is None


def test_corrections_decide_what_is_learned(store, tiny_config, write_run, tmp_path):
    """Every cell is said to show class 7 alone, so nothing is left to be told apart."""
    data_rows = store.cells_table().select(["fov_id", "cell_id"]).to_pylist()
    words = [say(row["cell_id"], "correct", (7,), fov_id=row["fov_id"]) for row in data_rows]
    fields = sorted({row["fov_id"] for row in data_rows})
    run = write_run(words, fields=fields)
    config = tiny_config.model_copy(update={"epochs": 6, "learning_rate": 5e-3})
    prepared = PreparedData(store, corrections=(run,))
    summary = train_on_store(prepared, tmp_path / "m", config, threads=1)
    assert summary.counts["cells_corrected"] == len(data_rows)
    history = (tmp_path / "m" / "metrics.csv").read_text().splitlines()
    first, last = (float(row.split(",")[3]) for row in (history[1], history[-1]))
    assert last < 0.6 * first  # nothing contradicts the words, the images' labels neither
    again = train_on_store(prepared, tmp_path / "m", config, threads=1)
    assert again.already_done
    assert again.counts == summary.counts
    with pytest.raises(OutputError, match="other data"):
        train_on_store(PreparedData(store), tmp_path / "m", config, threads=1)
    assert load_model(tmp_path / "m").spec.training.config["corrected_weight"] == 1


def entropy(logits, targets):
    """Cross-entropy by its own formula, in float64."""
    x, t = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    return (np.logaddexp(0, x) - t * x).mean()


def judge(logits, labels, corrected=None, *, asked=None, **settings):
    """The loss of bags of two cells each."""
    targets = np.stack([target_vector(classes) for classes in labels])
    nothing = torch.zeros((2 * len(labels), 0))
    step = StepInput(
        nothing,
        nothing,
        torch.ones((len(labels), 2), dtype=torch.bool),
        torch.from_numpy(targets),
        None,
        None if corrected is None else torch.from_numpy(corrected),
    )
    config = TrainConfig.model_validate(
        {
            "pooling": "max",
            "image_loss_weight": 1,
            "cell_loss_weight": 0.5,
            "label_count_power": 0,
            "negative_target": "image",
        }
        | settings
    )
    answers = Answers(logits, torch.zeros((len(logits), 2)), teacher=asked)
    return step_loss(answers, step, config, progress=1.0)


def said_of(n, words):
    corrected = np.full((n, N_LOCATIONS), -1, np.float32)
    for cell, classes in words.items():
        corrected[cell] = target_vector(classes)
    return corrected


def test_a_corrected_cell_has_its_own_targets_and_weight():
    logits = torch.randn((4, N_LOCATIONS), generator=torch.Generator().manual_seed(0))
    labels, words = [(0,), (7,)], {1: (0, 3)}
    loss = judge(logits, labels, said_of(4, words), image_loss_weight=0, corrected_weight=2)
    x = logits.numpy()
    others = entropy(x[[0, 2, 3]], [target_vector(c) for c in [(0,), (7,), (7,)]])
    own = entropy(x[1], target_vector((0, 3)))
    assert float(loss.total) == pytest.approx(0.5 * 0.75 * others + 2 * 0.25 * own, rel=1e-5)
    nothing = judge(logits, labels, said_of(4, {}), image_loss_weight=0)
    plain = judge(logits, labels, image_loss_weight=0)
    assert float(nothing.total) == pytest.approx(float(plain.total))


def test_the_teacher_and_softening_leave_corrected_cells_alone():
    logits = torch.zeros((2, N_LOCATIONS))
    logits[0, 0] = -9  # of the largest loss, were it asked for the label
    said = said_of(2, {0: (3,), 1: (3,)})
    kinds = {"image_loss_weight": 0, "teacher": {"weight": 0.9}, "soften": {"share": 1.0}}
    teacher = torch.full((2, N_LOCATIONS), 5.0)
    loss = judge(logits, [(0,)], said, asked=teacher, **kinds)
    expected = entropy(logits.numpy(), [target_vector((3,))] * 2)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)


def test_an_image_is_asked_for_what_its_corrected_cells_show():
    logits = torch.zeros((4, N_LOCATIONS))
    logits[:, 7], logits[:, NEGATIVE] = 4.0, -3.0
    kinds = {"cell_loss_weight": 0, "corrected_weight": 0}
    whole = {0: (7,), 1: (NEGATIVE,), 2: (7,), 3: (7,)}
    loss = judge(logits, [(0,), (0,)], said_of(4, whole), **kinds)
    shown = [target_vector((7, NEGATIVE)), target_vector((7,))]
    assert float(loss.image) == pytest.approx(entropy(logits[:2], shown), rel=1e-5)
    loss = judge(logits, [(0,), (0,)], said_of(4, {0: (7,), 2: (NEGATIVE,)}), **kinds)
    shown = [target_vector((0, 7)), target_vector((0,))]  # the label, and what was seen besides
    assert float(loss.image) == pytest.approx(entropy(logits[:2], shown), rel=1e-5)


def test_mixed_and_made_cells_know_what_was_said():
    def cells():
        crops = np.random.default_rng(1).integers(0, 200, (4, 4, 16, 16)).astype(np.uint8)
        return BagCells(
            crops,
            np.ones((4, 16, 16), np.uint8),
            np.array([0, 0, 1, 1]),
            np.stack([target_vector((0,)), target_vector((7,))]),
            None,
            said_of(4, {0: (0,), 2: (7,), 3: (3,)}),
        )

    mixed = cells()
    mix_bags(mixed, MixConfig(mixup=1.0), np.random.default_rng(0))
    united = [target_vector((0, 7)).tolist(), target_vector((0, 3)).tolist()]
    assert mixed.corrected[0].tolist() in united
    assert (mixed.corrected[1] == -1).all()  # nothing was said of one of the two
    made = cells()
    synthesise_bags(made, SynthesisConfig(microtubules=1.0), np.random.default_rng(0))
    assert (made.corrected == target_vector((10,))).all()
