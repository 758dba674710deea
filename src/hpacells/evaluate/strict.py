"""The competition's score: mean average precision of cell masks at IoU >= 0.6 (HPA.md §4)."""

from pathlib import Path

import numpy as np

from hpacells.core.locations import LOCATION_KEYS
from hpacells.evaluate.average_precision import average_precision
from hpacells.evaluate.matching import Matches, match_submission
from hpacells.evaluate.score_table import Score, ScoreTable

__all__ = ["score_matches", "score_submission"]


def score_submission(truth: Path, submission: Path) -> ScoreTable:
    """Score a submission against the truth.

    Parameters
    ----------
    truth, submission
        CSV files of the submission form; the truth's confidences are not looked at.

    Returns
    -------
    ScoreTable
        ``ap`` of each of the 19 locations (None without truth), and ``map``, the mean of those
        that are defined (None when none is).

    Raises
    ------
    TableError
        When a file is malformed or the two do not fit together.

    Notes
    -----
    Detections and truths with an empty mask are dropped. An image in one file only counts as empty
    in the other. Ties of confidence: false positives first.
    """
    return score_matches(match_submission(truth, submission))


def score_matches(matches: Matches) -> ScoreTable:
    """Score detections that have been matched already; see ``score_submission``."""
    rows = []
    for class_id, key in enumerate(LOCATION_KEYS):
        of_class = matches.class_id == class_id
        n_truths = int(matches.n_truths[:, class_id].sum())
        value = average_precision(matches.confidence[of_class], matches.is_true[of_class], n_truths)
        rows.append(Score("ap", key, value, n_truths, int(of_class.sum())))
    defined = [row.value for row in rows if row.value is not None]
    mean = float(np.mean(defined)) if defined else None
    n_truths, n_found = int(matches.n_truths.sum()), matches.class_id.size
    return ScoreTable((*rows, Score("map", None, mean, n_truths, n_found)))
