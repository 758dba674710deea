"""The fields where found and true cells agree least, drawn into a folder."""

from pathlib import Path

from hpacells.core.errors import ImageError
from hpacells.evaluate.mask_pairs import MaskFolders
from hpacells.evaluate.masks import FolderScores
from hpacells.evaluate.overlays import MAX_SIDE_PX, write_overlay
from hpacells.images.discover import discover_fields
from hpacells.images.preview import composite_rgb
from hpacells.images.read import read_field

__all__ = ["write_worst_fields"]

_ANY_PIXEL_SIZE_UM = 0.08


def write_worst_fields(
    scores: FolderScores,
    found: Path,
    true: Path,
    out: Path,
    *,
    images: Path | None = None,
    n: int = 6,
) -> list[Path]:
    """Draw the fields of lowest F1 at IoU 0.60.

    Parameters
    ----------
    scores, found, true
        What ``score_masks`` gave for these two folders.
    out
        The folder to draw into, made when it isn't there; files are ``<rank>_<fov_id>.png``, the
        worst field ``01``.
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
    written = []
    for rank, fov_id in enumerate(scores.worst(n), start=1):
        picture = None
        if images is not None:
            if fov_id not in records:
                raise ImageError(
                    f"field {fov_id}: expected its images in {images}, they are not there. Give "
                    "the folder that was segmented, or leave --images out."
                )
            picture = composite_rgb(read_field(records[fov_id]), max_side=MAX_SIDE_PX)
        path = out / f"{rank:02d}_{fov_id}.png"
        write_overlay(path, folders.read(fov_id), counts[fov_id], picture=picture)
        written.append(path)
    return written
