"""The fields where found and true cells agree least, drawn into a folder."""

from pathlib import Path

from hpacells.core.errors import ImageError
from hpacells.evaluate.field_masks import THRESHOLDS, FieldMaskCounts
from hpacells.evaluate.mask_pairs import MaskFolders
from hpacells.evaluate.masks import FolderScores
from hpacells.evaluate.overlays import MAX_SIDE_PX, write_overlay
from hpacells.images.discover import discover_fields
from hpacells.images.preview import composite_rgb
from hpacells.images.read import read_field

__all__ = ["write_worst_fields"]

_ANY_PIXEL_SIZE_UM = 0.08
_RANKED_AT = 0.6


def write_worst_fields(
    scores: FolderScores,
    found: Path,
    true: Path,
    out: Path,
    *,
    images: Path | None = None,
    n: int = 6,
) -> list[Path]:
    """Draw the fields of lowest F1 at IoU 0.60; those without any error are left out.

    Parameters
    ----------
    scores, found, true
        What ``score_masks`` gave for these two folders.
    out
        The folder to draw into, made when it isn't there; files are ``<rank>_<fov_id>.png``, the
        worst field ``01``. Files of such names of an earlier run are removed.
    images
        Where the fields' pictures are; without it outlines lie on dark grey.
    n
        Fields at most.

    Returns
    -------
    list of Path
        The files, the worst field first.

    Raises
    ------
    ImageError
        When a field to be drawn is not among the images, or cannot be read.
    InputError
        When a field's image and masks have other proportions.
    """
    folders = MaskFolders.open(found, true)
    counts = {field.fov_id: field for field in scores.fields}
    records = {}
    if images is not None:
        # pictures need no pixel size, and files that do not tell one are shown all the same
        fields = discover_fields(images, pixel_size_um=_ANY_PIXEL_SIZE_UM)
        records = {record.fov_id: record for record in fields}
    wrong = [
        fov_id for fov_id in scores.worst(len(counts), _RANKED_AT) if _has_errors(counts[fov_id])
    ][:n]
    if images is not None and (unknown := [fov_id for fov_id in wrong if fov_id not in records]):
        raise ImageError(
            f"field {unknown[0]}: expected its images in {images}, they are not there. Give "
            "the folder that was segmented, or leave --images out."
        )
    for earlier in sorted(out.glob("[0-9][0-9]_*.png")):  # ranks of another run say nothing now
        earlier.unlink()
    written = []
    for rank, fov_id in enumerate(wrong, start=1):
        picture = None
        if images is not None:
            picture = composite_rgb(read_field(records[fov_id]), max_side=MAX_SIDE_PX)
        path = out / f"{rank:02d}_{fov_id}.png"
        write_overlay(path, folders.read(fov_id), counts[fov_id], picture=picture)
        written.append(path)
    return written


def _has_errors(field: FieldMaskCounts) -> bool:
    """Say whether there is something to see at the IoU that fields are ranked by."""
    at = THRESHOLDS.index(_RANKED_AT)
    return bool(field.extra[at] or field.missed[at] or field.merged or field.split)
