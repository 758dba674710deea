"""A run folder as objects: its tables, its fields, their cells, each shown as a picture or table.

::

    run = hpacells.open_run("OUT")  # shown as a table of counts and fields
    run.fields, run.cells  # pyarrow tables; .to_pandas() where pandas is installed
    field = run["FOV"]  # shown as a figure; also field.cells, .masks, .image
    cell = field[3]  # shown as a figure; also cell.probabilities
    cell.save("cell.pdf", width_mm=85)

Tables are read when they are asked for, and once. Nothing is written but figures.
"""

import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from pydantic import ValidationError

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.errors import ConfigError, InputError
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.masks import CellMasks
from hpacells.export.run_images import find_run_images, read_run_image
from hpacells.export.run_reader import FinishedRun, RunField
from hpacells.export.run_reader import open_run as open_finished
from hpacells.notebook.summary import summarise_run
from hpacells.predict.run_folder import CELLS_FILE, FIELDS_FILE
from hpacells.report.cell_figure import describe_cell, draw_cell, find_cell
from hpacells.report.config import FigureSettings
from hpacells.report.field_figure import draw_field, name_field
from hpacells.report.figure_sheet import save_figure
from hpacells.report.stain_pictures import StainPictures, picture_stains, read_previews

__all__ = ["OpenedCell", "OpenedField", "OpenedRun", "open_run"]

_SCREEN_DPI = 110
_VARIATION_FILE = "variation.parquet"


def open_run(folder: str | Path, *, images: str | Path | None = None) -> "OpenedRun":
    """Open a finished run folder.

    Parameters
    ----------
    folder
        As ``hpacells run`` made it.
    images
        Where the run's images lie now, if they moved; only figures and ``image`` need them.

    Raises
    ------
    InputError
        When it is no run folder, or not finished.
    """
    return OpenedRun(open_finished(Path(folder)), None if images is None else Path(images))


class OpenedRun:
    """A run: a mapping from field ids to fields, and its tables."""

    def __init__(self, finished: FinishedRun, images: Path | None = None) -> None:
        self._finished, self._images = finished, images

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._finished.folder

    @property
    def provenance(self) -> dict[str, Any]:
        """What ``run.json`` says: settings, versions, model, counts."""
        return self._finished.provenance

    @cached_property
    def fields(self) -> pa.Table:
        """``fields.parquet``, a row per field, failed ones too."""
        return pq.read_table(self.folder / FIELDS_FILE, partitioning=None)

    @cached_property
    def cells(self) -> pa.Table:
        """``cells.parquet``, a row per cell, rejected ones too."""
        return pq.read_table(self.folder / CELLS_FILE, partitioning=None)

    @cached_property
    def variation(self) -> pa.Table | None:
        """``variation.parquet``: how cells differ; None where it was not made."""
        path = self.folder / _VARIATION_FILE
        return pq.read_table(path, partitioning=None) if path.is_file() else None

    @cached_property
    def image_records(self) -> dict[str, FovRecord]:
        """Where each field's image files lie now.

        Raises
        ------
        InputError
            When the images are no longer there: open the run with ``images``.
        """
        return find_run_images(self._finished, self._images)

    def read_image(self, fov_id: str) -> FieldOfView:
        """Read a field's pixels, refusing files that changed since the run."""
        return read_run_image(self._finished, self.image_records, fov_id)

    def __getitem__(self, fov_id: str) -> "OpenedField":
        return OpenedField(self, self._finished.field(fov_id))

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields["fov_id"].to_pylist())

    def __contains__(self, fov_id: object) -> bool:
        return fov_id in set(self)

    def __len__(self) -> int:
        return self._finished.n_fields

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<run {self.folder}: {len(self)} fields, {self._finished.n_cells} cells>"

    def _repr_html_(self) -> str:
        return summarise_run(self.folder.name, self.fields, self.cells, self.provenance)


