"""What a training learns from: the cells' pixels, and one target per field."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hpacells.core.cell_table import FieldStatus
from hpacells.core.errors import InputError
from hpacells.core.locations import LOCATIONS, N_LOCATIONS, parse_class_ids, target_vector
from hpacells.core.provenance import hash_settings
from hpacells.crops.field_crops import kept_rows
from hpacells.crops.store import CropStore
from hpacells.train.cell_pixels import read_cell_pixels

__all__ = [
    "MIXED",
    "TrainingData",
    "cell_ids",
    "cell_rows",
    "load_training_data",
    "shuffle_targets",
]

MIXED = "mixed"
"""``TrainingData.group_kind`` where some fields have antibody or gene, others neither."""

_NAMING = ("antibody", "gene", "fov_id")
"""What a field is grouped by; the first that a group has names it."""


@dataclass(frozen=True)
class TrainingData:
    """Labelled fields that have cells.

    Parameters
    ----------
    crops
        ``(N, C, S, S)`` uint8; or ``(N, F)`` float32 features, see ``train.features``.
    cell_masks
        ``(N, S, S)`` uint8, 0 or 1; nothing beside features.
    offsets
        ``(F + 1,)`` int64: the cells of field i are ``offsets[i]`` to ``offsets[i + 1]``.
    targets
        ``(F, K)`` float32, 0 or 1: the image labels.
    fov_ids
        ``(F,)`` ids, sorted.
    groups
        ``(F,)`` what must not be split: fields that share an antibody or a gene, also by way of
        a third field, are one group, named by its first antibody (gene, field).
    group_kind
        ``antibody`` or ``gene``; ``fov_id`` where no field has either, ``near_duplicates`` once
        ``train.duplicates`` has grouped those; ``mixed`` where some fields have neither, before
        and after that.
    data_hash
        sha256 over the fields, what their crops were made from, their labels and genes.
    n_unlabelled, n_without_cells, n_failed
        Fields of the store that cannot be used.
    cell_targets
        ``(N, K)`` float32 in [0, 1], soft targets of single cells where some were made
        (``train.rounds``); a row of -1 is unknown. None: a cell has its image's label only.
    corrected
        ``(N, K)`` float32 in [0, 1], what people say of single cells (``train.corrections``),
        which goes before all else; a row of -1 where they say nothing. None: nowhere.
    left_out
        ``(N,)`` bool: cells that are not to be learned from. None: there are none.
    correction_counts
        What became of people's words, for ``training.json``; empty without any.
    """

    crops: npt.NDArray[np.uint8]
    cell_masks: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    targets: npt.NDArray[np.float32]
    fov_ids: tuple[str, ...]
    groups: tuple[str, ...]
    group_kind: str
    data_hash: str
    n_unlabelled: int = 0
    n_without_cells: int = 0
    n_failed: int = 0
    cell_targets: npt.NDArray[np.float32] | None = None
    corrected: npt.NDArray[np.float32] | None = None
    left_out: npt.NDArray[np.bool_] | None = None
    correction_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def field_of_cell(self) -> npt.NDArray[np.int64]:
        """Position of each cell's field, ``(N,)`` ascending."""
        return np.repeat(np.arange(self.n_fields), np.diff(self.offsets))

    @property
    def n_fields(self) -> int:
        """Fields that can be used."""
        return len(self.fov_ids)

    @property
    def can_teach(self) -> npt.NDArray[np.bool_]:
        """Fields that have a cell to learn from, ``(F,)``."""
        sizes = np.diff(self.offsets)
        if self.left_out is not None:
            sizes = sizes - np.bincount(self.field_of_cell[self.left_out], minlength=self.n_fields)
        return np.asarray(sizes > 0)

    def absent_locations(self) -> list[str]:
        """Name the locations that no field has."""
        return [loc.title for loc in LOCATIONS if not self.targets[:, loc.class_id].any()]


