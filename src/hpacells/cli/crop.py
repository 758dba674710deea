"""``hpacells crop``: images and masks to a crop store."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pyarrow.compute as pc
import typer

from hpacells.cli.progress import show_progress
from hpacells.cli.quality import BORDER_HELP
from hpacells.cli.reading import BIT_DEPTH_HELP, CHANNELS_HELP, IMAGES_HELP
from hpacells.core.cell_table import CellTable, FieldStatus
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ImageError, InputError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.core.provenance import sha256_bytes, sha256_file
from hpacells.core.storage import output_lock
from hpacells.crops.build import build_store
from hpacells.crops.store import CropStore
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import find_mask, read_masks
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.segment.config import BorderPolicy, MeasureConfig
from hpacells.segment.measure import measure_cells

__all__ = ["MaskFiles", "app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_FAILED_FIELDS = 1


@dataclass(frozen=True)
class MaskFiles:
    """Masks read from a folder, their cells measured (a ``crops.build.MaskSource``)."""

    folder: Path
    border: BorderPolicy = "reject"

    @property
    def name(self) -> str:
        """Wherever the folder lies, a store says that masks came from files."""
        return "files" if self.border == "reject" else f"files, border: {self.border}"

    def digest(self, fov_id: str) -> str:
        """Hash the field's mask files."""
        files = [find_mask(self.folder, fov_id, part) for part in ("cells", "nuclei")]
        return sha256_bytes(" ".join(sha256_file(path) for path in files).encode())

    def __call__(self, fov: FieldOfView) -> tuple[CellMasks, CellTable]:
        """Read and measure."""
        masks = read_masks(self.folder, fov.fov_id, pixel_size_um=fov.pixel_size_um)
        if masks.cells.shape != (fov.height, fov.width):
            raise ImageError(
                f"field {fov.fov_id}: the image has {fov.height} rows and {fov.width} columns, its "
                f"masks {masks.cells.shape[0]} and {masks.cells.shape[1]}. Segment it again."
            )
        return masks, measure_cells(fov, masks, MeasureConfig(border=self.border))


@app.command()
def crop(
    images: Annotated[Path, typer.Argument(help=IMAGES_HELP)],
    masks: Annotated[
        Path, typer.Argument(help="Folder of <fov_id>_cells.png, or one with masks/ in it.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the crop store.")],
    model: Annotated[
        str, typer.Option(help="Crop as this model wants it: a name or a model folder.")
    ] = DEFAULT_MODEL,
    crop_px: Annotated[
        int | None, typer.Option(help="Side of a crop in pixels, instead of the model's.")
    ] = None,
    crop_pixel_size_um: Annotated[
        float | None, typer.Option(help="µm per crop pixel, instead of the model's.")
    ] = None,
    border: Annotated[BorderPolicy, typer.Option(help=BORDER_HELP)] = "reject",
    pixel_size_um: Annotated[
        float | None, typer.Option(help="µm per pixel of the images, where files don't say.")
    ] = None,
    channels: Annotated[str | None, typer.Option(help=CHANNELS_HELP)] = None,
    bit_depth: Annotated[int | None, typer.Option(help=BIT_DEPTH_HELP)] = None,
    workers: Annotated[int, typer.Option(help="Processes to work with.")] = 1,
) -> None:
    """Cut out every cell that is not rejected, at one model's crop and pixel size.

    --crop-px and --crop-pixel-size-um, for a model yet to be trained, go before the model's own.
    OUT becomes a crop store for 'hpacells predict', and for 'hpacells train' where the images
    have labels. Asked again, fields that are there are kept.

    Example: hpacells crop images/ segmented/masks crops/ --model model/
    """
    spec = _choose_spec(model, crop_px, crop_pixel_size_um)
    source = MaskFiles(_find_masks(masks), border)
    records = discover_fields(
        images, pixel_size_um=pixel_size_um, channels=channels, bit_depth=bit_depth
    )
    with output_lock(out), show_progress("crop") as progress:
        store = build_store(records, out, spec, source=source, workers=workers, progress=progress)
    _tell(store, out)


def _choose_spec(model: str, crop_px: int | None, crop_pixel_size_um: float | None) -> CropSpec:
    """Take what is given, and the rest from the model; given both, no model is looked for."""
    if crop_px is not None and crop_pixel_size_um is not None:
        return CropSpec(crop_px, crop_pixel_size_um)
    spec = load_model(resolve_model(model)).spec.crop_spec()
    if crop_px is not None:
        return replace(spec, crop_px=crop_px)
    if crop_pixel_size_um is not None:
        return replace(spec, pixel_size_um=crop_pixel_size_um)
    return spec


def _find_masks(folder: Path) -> Path:
    for candidate in (folder / "masks", folder):
        if any(candidate.glob("*_cells.*")):
            return candidate
    raise InputError(
        f"{folder}: expected <fov_id>_cells.png files or a folder masks/ with them, there is "
        "none. Make them with 'hpacells segment IMAGES OUT'."
    )


def _tell(store: CropStore, out: Path) -> None:
    counts = store.counts
    fields = store.fields_table()
    failed = fields.filter(pc.equal(fields["status"], FieldStatus.FAILED.value))
    for row in failed.to_pylist():
        typer.echo(f"failed: {row['fov_id']}: {row['reason']}", err=True)
    typer.echo(
        f"{counts['crops']} crops of {counts['cells']} cells in {counts['fields']} fields, "
        f"{store.spec.crop_px} px at {store.spec.pixel_size_um:g} µm, are in {out}."
    )
    typer.echo(f"Next: hpacells predict {out} OUT --model MODEL, or hpacells train {out} OUT")
    if counts["failed"]:
        typer.echo(f"{counts['failed']} fields failed; they are listed above.", err=True)
        raise typer.Exit(_EXIT_FAILED_FIELDS)
