"""``train.csv``: what is known of whole images, by field id.

Columns: ``ID``, ``Label`` (class ids joined with ``|``), and where known ``gene``, ``antibody``,
``cell_line``, ``plate``, ``well``, ``sample``, ``pixel_size_um``, ``bit_depth`` (of grey values in
16-bit files); others are ignored. A row
without its image and an image without a row are counted, not errors; anything malformed is one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpacells.core.errors import TableError
from hpacells.core.fov import BIT_DEPTHS, METADATA_COLUMNS, FovRecord, full_scale
from hpacells.core.locations import parse_class_ids
from hpacells.images.pixel_size import parse_pixel_size_um
from hpacells.images.tables import CsvRow, raise_problems, read_csv

__all__ = ["FieldLabels", "LabelMatch", "add_labels", "match_labels", "parse_row", "read_labels"]


@dataclass(frozen=True)
class FieldLabels:
    """One row of ``train.csv``.

    Parameters
    ----------
    class_ids
        Sorted ids of the image label; None where a manifest gives none.
    metadata
        The columns of ``METADATA_COLUMNS`` that the row fills.
    pixel_size_um
        µm per pixel, None when the row does not say.
    row
        Line of the file, the header being 1.
    max_value
        Grey value of full scale by the column ``bit_depth``, None when the row does not say.
    """

    class_ids: tuple[int, ...] | None
    metadata: Mapping[str, str]
    pixel_size_um: float | None
    row: int
    max_value: int | None = None


@dataclass(frozen=True)
class LabelMatch:
    """Which fields and rows found each other; ids ascending.

    ``len(matched) + len(fields_without_row)`` is the number of fields,
    ``len(matched) + len(rows_without_field)`` that of rows.
    """

    matched: tuple[str, ...]
    fields_without_row: tuple[str, ...]
    rows_without_field: tuple[str, ...]


def read_labels(train_csv: Path) -> dict[str, FieldLabels]:
    """Read ``train.csv``.

    Parameters
    ----------
    train_csv
        UTF-8, with or without a byte order mark, any line ends.

    Returns
    -------
    dict
        Field id to its row, in the order of the file.

    Raises
    ------
    TableError
        Columns missing, an ID empty or twice, a label or pixel size malformed: all of them
        together, each with its row.
    """
    rows, problems = read_csv(train_csv, ("ID", "Label"))
    labels: dict[str, FieldLabels] = {}
    for row in rows:
        fov_id = row.cells["ID"]
        if not fov_id:
            problems.append(f"row {row.number}: the ID is empty")
        elif fov_id in labels:
            problems.append(f"row {row.number}: ID {fov_id} stands in row {labels[fov_id].row} too")
        elif not row.cells["Label"]:
            problems.append(
                f"row {row.number}: the Label of {fov_id} is empty; give class ids or drop the row"
            )
        else:
            labels[fov_id] = parse_row(row, problems)
    raise_problems(train_csv, problems)
    return labels


def parse_row(row: CsvRow, problems: list[str]) -> FieldLabels:
    """Read the label, pixel size and metadata of a row; problems are appended to the list."""
    class_ids, size = None, None
    label, size_text = row.get("Label"), row.get("pixel_size_um")
    try:
        class_ids = None if label is None else parse_class_ids(label, where=f"row {row.number}")
    except TableError as error:
        problems.append(str(error))
    try:
        size = None if size_text is None else parse_pixel_size_um(size_text)
    except TableError as error:
        problems.append(f"row {row.number}: {error}")
    bits = row.get("bit_depth")
    known = {str(depth): full_scale(depth) for depth in BIT_DEPTHS}
    if bits is not None and bits not in known:
        problems.append(f"row {row.number}: expected a bit_depth of 8 to 16, got {bits!r}")
    metadata = {name: text for name in METADATA_COLUMNS if (text := row.get(name)) is not None}
    return FieldLabels(class_ids, metadata, size, row.number, known.get(bits or ""))


def add_labels(record: FovRecord, labels: FieldLabels | None) -> FovRecord:
    """Give a record what its row says; None leaves it as it is."""
    if labels is None:
        return record
    known: dict[str, Any] = dict(labels.metadata)
    return replace(
        record,
        image_locations=labels.class_ids,
        pixel_size_um=labels.pixel_size_um,
        max_value=labels.max_value,
        **known,
    )


def match_labels(records: Iterable[FovRecord], labels: Mapping[str, FieldLabels]) -> LabelMatch:
    """Say which fields have a row and which rows have a field.

    Parameters
    ----------
    records
        The fields found.
    labels
        The rows of ``train.csv``.

    Returns
    -------
    LabelMatch
        Ids of both and of each alone.
    """
    fields = {record.fov_id for record in records}
    return LabelMatch(
        matched=tuple(sorted(fields & labels.keys())),
        fields_without_row=tuple(sorted(fields - labels.keys())),
        rows_without_field=tuple(sorted(labels.keys() - fields)),
    )