def load_training_data(store: CropStore, mapped: Path | None = None) -> TrainingData:
    """Load a store's labelled fields.

    Parameters
    ----------
    store
        Its ``fields.parquet`` carries the image labels.
    mapped
        Folder for the pixels where they are too many for memory (``train.cell_pixels``); None: one
        in the store.

    Returns
    -------
    TrainingData
        Fields without label or without a cell are left out and counted.

    Raises
    ------
    InputError
        When no field is left.
    """
    table = store.fields_table()
    fields = table.filter(pc.equal(table["status"], FieldStatus.DONE.value))
    rows = fields.to_pylist()
    sizes = fields["n_crops"].to_numpy().astype(np.int64)
    labelled = np.array([bool(row["image_labels"]) for row in rows], np.bool_)
    used = np.flatnonzero(labelled & (sizes > 0))
    if len(used) == 0:
        raise InputError(
            f"{store.path}: expected fields with image labels and cells, got {len(rows)} fields, "
            f"{int(labelled.sum())} with labels, {int((sizes > 0).sum())} with cells. Training "
            "needs a train.csv beside train/ that names them."
        )
    kept = [rows[i] for i in used]
    data_hash = _hash_rows(fields, store)
    crops, cell_masks = read_cell_pixels(
        store,
        {row["fov_id"] for row in kept},
        int(sizes[used].sum()),
        (mapped or store.path / "mapped") / data_hash[:12],
    )
    groups, kind = _group_fields(kept)
    return TrainingData(
        crops=crops,
        cell_masks=cell_masks,
        offsets=np.concatenate([[0], np.cumsum(sizes[used])]).astype(np.int64),
        targets=np.stack([target_vector(parse_class_ids(row["image_labels"])) for row in kept]),
        fov_ids=tuple(row["fov_id"] for row in kept),
        groups=groups,
        group_kind=kind,
        data_hash=data_hash,
        n_unlabelled=int((~labelled).sum()),
        n_without_cells=int((labelled & (sizes == 0)).sum()),
        n_failed=store.counts["failed"],
    )


def cell_rows(store: CropStore, data: TrainingData) -> pa.Table:
    """Give the row of the cells table of every cell of the data, in its order."""
    table = kept_rows(store.cells_table())
    return table.filter(pc.is_in(table["fov_id"], pc.cast(list(data.fov_ids), "string")))


def cell_ids(store: CropStore, data: TrainingData) -> npt.NDArray[np.int64]:
    """Give the mask id ``(N,)`` of every cell of the data, in its order."""
    return np.asarray(cell_rows(store, data)["cell_id"].to_numpy(), np.int64)


def shuffle_targets(data: TrainingData, rng: np.random.Generator) -> TrainingData:
    """Permute the targets among the fields (a control experiment)."""
    return replace(data, targets=data.targets[rng.permutation(data.n_fields)])


def _group_fields(rows: list[dict[str, str | None]]) -> tuple[tuple[str, ...], str]:
    """Join fields that share an antibody or a gene; give each one's group, and what names them."""
    names: dict[tuple[str, str], int] = {}
    pairs = [
        (i, names.setdefault((kind, value), len(rows) + len(names)))
        for i, row in enumerate(rows)
        for kind in _NAMING
        if (value := row[kind])
    ]
    n = len(rows) + len(names)
    links = coo_array((np.ones(len(pairs)), tuple(zip(*pairs, strict=True))), shape=(n, n))
    owner = connected_components(links, directed=False)[1]
    ranked = sorted((_NAMING.index(kind), value, owner[at]) for (kind, value), at in names.items())
    name_of: dict[int, str] = {}
    for _, value, group in ranked:
        name_of.setdefault(group, value)
    kind = _NAMING[ranked[0][0]]
    nameless = sum(not (row["antibody"] or row["gene"]) for row in rows)
    if 0 < nameless < len(rows):
        kind = MIXED
    return tuple(name_of[owner[i]] for i in range(len(rows))), kind


def _hash_rows(fields: pa.Table, store: CropStore) -> str:
    columns = ["fov_id", "digest", "image_labels", "n_crops", "antibody", "gene"]
    spec = [store.spec.crop_px, store.spec.pixel_size_um, store.source, N_LOCATIONS]
    return hash_settings({"fields": fields.select(columns).to_pylist(), "store": spec})
