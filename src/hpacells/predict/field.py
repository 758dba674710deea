"""One field from its files to its place in the run folder.

``read_input`` and ``predict_field`` raise what is wrong with the field; ``commit_field`` writes,
and what it raises is wrong with the output folder.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hpacells.core.cell_table import (
    CELL_SCHEMA,
    IMAGE_COLUMNS,
    PROBABILITY_COLUMNS,
    CellStatus,
    CellTable,
    FieldStatus,
)
from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.masks import CellMasks
from hpacells.core.predictions import PredictionTable
from hpacells.core.provenance import sha256_bytes
from hpacells.core.storage import atomic_path
from hpacells.core.submission import encode_cells, format_predictions
from hpacells.crops.extract import extract_crops
from hpacells.images.mask_files import write_masks
from hpacells.images.outlines import CellPath, PathsOf, draw_paths, write_paths
from hpacells.images.preview import PREVIEW_SIDE_PX, composite_rgb, preview_shape, stain_strip
from hpacells.images.read import digest_field, read_field_with_digest
from hpacells.predict.parts import FieldPart, write_part
from hpacells.predict.run_folder import COMPOSITE, MASKS, PREVIEWS, STAINS, outlines_file
from hpacells.runtime.doubt import score_doubt
from hpacells.runtime.postprocess import score_field
from hpacells.runtime.session import CellSession
from hpacells.runtime.terms import score_terms
from hpacells.segment.config import MeasureConfig
from hpacells.segment.field_quality import FieldQuality, judge_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import Segmenter

__all__ = [
    "FieldResult",
    "FieldTools",
    "commit_field",
    "digest_input",
    "predict_field",
    "read_input",
    "score_cells",
]

_COMPOSITE_QUALITY = 85
_STRIP_QUALITY = 75


@dataclass(frozen=True)
class FieldTools:
    """What every field of a run goes through; used by all workers at once.

    Parameters
    ----------
    segmenter
        Outlines cells.
    session
        Classifies crops; its model says which.
    measure
        Which cells count, and from where on quality is flagged.
    missing
        Stains that were not acquired: the classifier gets zeros, whatever the files hold.
    between_steps
        Called between the steps of a field; may raise to stop early.
    """

    segmenter: Segmenter
    session: CellSession
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    missing: tuple[Channel, ...] = ()
    between_steps: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class FieldResult:
    """A field ready to be committed.

    Parameters
    ----------
    part
        Its rows of the tables.
    masks
        Its cells and nuclei.
    previews
        Path in the folder of previews → JPEG.
    outlines
        Its cells as lines on the previews.
    """

    part: FieldPart
    masks: CellMasks
    previews: dict[str, bytes]
    outlines: list[CellPath]


def digest_input(record: FovRecord) -> str:
    """Hash what a field's result depends on: its files, and the pixel size that was given."""
    return _with_pixel_size(digest_field(record), record)


def read_input(record: FovRecord) -> tuple[FieldOfView, str]:
    """Read a field, and give the hash that ``digest_input`` gives.

    Raises
    ------
    ImageError
        When its files cannot be used.
    """
    fov, content = read_field_with_digest(record)
    return fov, _with_pixel_size(content, record)


def predict_field(fov: FieldOfView, digest: str, tools: FieldTools) -> FieldResult:
    """Outline, measure, cut, classify and score the cells of one field.

    Parameters
    ----------
    fov
        The field.
    digest
        Hash of its input.
    tools
        What it goes through.
    """
    tools.between_steps()
    masks = tools.segmenter(fov)
    tools.between_steps()
    cells = measure_cells(fov, masks, tools.measure)
    quality = judge_field(fov, cells, tools.measure.quality)
    spec = tools.session.model.spec.crop_spec()
    crops, cell_masks = extract_crops(fov, masks, cells.table["cell_id"].to_numpy(), spec)
    crops[:, [stain.position for stain in tools.missing]] = 0
    tools.between_steps()
    logits, embedding = tools.session.run(crops, cell_masks)
    tools.between_steps()
    scores = score_field(logits, embedding, cells, tools.session.model)
    doubt = score_doubt(tools.session.model.spec.doubt, crops, cell_masks, embedding, scores.cell)
    part = FieldPart(
        row=_field_row(fov, cells, scores, quality=quality),
        cells=score_cells(cells, scores.cell, doubt),
        embedding=scores.embedding,
        predictions=_format_cells(masks, cells, scores),
        digest=digest,
        terms=score_terms(tools.session.model, embedding),
    )
    shape = preview_shape(fov.height, fov.width, max_side=PREVIEW_SIDE_PX)
    outlines = draw_paths(masks.cells, shape, runs=masks.cell_runs)
    return FieldResult(part, masks, _draw_previews(fov), outlines)


