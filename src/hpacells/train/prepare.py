"""DATA as the user names it to a crop store: a store is opened, a dataset folder is segmented."""

from dataclasses import dataclass
from pathlib import Path

from hpacells.core.cell_table import CellTable
from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import hash_settings
from hpacells.core.storage import output_lock
from hpacells.crops.build import build_store
from hpacells.crops.store import REQUEST_FILE, STORE_FILE, CropStore
from hpacells.images.discover import discover_fields, find_train_csv
from hpacells.images.labels import match_labels, read_labels
from hpacells.images.mask_files import mask_path, write_label_image
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import DEFAULT_SEGMENTER, Segmenter, get_segmenter
from hpacells.train.config import TrainConfig
from hpacells.train.truth import TruthFiles, find_truth

__all__ = ["PreparedData", "SegmentedMasks", "check_model_folder", "prepare_data"]

_CROPS, _MASKS = "crops", "masks"


@dataclass(frozen=True)
class PreparedData:
    """A crop store to train on, and what of the dataset could not be used.

    Parameters
    ----------
    store
        With image labels.
    rows_without_field
        Ids that ``train.csv`` names and no image has, sorted.
    fields_without_row
        Ids of images that ``train.csv`` does not name, sorted.
    truth
        What single cells show, where the dataset knows it: to measure with, never to learn from.
    corrections
        Run folders in which people corrected cells: to learn from (``train.corrections``).
    """

    store: CropStore
    rows_without_field: tuple[str, ...] = ()
    fields_without_row: tuple[str, ...] = ()
    truth: TruthFiles | None = None
    corrections: tuple[Path, ...] = ()


@dataclass(frozen=True)
class SegmentedMasks:
    """Masks that a segmenter makes from the image alone (a ``crops.build.MaskSource``).

    Parameters
    ----------
    segmenter
        Outlines the cells.
    kept_in
        Folder that the outlines are written to, where they are needed again; None keeps none.
    """

    segmenter: Segmenter
    kept_in: Path | None = None

    @property
    def name(self) -> str:
        """Name of the segmenter and the hash of its settings."""
        return f"{self.segmenter.name}:{hash_settings(self.segmenter.settings)[:12]}"

    def digest(self, fov_id: str) -> str:
        """Nothing but the image is read."""
        del fov_id
        return ""

    def __call__(self, fov: FieldOfView) -> tuple[CellMasks, CellTable]:
        """Outline and measure."""
        masks = self.segmenter(fov)
        if self.kept_in is not None:
            write_label_image(mask_path(self.kept_in, fov.fov_id, "cells"), masks.cells)
        return masks, measure_cells(fov, masks)


def prepare_data(
    data: Path,
    out: Path,
    config: TrainConfig,
    *,
    segmenter: str = DEFAULT_SEGMENTER,
    workers: int = 1,
    pixel_size_um: float | None = None,
    progress: ProgressCallback = silent,
) -> PreparedData:
    """Open or make the crop store to train on.

    Parameters
    ----------
    data
        A crop store, or a dataset folder with ``train/`` and ``train.csv``.
    out
        The crops of a dataset go to ``out/crops``, resumably; where its truth is known, the
        outlines too, to be compared with it.
    config
        Its crops.
    segmenter
        For a dataset: a name of ``segment.registry``.
    workers
        Processes that segment and cut.
    pixel_size_um
        µm per pixel of the images where their files and table don't say.
    progress
        Told after each field.

    Returns
    -------
    PreparedData
        Fields that ``train.csv`` does not name are not segmented.

    Raises
    ------
    ConfigError
        When a store has crops of another side or scale than the recipe.
    OutputError
        As ``check_model_folder``.
    InputError
        When there is nothing labelled in ``data``.
    """
    check_model_folder(out)
    if (data / STORE_FILE).is_file() or (data / REQUEST_FILE).is_file():
        return PreparedData(_open_matching(data, config))
    table = find_train_csv(data)
    if table is None:
        raise InputError(
            f"{data}: expected a crop store or a dataset folder with train/ and train.csv, found "
            "no train.csv. Training needs the labels of whole images."
        )
    records = discover_fields(data, pixel_size_um=pixel_size_um)
    match = match_labels(records, read_labels(table))
    labelled = [record for record in records if record.image_locations is not None]
    if not labelled:
        raise InputError(
            f"{table}: names none of the {len(records)} fields in {data}. Its IDs must be the file "
            "names without '_<colour>'."
        )
    truth = find_truth(table.parent, out / _CROPS / _MASKS)
    with output_lock(out):
        store = build_store(
            labelled,
            out / _CROPS,
            config.crop_spec(),
            source=SegmentedMasks(get_segmenter(segmenter), truth.found_masks if truth else None),
            workers=workers,
            progress=progress,
        )
    return PreparedData(store, match.rows_without_field, match.fields_without_row, truth)


def check_model_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a training.

    Raises
    ------
    OutputError
        It has files and no ``request.json`` of a training, or is a file.
    """
    if not out.is_dir() or (out / REQUEST_FILE).is_file():
        return
    others = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
    if others not in ([], [_CROPS]):
        raise OutputError(
            f"{out}: expected a new folder or one that 'hpacells train' made, it holds "
            f"{', '.join(others[:3])}. Choose another output folder."
        )


def _open_matching(path: Path, config: TrainConfig) -> CropStore:
    store = CropStore.open(path)
    found, wanted = store.spec, config.crop_spec()
    if (found.crop_px, found.pixel_size_um) != (wanted.crop_px, wanted.pixel_size_um):
        raise ConfigError(
            f"{path}: expected crops of {wanted.crop_px} px at {wanted.pixel_size_um} µm (the "
            f"recipe), the store has {found.crop_px} px at {found.pixel_size_um} µm. Set crop_px "
            "and pixel_size_um in the --config file, or crop again."
        )
    return store
