"""What a reader should know before trusting a report, in plain sentences."""

from collections.abc import Iterator

from hpacells.report.config import ReportSettings
from hpacells.report.overview import RunOverview

__all__ = ["count_noun", "list_warnings"]

_NAMED_FIELDS = 5
_FIELD_FLAGS = {
    "qc_swapped_stains": (
        "Stains look swapped",
        "The nuclei stand in another stain: check the files' colours before using the scores.",
    ),
    "qc_constant_stain": (
        "A stain shows nothing: one grey value everywhere, or noise",
        "It may be missing: outlines and scores of such a field mean little.",
    ),
}


def count_noun(number: int, noun: str, plural: str = "") -> str:
    """Write ``1 field`` or ``12 fields``.

    Examples
    --------
    >>> count_noun(1200, "field")
    '1,200 fields'
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def list_warnings(
    overview: RunOverview, settings: ReportSettings, *, is_finished: bool
) -> Iterator[str]:
    """Say what is missing, failed or doubtful in a run.

    Parameters
    ----------
    overview
        Of the run.
    settings
        What counts as few cells.
    is_finished
        Whether it is known how the run was made: ``run.json`` is there.
    """
    counts = overview.counts
    if not is_finished:
        yield (
            "The run folder has no run.json: the run was not finished. Give the same 'hpacells "
            "run' again; it continues."
        )
    if counts["failed"]:
        yield (
            f"{count_noun(counts['failed'], 'field')} of {overview.n_fields:,} failed; the "
            "reasons are listed below. Counts and scores leave them out."
        )
    if counts["empty"]:
        yield f"No usable cell was found in {count_noun(counts['empty'], 'field')}."
    yield from _list_flags(overview)
    if counts["few"]:
        yield (
            f"{count_noun(counts['few'], 'field')} with fewer than {settings.few_cells} ok cells: "
            "too few to say how the cells of such a field differ."
        )
    n_cells = counts["ok"] + counts["border"] + counts["rejected"]
    if counts["rejected"] * 2 > n_cells:
        yield (
            f"{counts['rejected']:,} of {n_cells:,} cells were rejected: look at the outlines, the "
            "pixel size may be wrong."
        )
    if counts["done"] > len(overview.pictured):
        yield (
            f"Pictures and cells are shown for {count_noun(len(overview.pictured), 'field')} of "
            f"{counts['done']:,}, those whose cells differ most in location where that is known. "
            "'hpacells report RUN --pages N' shows more; all are in the run folder's tables."
        )


def _list_flags(overview: RunOverview) -> Iterator[str]:
    """Say which fields' stains look wrong; fields without cells are told of apart."""
    for column, (what, advice) in _FIELD_FLAGS.items():
        count = overview.counts[column]
        if not count:
            continue
        rows = [row for row in overview.flagged if column in row.flags][:_NAMED_FIELDS]
        names = ", ".join(row.fov_id for row in rows)
        more = f" and {count - len(rows):,} more" if count > len(rows) else ""
        yield f"{what} in {count_noun(count, 'field')}: {names}{more}. {advice}"
