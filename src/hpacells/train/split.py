"""Which fields are held out, and which fold the others are in: decided once, written to a file.

No library stratifies several labels over groups, so groups are stratified by the classes that any
of their fields has, and then expanded to fields. A location that one group alone has stays in the
training: nothing is held out that the training could not know. In folds that cannot be had: a
location with fewer groups than two is absent from the training of its own fold, and
``folds_without`` names it.
"""

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit

from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.provenance import sha256_bytes
from hpacells.core.storage import atomic_path
from hpacells.train.data import MIXED, TrainingData

__all__ = ["folds_without", "split_fields", "split_folds", "write_split"]

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


def split_fields(data: TrainingData, val_fraction: float, *, seed: int) -> Bools:
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
        ``(F,)`` bool, true where held out. With fewer than four groups nothing is held out. Every
        location that some field has is left to some field that is not held out.
    """
    member, targets = _group_targets(data)
    held_out = np.zeros(data.n_fields, np.bool_)
    n_val = round(len(targets) * val_fraction)
    if n_val == 0 or len(targets) < 4:
        return held_out
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=n_val, random_state=seed)
    _, chosen = next(splitter.split(np.zeros((len(targets), 1)), targets))
    chosen = _give_back(chosen, targets)
    chosen = _top_up(chosen, targets, n_val, np.random.default_rng(seed))
    held_out[np.isin(member, chosen)] = True
    return held_out


def split_folds(data: TrainingData, held_out: Bools, n_folds: int, *, seed: int) -> Indices:
    """Divide the fields that are not held out into folds.

    Parameters
    ----------
    data
        Its groups are never split.
    held_out
        ``(F,)`` bool, whole groups: they are in no fold.
    n_folds
        1 or more.
    seed
        Of the division.

    Returns
    -------
    ndarray
        ``(F,)`` int64: 0 … ``n_folds`` - 1, -1 where held out.

    Raises
    ------
    ConfigError
        When there are fewer groups than folds, so that a fold would be empty.
    """
    member, targets = _group_targets(data)
    used = np.setdiff1d(np.arange(len(targets)), member[held_out])
    if len(used) < n_folds:
        raise ConfigError(
            f"rounds.folds: expected at most {len(used)}, the number of groups ({data.group_kind}) "
            f"to train on, got {n_folds}. Lower it, add fields, or set rounds.n to 0."
        )
    of_group = np.full(len(targets), -1, np.int64)
    if n_folds == 1:
        of_group[used] = 0
        return of_group[member]
    folds = MultilabelStratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for i, (_, part) in enumerate(folds.split(np.zeros((len(used), 1)), targets[used])):
        of_group[used[part]] = i
    _fill_empty(of_group, used, n_folds)
    return of_group[member]


def folds_without(data: TrainingData, fold: Indices) -> Bools:
    """Say which locations the training of a fold cannot know.

    Parameters
    ----------
    data, fold
        As ``split_folds`` gave it.

    Returns
    -------
    ndarray
        ``(folds, K)`` bool: every training field with the location is in this fold, which is left
        out, or there is none. A single fold is not left out.
    """
    n = int(fold.max()) + 1
    others = [data.targets[(fold >= 0) & ((fold != i) | (n == 1))] for i in range(n)]
    return np.stack([~targets.any(axis=0) for targets in others])


def write_split(
    path: Path, data: TrainingData, held_out: Bools, fold: Indices | None = None
) -> str:
    """Write ``fov_id, group, split`` and, with folds, ``fold``; return the file's sha256.

    Raises
    ------
    OutputError
        When the file is there and says something else: what was trained by it would be judged on
        fields it has seen.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kind = data.group_kind if data.group_kind not in ("fov_id", MIXED) else "group"
    writer.writerow(["fov_id", kind, "split", *(() if fold is None else ("fold",))])
    for i, (fov_id, group) in enumerate(zip(data.fov_ids, data.groups, strict=True)):
        row = [fov_id, group, "val" if held_out[i] else "train"]
        if fold is not None:
            row.append("" if fold[i] < 0 else str(fold[i]))
        writer.writerow(row)
    content = text.getvalue().encode()
    if path.is_file() and path.read_bytes() != content:
        raise OutputError(
            f"{path}: expected the split that is decided now, got another one. The groups of the "
            "data or the library that divides them have changed since this training began. Choose "
            "another output folder."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return sha256_bytes(content)


def _group_targets(data: TrainingData) -> tuple[Indices, Indices]:
    """Give each field's group ``(F,)`` and each group's classes ``(G, K)``."""
    names, member = np.unique(np.array(data.groups, np.str_), return_inverse=True)
    targets = np.zeros((len(names), data.targets.shape[1]), np.int64)
    np.maximum.at(targets, member, data.targets.astype(np.int64))
    return member, targets


def _give_back(chosen: Indices, targets: Indices) -> Indices:
    """Take out of ``chosen``, in order, the groups that hold all of some location."""
    kept = np.delete(targets, chosen, axis=0).sum(axis=0)
    stay: list[int] = []
    for group in np.sort(chosen):
        if (kept[targets[group] > 0] == 0).any():
            kept += targets[group]
        else:
            stay.append(int(group))
    return np.array(stay, np.int64)


def _top_up(chosen: Indices, targets: Indices, n_wanted: int, rng: np.random.Generator) -> Indices:
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


def _fill_empty(of_group: Indices, used: Indices, n_folds: int) -> None:
    """Give a fold that stratification left empty the last group of the largest."""
    for i in range(n_folds):
        if not (of_group == i).any():
            largest = np.bincount(of_group[used], minlength=n_folds).argmax()
            of_group[np.flatnonzero(of_group == largest)[-1]] = i
