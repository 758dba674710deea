"""Run folder to self-contained HTML: each file opens from a mail, without server or network.

A file shows the pictures of a bounded number of fields (``ReportSettings``), the most variable ones
first; a larger run is split into several, and fields beyond the last are rows only. A file is
written as it is made: the masks and pictures of few fields are in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpacells import __version__
from hpacells.core.errors import InputError
from hpacells.core.palette import STYLES
from hpacells.core.storage import atomic_path
from hpacells.predict.plan import count_cores
from hpacells.report.cell_columns import gather_cells
from hpacells.report.config import ReportSettings
from hpacells.report.field_pictures import fit_preview, iterate_pictures
from hpacells.report.marks import rank_locations
from hpacells.report.origin import flatten_provenance, read_provenance
from hpacells.report.overview import RunOverview, read_overview
from hpacells.report.run_tables import EMPTY_CELLS, FieldRow, iterate_cells
from hpacells.report.warnings import count_noun, list_warnings

__all__ = ["REPORT_FILE", "write_report"]

REPORT_FILE = "report.html"
_FURTHER_FILE = "report-{}.html"


@dataclass(frozen=True)
class _Page:
    """One file: its fields with their cells, and the place of the first among all pictured ones."""

    number: int
    first: int
    fields: list[tuple[FieldRow, pa.Table]]


def write_report(
    run_folder: Path,
    *,
    provenance: dict[str, Any] | None = None,
    settings: ReportSettings | None = None,
) -> Path:
    """Write ``report.html`` into a run folder, and ``report-2.html`` … where one file is too few.

    Parameters
    ----------
    run_folder
        With ``fields.parquet``, ``cells.parquet`` and ``masks/``; ``variation.parquet``,
        ``embeddings.parquet`` and ``previews/stains/<fov_id>.jpg`` where made (a field without a
        preview shows its outlines alone).
    provenance
        What ``run.json`` will hold; None: read ``run.json``, else ``settings.json``.
    settings
        None: the defaults.

    Returns
    -------
    Path
        Of the first file, which is written last; an older one is replaced when it is whole.

    Raises
    ------
    InputError
        When a table is missing or malformed, or mask and table disagree.
    ImageError
        When a mask cannot be read.
    MissingExtraError
        As ``cell_map.draw_map``.
    """
    settings = settings or ReportSettings()
    _check_tables(run_folder)
    overview = read_overview(run_folder, settings)
    is_finished = provenance is not None or (run_folder / "run.json").is_file()
    origin = dict(read_provenance(run_folder) if provenance is None else provenance)
    # how the work was divided changes no result, so not the page either
    workers = min(dict(origin.pop("plan", None) or {}).get("workers", 1), count_cores())
    pages = _split(run_folder, overview, settings)
    files = [_name_file(page.number) for page in pages]
    environment = _make_environment(run_folder, settings)
    environment.globals.update(
        overview=overview,
        n_pages=len(pages),
        page_files=files,
        page_of={
            row.fov_id: (_name_file(page.number), page.first + i)
            for page in pages
            for i, (row, _) in enumerate(page.fields)
        },
        model=origin.get("model_id"),
        model_description=origin.get("model_description"),
        origin=flatten_provenance(origin) if origin else [],
        warnings=list(list_warnings(overview, settings, is_finished=is_finished)),
    )
    for page in reversed(pages):
        chunks = environment.get_template("page.html.jinja").generate(
            page=page,
            cells=gather_cells(run_folder, page.fields, settings),
            pictures=iterate_pictures(run_folder, page.fields, settings, workers=workers),
        )
        with (
            atomic_path(run_folder / _name_file(page.number)) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.writelines(chunks)
    for other in run_folder.glob(_FURTHER_FILE.format("[0-9]*")):
        if other.name not in files:  # of an earlier, longer report
            other.unlink()
    return run_folder / REPORT_FILE


def _check_tables(run_folder: Path) -> None:
    """Tell a run that is not done yet from a folder that is no run."""
    if (run_folder / "settings.json").is_file() and not (run_folder / "fields.parquet").is_file():
        raise InputError(
            f"{run_folder}: the run was not finished, its tables are not written yet. Give the "
            "same 'hpacells run' again (it continues), then ask for the report."
        )


def _name_file(number: int) -> str:
    return REPORT_FILE if number == 1 else _FURTHER_FILE.format(number)


def _split(run_folder: Path, overview: RunOverview, settings: ReportSettings) -> list[_Page]:
    """Divide the pictured fields into files; there is one at least."""
    wanted = {row.fov_id for row in overview.pictured}
    cells = {fov_id: table for fov_id, table in iterate_cells(run_folder) if fov_id in wanted}
    rows: Iterator[FieldRow] = iter(overview.pictured)
    pages: list[_Page] = []
    for first in range(0, max(len(wanted), 1), settings.fields_per_page):
        fields = [
            (row, cells.get(row.fov_id, EMPTY_CELLS))
            for row in islice(rows, settings.fields_per_page)
        ]
        pages.append(_Page(len(pages) + 1, first, fields))
    return pages


def _make_environment(run_folder: Path, settings: ReportSettings) -> Environment:
    """Set up the templates with what is the same in every run's files."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("hpacells.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["score"] = lambda value: f"{round(value, 2) + 0.0:.2f}"  # never -0.00
    environment.filters["count"] = count_noun
    environment.globals.update(
        name=run_folder.resolve().name,
        version=__version__,
        settings=settings,
        styles=STYLES,
        rank=lambda scores: rank_locations(list(scores), settings.min_score, 1),
        fit=fit_preview,
        field_data=_describe_fields,
        asset=_read_asset,
        location_data=[
            {"title": s.location.title, "key": s.location.key, "color": s.color} for s in STYLES
        ],
    )
    return environment


def _describe_fields(fields: list[tuple[FieldRow, pa.Table]]) -> list[dict[str, Any]]:
    """Say of a page's fields what its script needs besides their pictures."""
    shapes = [(row.fov_id, *fit_preview(row)) for row, _ in fields]
    return [{"id": fov_id, "width": width, "height": height} for fov_id, height, width in shapes]


def _read_asset(name: str) -> Markup:
    """Read a style sheet or script of this package as it stands."""
    return Markup(Path(__file__).with_name("assets").joinpath(name).read_text(encoding="utf-8"))
