import numpy as np
import pytest

from hpacells.core.errors import ConfigError, InputError
from hpacells.evaluate.bootstrap import bootstrap_ap, bootstrap_map
from hpacells.evaluate.matching import Matches
from hpacells.evaluate.score_table import Score, ScoreTable
from hpacells.evaluate.strict import score_matches


def make_matches(rng, n_images=30, share=0.6):
    n_truths = np.zeros((n_images, 19), np.int64)
    n_truths[:, :3] = rng.integers(1, 4, (n_images, 3))
    image, class_id = (part.ravel() for part in np.indices((n_images, 3)))
    is_true = rng.random(image.size) < share
    return Matches(
        images=tuple(f"i{k}" for k in range(n_images)),
        image=image,
        class_id=class_id,
        confidence=rng.random(image.size),
        is_true=is_true,
        n_truths=n_truths,
    )


def test_the_interval_holds_the_score_and_is_reproducible():
    matches = make_matches(np.random.default_rng(0))
    low, high = bootstrap_map(matches, np.random.default_rng(1), n_replicates=300)
    assert low < score_matches(matches).find("map").value < high
    again = bootstrap_map(matches, np.random.default_rng(1), n_replicates=300)
    assert (low, high) == again


def test_more_fields_make_it_narrower_and_equal_fields_a_point():
    widths = []
    for n_images in (10, 160):
        matches = make_matches(np.random.default_rng(2), n_images)
        low, high = bootstrap_map(matches, np.random.default_rng(3), n_replicates=200)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    perfect = make_matches(np.random.default_rng(4), share=1.1)
    perfect.n_truths[:, :3] = 1
    low, high = bootstrap_map(perfect, np.random.default_rng(5), n_replicates=50)
    assert (low, high) == (pytest.approx(1.0), pytest.approx(1.0))


def test_no_truth_has_no_interval_and_odd_requests_are_refused():
    matches = make_matches(np.random.default_rng(6))
    matches.n_truths[:] = 0
    assert bootstrap_map(matches, np.random.default_rng(0)) is None
    for wrong, told in (({"n_replicates": 0}, "one replicate"), ({"level": 1.0}, "a level in")):
        with pytest.raises(ConfigError, match=told):
            bootstrap_map(matches, np.random.default_rng(0), **wrong)


def test_fields_that_share_a_sample_are_drawn_together_and_widen_the_interval():
    matches = make_matches(np.random.default_rng(7), 40)
    twins = np.random.default_rng(0).random(40) < 0.5
    whole = np.repeat(twins[:10], 4)  # four fields of a sample are all right or all wrong
    matches.is_true[:] = whole[matches.image]
    by_field = bootstrap_map(matches, np.random.default_rng(1), n_replicates=300)
    sample_of = {f"i{k}": f"sample{k // 4}" for k in range(40)}
    by_sample = bootstrap_map(
        matches, np.random.default_rng(1), n_replicates=300, group_of=sample_of
    )
    assert by_sample[1] - by_sample[0] > 1.5 * (by_field[1] - by_field[0])


def test_groups_of_one_are_the_fields_themselves_and_absent_classes_stay_undefined():
    matches = make_matches(np.random.default_rng(8))
    own = {f"i{k}": f"i{k}" for k in range(30)}
    plain = bootstrap_ap(matches, np.random.default_rng(2), n_replicates=20)
    np.testing.assert_array_equal(
        plain, bootstrap_ap(matches, np.random.default_rng(2), n_replicates=20, group_of=own)
    )
    assert np.isnan(plain[:, 3:]).all()
    assert not np.isnan(plain[:, :3]).any()


def test_a_score_table_refuses_nan_and_repeats():
    with pytest.raises(InputError, match="finite"):
        Score("ap", None, float("nan"), 0, 0)
    row = Score("ap", "cytosol", None, 0, 0)
    with pytest.raises(InputError, match="twice"):
        ScoreTable((row, row))
    with pytest.raises(InputError, match="no map of None"):
        ScoreTable((row,)).find("map")
