import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hpacells.core.errors import TableError
from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.submission import SubmissionRow, encode_mask, write_submission
from hpacells.evaluate.strict import score_submission

SHAPE = (8, 30)


def load_brute_force():
    path = Path(__file__).parent / "brute_force.py"
    spec = importlib.util.spec_from_file_location("brute_force", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


brute = load_brute_force()


def bar(first, last, shape=SHAPE):
    """One row of pixels, columns first … last - 1."""
    mask = np.zeros(shape, bool)
    mask[3, first:last] = True
    return encode_mask(mask)


EMPTY = bar(0, 0)


def score(tmp_path, truth, found):
    """Score {image: [(class, confidence, text)]} against the same; None leaves an image out."""
    for name, images in (("truth", truth), ("found", found)):
        rows = [
            SubmissionRow(i, SHAPE[1], SHAPE[0], " ".join(f"{c} {s!r} {m}" for c, s, m in triples))
            for i, triples in images.items()
        ]
        write_submission(tmp_path / f"{name}.csv", rows)
    return score_submission(tmp_path / "truth.csv", tmp_path / "found.csv")


def ap(tmp_path, truth, found, class_id=0):
    return score(tmp_path, truth, found).find("ap", LOCATION_KEYS[class_id]).value


@pytest.mark.parametrize("seed", range(1000, 1060))
def test_random_scenes_score_as_by_brute_force(tmp_path, seed):
    truth, submission = brute.write_scene(np.random.default_rng(seed), tmp_path)
    scores = score_submission(truth, submission)
    expected, mean = brute.brute_score(truth, submission)
    for key, value in zip(LOCATION_KEYS, expected, strict=True):
        assert scores.find("ap", key).value == pytest.approx(value, abs=1e-9)
    assert scores.find("map").value == pytest.approx(mean, abs=1e-9)


def test_iou_of_exactly_six_tenths_is_a_hit_and_a_pixel_less_is_not(tmp_path):
    assert ap(tmp_path, {"a": [(0, 1.0, bar(0, 10))]}, {"a": [(0, 0.5, bar(0, 6))]}) == 1.0
    assert ap(tmp_path, {"a": [(0, 1.0, bar(0, 10))]}, {"a": [(0, 0.5, bar(4, 10))]}) == 1.0
    assert ap(tmp_path, {"a": [(0, 1.0, bar(0, 11))]}, {"a": [(0, 0.5, bar(0, 6))]}) == 0.0


def test_a_detection_looks_at_its_best_truth_only(tmp_path):
    truth = {"a": [(0, 1.0, bar(0, 20)), (0, 1.0, bar(2, 22))]}
    # Both detections lie best on the first truth; the second also reaches 0.6 with the other.
    found = {"a": [(0, 0.9, bar(0, 20)), (0, 0.8, bar(0, 21))]}
    assert ap(tmp_path, truth, found) == 0.5


def test_a_tie_of_iou_goes_to_the_first_truth_even_if_it_is_claimed(tmp_path):
    truth = {"a": [(0, 1.0, bar(0, 20)), (0, 1.0, bar(2, 22))]}
    found = {"a": [(0, 0.9, bar(0, 20)), (0, 0.8, bar(1, 21))]}
    assert ap(tmp_path, truth, found) == 0.5
    truth["a"].reverse()
    assert ap(tmp_path, truth, found) == 1.0


def test_false_positives_come_first_among_equal_confidences(tmp_path):
    truth = {"a": [(0, 1.0, bar(0, 10))]}
    hit, miss = (0, 0.5, bar(0, 10)), (0, 0.5, bar(20, 25))
    assert ap(tmp_path, truth, {"a": [hit, miss]}) == ap(tmp_path, truth, {"a": [miss, hit]}) == 0.5
    # Two equals at one truth: one claims it, the other is false and comes first.
    assert ap(tmp_path, truth, {"a": [hit, hit]}) == 0.5


def test_other_classes_and_other_images_do_not_mix(tmp_path):
    truth = {"a": [(0, 1.0, bar(0, 10))], "b": [(1, 1.0, bar(0, 10))]}
    found = {"b": [(0, 0.9, bar(0, 10))], "a": [(0, 0.8, bar(0, 10))]}
    assert ap(tmp_path, truth, found) == 0.5
    assert ap(tmp_path, truth, found, class_id=1) == 0.0


def test_images_in_one_file_count_as_empty_in_the_other(tmp_path):
    mask = bar(0, 10)
    scores = score(
        tmp_path,
        {"a": [(0, 1.0, mask)], "b": [(0, 1.0, mask)]},
        {"a": [(0, 0.5, mask)], "c": [(0, 0.9, mask)]},
    )
    row = scores.find("ap", LOCATION_KEYS[0])
    assert (row.n_truths, row.n_found) == (2, 2)
    assert row.value == 0.25


def test_empty_masks_are_dropped_on_both_sides(tmp_path):
    truth = {"a": [(0, 1.0, EMPTY), (0, 1.0, bar(0, 10)), (1, 1.0, EMPTY)]}
    found = {"a": [(0, 0.9, EMPTY), (0, 0.5, bar(0, 10)), (1, 0.5, EMPTY)]}
    scores = score(tmp_path, truth, found)
    assert scores.find("ap", LOCATION_KEYS[0]).value == 1.0
    assert scores.find("ap", LOCATION_KEYS[1]).value is None
    assert scores.find("ap", LOCATION_KEYS[1]).n_truths == 0


def test_undefined_is_none_and_left_out_of_the_mean(tmp_path):
    mask = bar(0, 10)
    scores = score(tmp_path, {"a": [(0, 1.0, mask), (1, 1.0, mask)]}, {"a": [(0, 0.5, mask)]})
    assert [scores.find("ap", key).value for key in LOCATION_KEYS[:3]] == [1.0, 0.0, None]
    assert scores.find("map").value == 0.5
    assert score(tmp_path, {"a": []}, {"a": [(0, 0.5, mask)]}).find("map").value is None
    assert score(tmp_path, {}, {}).find("map").value is None


def test_order_of_rows_triples_and_any_increasing_map_of_confidence_change_nothing(tmp_path):
    rng = np.random.default_rng(3)
    truth, submission = brute.write_scene(rng, tmp_path)
    expected = score_submission(truth, submission).find("map").value
    header, *lines = submission.read_text().splitlines()
    changed = []
    for line in reversed(lines):
        *start, text = line.split(",")
        words = text.split()
        triples = [words[i : i + 3] for i in range(0, len(words), 3)]
        triples = [f"{c} {np.arctan(float(s)) * 1e-3!r} {m}" for c, s, m in reversed(triples)]
        changed.append(",".join([*start, " ".join(triples).replace("np.float64(", "")]))
    submission.write_text("\n".join([header, *(x.replace(")", "") for x in changed)]) + "\n")
    assert score_submission(truth, submission).find("map").value == pytest.approx(expected)


def test_sizes_that_differ_are_an_error_unless_a_failed_image_has_none(tmp_path):
    write_submission(tmp_path / "t.csv", [SubmissionRow("a", 30, 8, f"0 1 {bar(0, 9)}")])
    write_submission(tmp_path / "s.csv", [SubmissionRow("a", 8, 30, "")])
    with pytest.raises(TableError, match=r"s\.csv, ID a: expected the size 30 x 8 .* got 8 x 30"):
        score_submission(tmp_path / "t.csv", tmp_path / "s.csv")
    write_submission(tmp_path / "s.csv", [SubmissionRow("a", 0, 0, "")])
    assert score_submission(tmp_path / "t.csv", tmp_path / "s.csv").find("map").value == 0.0


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        (f"0 0.5 {bar(0, 5)} 1 0.4 ***", "triple 2: expected a mask in base64"),
        (f"0 0.5 {bar(0, 5)} 19 0.4 {bar(0, 5)}", "triple 2: expected a class id"),
        (f"0 0.5 {bar(0, 5)} 1 0.4 {bar(0, 5, (9, 9))}", "triple 2: expected runs that cover"),
    ],
)
def test_a_malformed_triple_is_named_by_file_image_and_place(tmp_path, triples, message):
    write_submission(tmp_path / "t.csv", [SubmissionRow("a", 30, 8, "")])
    write_submission(tmp_path / "s.csv", [SubmissionRow("a", 30, 8, triples)])
    with pytest.raises(TableError, match=rf"s\.csv, ID a, {message}"):
        score_submission(tmp_path / "t.csv", tmp_path / "s.csv")
    with pytest.raises(TableError, match=rf"s\.csv, ID a, {message}"):
        score_submission(tmp_path / "s.csv", tmp_path / "t.csv")
