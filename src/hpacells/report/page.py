"""Run folder to one self-contained HTML file: it opens from a mail, without server or network.

The page is written as it is made: one field's mask and pictures are in memory at a time. It shows
pictures of a bounded number of fields (``ReportSettings``) and says so where there are more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpacells import __version__
from hpacells.core.palette import STYLES
from hpacells.core.storage import atomic_path
from hpacells.predict.plan import count_cores
from hpacells.report.config import ReportSettings
from hpacells.report.marks import rank_locations
from hpacells.report.origin import flatten_provenance, read_provenance
from hpacells.report.overview import RunOverview, read_overview
from hpacells.report.sections import iterate_sections

__all__ = ["REPORT_FILE", "write_report"]

REPORT_FILE = "report.html"


def write_report(
    run_folder: Path,
    *,
    provenance: dict[str, Any] | None = None,
    settings: ReportSettings | None = None,
) -> Path:
    """Write ``report.html`` into a run folder, replacing an older one when it is whole.

    Parameters
    ----------
    run_folder
        With ``fields.parquet``, ``cells.parquet`` and ``masks/``; ``variation.parquet`` and
        ``previews/composite/<fov_id>.jpg``, ``previews/protein/<fov_id>.jpg`` where made (a field
        without a preview shows its outlines alone).
    provenance
        What ``run.json`` will hold; None: read ``run.json``, else ``settings.json``.
    settings
        None: the defaults.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    InputError
        When a table is missing or malformed, or mask and table disagree.
    ImageError
        When a mask cannot be read.
    """
    settings = settings or ReportSettings()
    overview = read_overview(run_folder, settings)
    origin = dict(read_provenance(run_folder) if provenance is None else provenance)
    # how the work was divided changes no result, so not the page either
    workers = min(dict(origin.pop("plan", None) or {}).get("workers", 1), count_cores())
    environment = _make_environment()
    chunks: Iterator[str] = environment.get_template("page.html.jinja").generate(
        name=run_folder.resolve().name,
        version=__version__,
        overview=overview,
        settings=settings,
        sections=iterate_sections(run_folder, overview, settings, workers=workers),
        model=origin.get("model_id"),
        model_description=origin.get("model_description"),
        origin=flatten_provenance(origin) if origin else [],
        warnings=list(_list_warnings(overview, settings)),
        css=_read_raw(environment, "report.css"),
        script=_read_raw(environment, "report.js"),
        styles=STYLES,
        rank=lambda scores: rank_locations(list(scores), settings.min_score, 1),
        location_data=[{"title": s.location.title, "color": s.color} for s in STYLES],
    )
    target = run_folder / REPORT_FILE
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(chunks)
    return target


def _make_environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("hpacells.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = lambda value: f"{round(value, 2) + 0.0:.2f}"  # never -0.00
    environment.filters["count"] = _count_noun
    return environment


def _read_raw(environment: Environment, name: str) -> Markup:
    """Read a style sheet or script of this package as it stands."""
    loader = environment.loader
    return Markup(loader.get_source(environment, name)[0] if loader else "")


def _count_noun(number: int, noun: str, plural: str = "") -> str:
    """Write ``1 field`` or ``12 fields``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _list_warnings(overview: RunOverview, settings: ReportSettings) -> Iterator[str]:
    """Say in plain sentences what a reader should know before trusting the page."""
    counts = overview.counts
    if counts["failed"]:
        yield (
            f"{_count_noun(counts['failed'], 'field')} of {overview.n_fields:,} failed; the "
            "reasons are listed below. Counts and scores leave them out."
        )
    if counts["empty"]:
        yield f"No usable cell was found in {_count_noun(counts['empty'], 'field')}."
    yield from _list_flags(overview)
    if counts["few"]:
        yield (
            f"{_count_noun(counts['few'], 'field')} with fewer than {settings.few_cells} ok cells: "
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
            f"Pictures and cells are shown for {_count_noun(len(overview.pictured), 'field')} of "
            f"{counts['done']:,}, those whose cells differ most in location where that is known. "
            "The others are in the run folder's tables."
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
        yield f"{what} in {_count_noun(count, 'field')}: {names}{more}. {advice}"


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