class OpenedField:
    """One field of a run: a mapping from cell ids to cells."""

    def __init__(self, run: OpenedRun, content: RunField) -> None:
        self._run, self._content = run, content

    @property
    def fov_id(self) -> str:
        """Its id."""
        return self._content.fov_id

    @property
    def row(self) -> dict[str, Any]:
        """Its row of ``fields.parquet``."""
        return self._content.row

    @property
    def cells(self) -> pa.Table:
        """Its rows of ``cells.parquet``, ids ascending."""
        return self._content.cells

    @cached_property
    def masks(self) -> CellMasks:
        """Label images of cells and nuclei."""
        return self._content.read_masks()

    @cached_property
    def image(self) -> FieldOfView:
        """Its four stains as stored."""
        return self._run.read_image(self.fov_id)

    def figure(self, **settings: Any) -> Figure:
        """Draw it from its images; ``settings`` are those of ``FigureSettings``.

        Raises
        ------
        InputError
            When it failed, or its images are not there.
        """
        return self._draw(picture_stains(self._done().image), _read_settings(settings))

    def save(self, path: str | Path, **settings: Any) -> Path:
        """Save its figure as PNG, PDF, SVG or TIFF, by the name's suffix."""
        save_figure(self.figure(**settings), Path(path))
        return Path(path)

    def __getitem__(self, cell_id: int) -> "OpenedCell":
        return OpenedCell(self, find_cell(self.cells, cell_id, self.fov_id))

    def __iter__(self) -> Iterator[int]:
        return iter(self.cells["cell_id"].to_pylist())

    def __contains__(self, cell_id: object) -> bool:
        return cell_id in set(self)

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def __repr__(self) -> str:
        told = f"{len(self)} cells" if self._content.is_done else f"failed: {self.row['reason']}"
        return f"<field {name_field(self.row)}: {told}>"

    def _repr_png_(self) -> bytes | None:
        """Draw it from the run's previews; a failed field is told in words."""
        if not self._content.is_done:
            return None
        previews = read_previews(self._run.folder, self.fov_id)
        return _to_png(self._draw(previews, FigureSettings(dpi=_SCREEN_DPI)))

    def pictures(self) -> StainPictures:
        """Give its stains at their full size, or where its images are gone the run's previews."""
        try:
            return picture_stains(self._done().image)
        except InputError:
            return read_previews(self._run.folder, self.fov_id)

    def _draw(self, pictures: StainPictures, settings: FigureSettings) -> Figure:
        return draw_field(pictures, self.masks.cells, self.cells, self.row, settings)

    def _done(self) -> "OpenedField":
        if not self._content.is_done:
            raise InputError(f"{self!r} has no figure. Take another field.")
        return self


class OpenedCell:
    """One cell of a run."""

    def __init__(self, field: OpenedField, row: dict[str, Any]) -> None:
        self._field, self.row = field, row

    @property
    def cell_id(self) -> int:
        """Its id in the mask."""
        return int(self.row["cell_id"])

    @property
    def probabilities(self) -> dict[str, float]:
        """The cell score of each location, the highest first."""
        scores = {
            key: float(self.row[name])
            for key, name in zip(LOCATION_KEYS, PROBABILITY_COLUMNS, strict=True)
        }
        return dict(sorted(scores.items(), key=lambda item: -item[1]))

    def figure(self, **settings: Any) -> Figure:
        """Draw it from its field's images; ``settings`` are those of ``FigureSettings``."""
        return self._draw(picture_stains(self._field.image), _read_settings(settings))

    def save(self, path: str | Path, **settings: Any) -> Path:
        """Save its figure as PNG, PDF, SVG or TIFF, by the name's suffix."""
        save_figure(self.figure(**settings), Path(path))
        return Path(path)

    def __repr__(self) -> str:
        best, score = next(iter(self.probabilities.items()))
        where = f"{self._field.fov_id} cell {self.cell_id}"
        return f"<{where}: {describe_cell(self.row)}; {best} {score:.2f}>"

    def _repr_png_(self) -> bytes:
        return _to_png(self._draw(self._field.pictures(), FigureSettings(dpi=_SCREEN_DPI)))

    def _draw(self, pictures: StainPictures, settings: FigureSettings) -> Figure:
        field = self._field
        return draw_cell(
            pictures, field.masks.cells, field.cells, field.row, self.cell_id, settings
        )


def _to_png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _read_settings(given: dict[str, Any]) -> FigureSettings:
    try:
        return FigureSettings.model_validate(given)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        known = ", ".join(FigureSettings.model_fields)
        raise ConfigError(f"figure: {told}. It takes {known}.") from error