def commit_field(out: Path, result: FieldResult) -> None:
    """Write a field into the run folder; its part comes last and makes it finished.

    Raises
    ------
    OSError
        When the folder is full or cannot be written.
    """
    fov_id = result.part.fov_id
    mask_crc32 = write_masks(out / MASKS, fov_id, result.masks)
    shape = preview_shape(*result.masks.cells.shape, max_side=PREVIEW_SIDE_PX)
    write_paths(out / outlines_file(fov_id), result.outlines, PathsOf(mask_crc32, *shape))
    for name, content in result.previews.items():
        with atomic_path(out / PREVIEWS / name) as temporary:
            temporary.write_bytes(content)
    write_part(out, result.part)


def score_cells(
    cells: CellTable, scores: npt.NDArray[np.float32], doubt: npt.NDArray[np.float32]
) -> CellTable:
    """Add cell scores ``(N, K)`` and doubt ``(N,)`` to a measured cells table."""
    columns = [*cells.table.columns, pa.array(doubt)]
    columns += [pa.array(scores[:, k]) for k in range(len(PROBABILITY_COLUMNS))]
    return CellTable(pa.Table.from_arrays(columns, schema=CELL_SCHEMA))


def _with_pixel_size(content: str, record: FovRecord) -> str:
    return sha256_bytes(f"{content} {record.pixel_size_um}".encode())


def _field_row(
    fov: FieldOfView, cells: CellTable, scores: PredictionTable, *, quality: FieldQuality
) -> dict[str, object]:
    return {
        "fov_id": fov.fov_id,
        "status": FieldStatus.DONE.value,
        "width": fov.width,
        "height": fov.height,
        "pixel_size_um": fov.pixel_size_um,
        "n_ok": cells.count(CellStatus.OK),
        "n_border": cells.count(CellStatus.BORDER),
        "n_rejected": cells.count(CellStatus.REJECTED),
        **quality.columns(),
        **dict(zip(IMAGE_COLUMNS, scores.image.tolist(), strict=True)),
    }


def _format_cells(masks: CellMasks, cells: CellTable, scores: PredictionTable) -> str:
    """Write the prediction string: ok and border cells by id, each with every class."""
    texts = encode_cells(masks.cells)
    ids, status = cells.table["cell_id"].to_pylist(), cells.table["status"].to_pylist()
    # str of a float32 is its shortest decimal form; a third the length of the float64's
    return format_predictions(
        (k, float(str(scores.blend[i, k])), texts[cell_id])
        for i, cell_id in enumerate(ids)
        if status[i] != CellStatus.REJECTED
        for k in range(N_LOCATIONS)
    )


def _draw_previews(fov: FieldOfView) -> dict[str, bytes]:
    composite = cv2.cvtColor(composite_rgb(fov, max_side=PREVIEW_SIDE_PX), cv2.COLOR_RGB2BGR)
    strip = stain_strip(fov, max_side=PREVIEW_SIDE_PX)
    return {
        f"{COMPOSITE}/{fov.fov_id}.jpg": _encode_jpeg(composite, _COMPOSITE_QUALITY),
        f"{STAINS}/{fov.fov_id}.jpg": _encode_jpeg(strip, _STRIP_QUALITY),
    }


def _encode_jpeg(pixels: cv2.typing.MatLike, quality: int) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
