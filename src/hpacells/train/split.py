"""Which fields are held out: decided once, by group, written to a file that everyone reads.

No library stratifies several labels over groups, so groups are stratified by the classes that any
of their fields has, and then expanded to fields.
"""

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

from hpacells.core.provenance import sha256_bytes
from hpacells.core.storage import atomic_path
from hpacells.train.data import TrainingData

__all__ = ["split_fields", "write_split"]


def split_fields(data: TrainingData, val_fraction: float, *, seed: int) -> npt.NDArray[np.bool_]:
    """Choose the validation fields.

    Parameters
    ----------
    data
        Its groups are never split.
    val_fraction
        Share of the groups, 0 to below 1; 0 holds nothing out. The library stratifies each
        location by itself, so it gives a few groups more, or too few where most locations are
        rare; then others are added whose locations the rest still has.
    seed
        Of the choice.

    Returns
    -------
    ndarray
        ``(F,)`` bool, true where held out. With fewer than four groups nothing is held out.
    """
    names, member = np.unique(np.array(data.groups, np.str_), return_inverse=True)
    held_out = np.zeros(data.n_fields, np.bool_)
    n_val = round(len(names) * val_fraction)
    if n_val == 0 or len(names) < 4:
        return held_out
    targets = np.zeros((len(names), data.targets.shape[1]), np.int64)
    np.maximum.at(targets, member, data.targets.astype(np.int64))
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=n_val, random_state=seed)
    _, chosen = next(splitter.split(np.zeros((len(names), 1)), targets))
    chosen = _top_up(chosen, targets, n_val, np.random.default_rng(seed))
    held_out[np.isin(member, chosen)] = True
    return held_out


def _top_up(
    chosen: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    n_wanted: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Add groups at random up to ``n_wanted``, none that alone has a location."""
    kept = np.delete(np.arange(len(targets)), chosen)
    carriers = targets[kept].sum(axis=0)
    added: list[int] = []
    for group in rng.permutation(kept):
        if len(chosen) + len(added) >= n_wanted:
            break
        if (carriers[targets[group] > 0] > 1).all():
            carriers -= targets[group]
            added.append(int(group))
    return np.concatenate([chosen, np.array(added, np.int64)])


def write_split(path: Path, data: TrainingData, held_out: npt.NDArray[np.bool_]) -> str:
    """Write ``fov_id, group, split`` per field and return the file's sha256."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["fov_id", data.group_kind if data.group_kind != "fov_id" else "group", "split"]
    )
    for fov_id, group, out in zip(data.fov_ids, data.groups, held_out, strict=True):
        writer.writerow([fov_id, group, "val" if out else "train"])
    content = text.getvalue().encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return sha256_bytes(content)
