"""Published classifiers installed: fetched, converted once to a model folder, the rest forgotten.

The files as published are read without running anything in them (``model.pretrained``,
``model.bioimageio_package``), and removed once the model folder is whole; their hashes at first
sight stay. A folder that another machine converted is taken as it is.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ModelError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import hash_settings, sha256_file
from hpacells.model.bioimageio_package import convert_bioimageio
from hpacells.model.subcell_classifier import convert_subcell
from hpacells.runtime.cache import cache_lock
from hpacells.runtime.fetch import UrlOpener, open_url
from hpacells.runtime.model_folder import (
    Architecture,
    ModelFolder,
    ModelSpec,
    Postprocessing,
    Training,
    load_model,
)
from hpacells.runtime.published_models import PublishedModel
from hpacells.runtime.published_weights import install_weights
from hpacells.runtime.registry import is_installed

__all__ = ["install_classifier"]

_SUBCELL_CROP_PX, _SUBCELL_FEATURES = 448, 1536
_BOX_CROP_PX = 640
"""102 µm at 0.16 µm: room for the box of all but the longest cells."""


def install_classifier(
    model: PublishedModel,
    *,
    tell: Callable[[str], None],
    opener: UrlOpener = open_url,
    source: Path | None = None,
    progress: ProgressCallback = silent,
) -> ModelFolder:
    """Have a published classifier's model folder in the cache.

    Parameters
    ----------
    model
        Its entry in the list of models.
    tell, opener, source, progress
        As in ``runtime.published_weights.install_weights``.

    Returns
    -------
    ModelFolder
        Whole; where it was there before, nothing is fetched or made.

    Raises
    ------
    ModelError
        When a file cannot be fetched, is not the one expected or not what it should be.
    OutputError
        When the cache cannot be written, or the disk has no room.
    """
    with cache_lock(model.name, tell):
        if is_installed(model):
            return load_model(model.folder)
        making = model.folder.with_name(".making")
        shutil.rmtree(making, ignore_errors=True)  # of a killed process
        files = install_weights(
            model.weights, tell=tell, opener=opener, source=source, progress=progress
        )
        tell(f"{model.name}: converting, once; this takes a minute or two.")
        try:
            _convert(model, files, making, tell)
            making.rename(model.folder)
        except ModelError as error:
            raise ModelError(
                f"{error} The files as published are kept; to fetch them anew: hpacells models "
                f"remove {model.name}"
            ) from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
        for path in files.values():
            path.unlink()
        return load_model(model.folder)


def _convert(
    model: PublishedModel, files: Mapping[str, Path], folder: Path, tell: Callable[[str], None]
) -> None:
    hashes = {name: sha256_file(path) for name, path in sorted(files.items())}
    subcell = model.format == "subcell"
    crop_px = int(model.options.get("crop_px", _SUBCELL_CROP_PX if subcell else _BOX_CROP_PX))
    spec = ModelSpec(
        name=model.name,
        version="1",
        description=f"{model.title}. Good for: {model.good_for}.",
        architecture=Architecture(backbone=model.format),
        needs=tuple(stain for stain in CHANNELS if stain in model.stains),
        crop_px=crop_px,
        pixel_size_um=model.pixel_size_um,
        normalisation="",
        embedding_size=_SUBCELL_FEATURES,
        postprocessing=Postprocessing(),
        training=Training(
            data_hash=hash_settings(hashes), n_fields=0, seed=0, config={"files": hashes}
        ),
        licence=model.licence,
        citation=model.citation,
    )
    if subcell:
        depth = model.options.get("depth")
        convert_subcell(spec, model.stains, files, folder, depth=depth)
    else:
        convert_bioimageio(spec, files, folder, tell=tell)
