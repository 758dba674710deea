"""The images that a run was made of, found again where they lie now.

What leaves is a field's pixels, refused when they are not those that the run saw: masks and scores
would not fit them.
"""

from collections.abc import Mapping
from pathlib import Path

from hpacells.core.errors import InputError
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.location import open_location
from hpacells.export.run_reader import FinishedRun
from hpacells.images.discover import discover_fields
from hpacells.predict.field import read_input

__all__ = ["find_run_images", "read_run_image"]

_MOVED = "Say where they are with --images"


def find_run_images(run: FinishedRun, images: Path | None = None) -> dict[str, FovRecord]:
    """List the fields of a run's images, read as the run read them.

    Parameters
    ----------
    run
        Says where they were, and how they were to be read.
    images
        Where they lie now; None: where they were.

    Returns
    -------
    dict
        fov_id → record; fields that the run does not know are listed too.

    Raises
    ------
    InputError
        When nothing usable lies there.
    """
    asked = run.provenance
    place = open_location(str(asked["images"])) if images is None else images
    try:
        records = discover_fields(
            place,
            pixel_size_um=asked.get("pixel_size_um"),
            channels=asked.get("channels"),
            bit_depth=asked.get("bit_depth"),
        )
    except InputError as error:
        raise InputError(f"the run's images: {error} {_MOVED}.") from error
    return {record.fov_id: record for record in records}


def read_run_image(run: FinishedRun, records: Mapping[str, FovRecord], fov_id: str) -> FieldOfView:
    """Read one field's pixels.

    Parameters
    ----------
    run
        Knows the hash of what it read.
    records
        As ``find_run_images`` gives them.
    fov_id
        The field.

    Raises
    ------
    InputError
        When the field is not there, or its files changed since the run.
    ImageError
        When its files cannot be read.
    """
    record = records.get(fov_id)
    if record is None:
        raise InputError(
            f"field {fov_id}: expected its image where the run found it, there is none. {_MOVED}."
        )
    fov, digest = read_input(record)
    if digest != run.provenance["inputs_sha256"].get(fov_id):
        raise InputError(
            f"field {fov_id}: its image has changed since the run, the masks may not fit. "
            "Run again."
        )
    return fov
