"""A whole segmentation training: dataset folder with truth to segmenter folder, resumable.

::

    OUT/request.json       the recipe and the data's hash; another one is refused
    OUT/cache/             fields at the network's resolution (``data``)
    OUT/checkpoint.pt      while training; removed at the end
    OUT/history.json       a row per validation
    OUT/segmenter.*        the segmenter folder, segmenter.json last
"""

import json
import os
from pathlib import Path

import torch

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import output_lock, write_json
from hpacells.model.unet_export import export_unet
from hpacells.runtime.segmenter_folder import SEGMENTER_SPEC, SegmenterSpec, load_segmenter
from hpacells.segment.stain_input import NORMALISATION
from hpacells.train.segmentation.config import SegmentTrainConfig
from hpacells.train.segmentation.data import FieldCache, build_cache
from hpacells.train.segmentation.loop import Row, train_unet

__all__ = ["prepare_fields", "train_segmenter"]


def prepare_fields(
    data: Path,
    out: Path,
    config: SegmentTrainConfig,
    *,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> FieldCache:
    """Bring the fields of a dataset folder to the network's resolution, under ``out/cache``.

    Raises
    ------
    InputError, ImageError
        As ``build_cache`` says.
    OutputError
        When another process works in ``out``.
    """
    with output_lock(out):
        return build_cache(
            data, out / "cache", config.pixel_size_um, workers=workers, progress=progress
        )


def train_segmenter(
    cache: FieldCache,
    out: Path,
    config: SegmentTrainConfig,
    *,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> SegmenterSpec:
    """Train on cached fields and write the segmenter folder.

    Parameters
    ----------
    cache
        From ``prepare_fields``.
    out
        New, or that of the same training: it is continued, or found finished.
    config
        The recipe.
    threads
        Of torch; None takes one per core. Not a setting: another number continues too.
    progress
        Told after each step.

    Returns
    -------
    SegmenterSpec
        Of the segmenter folder ``out``.

    Raises
    ------
    InputError
        When there are fewer than two fields.
    ConfigError
        When ``threads`` is below 1, or the loss is not finite.
    OutputError
        When ``out`` holds another training, or another process works there.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads: expected 1 or more, got {threads}")
    if len(cache.fov_ids) < 2:
        raise InputError(f"training: expected two fields or more, got {len(cache.fov_ids)}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        with output_lock(out):
            _claim(out, config, cache)
            if (out / SEGMENTER_SPEC).is_file():
                return load_segmenter(out).spec
            network, history = train_unet(
                cache,
                config,
                checkpoint_path=out / "checkpoint.pt",
                on_validation=lambda rows: write_json(out / "history.json", rows),
                progress=progress,
            )
            spec = export_unet(network, _spec(config, cache, history), out)
            (out / "checkpoint.pt").unlink(missing_ok=True)
            return spec
    finally:
        torch.set_num_threads(before)


def _claim(out: Path, config: SegmentTrainConfig, cache: FieldCache) -> None:
    """Write down what is trained here, or refuse a folder where something else was."""
    path = out / "request.json"
    request = {"config": config.model_dump(mode="json"), "data_hash": cache.data_hash}
    if not path.is_file():
        write_json(path, request)
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if earlier != request:
        changed = [k for k, v in request["config"].items() if earlier["config"].get(k) != v]  # type: ignore[attr-defined]
        what = f"other settings ({', '.join(sorted(changed))})" if changed else "other data"
        raise OutputError(f"{out}: holds a training with {what}. Choose another output folder.")


def _spec(config: SegmentTrainConfig, cache: FieldCache, history: list[Row]) -> SegmenterSpec:
    return SegmenterSpec(
        name=config.name,
        version=config.version,
        description=config.description,
        pixel_size_um=config.pixel_size_um,
        normalisation=NORMALISATION,
        training={
            "data_hash": cache.data_hash,
            "n_fields": len(cache.fov_ids),
            "simulation": dict(cache.simulation) or None,
            "config": config.model_dump(mode="json"),
            "last": history[-1] if history else None,
        },
        licence=config.licence,
    )
