"""What a training leaves beside its model: metrics as CSV and as TensorBoard logs.

Columns of ``metrics.csv``, one row an epoch: epoch; step (steps done); learning_rate; loss,
image_loss and cell_loss (means over the epoch's steps); cells_per_s; and, in the epochs that were
validated, of the held-out fields by the averaged weights: val_loss (of the pooled images),
val_image_ap and val_cell_ap (mean average precision over the locations, of images by their labels,
and of found cells by their truth where a data set knows it).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.storage import atomic_path
from hpacells.model.network import CellClassifier
from hpacells.train.validation import Validation

__all__ = ["LoopResult", "MetricsLog", "Row"]

Row = dict[str, float | int | None]


@dataclass(frozen=True)
class LoopResult:
    """What a training ends with.

    Parameters
    ----------
    model
        With the averaged weights, on the CPU, in evaluation mode.
    validation
        Of the last epoch; None where nothing was held out, or another process validated.
    history
        One row per epoch.
    """

    model: CellClassifier
    validation: Validation | None
    history: list[Row]


class MetricsLog:
    """Metrics of each epoch, for people and for TensorBoard.

    Parameters
    ----------
    out
        ``out/metrics.csv`` is written whole after each epoch, ``out/logs`` appended to.
    """

    def __init__(self, out: Path) -> None:
        self._csv = out / "metrics.csv"
        self._logs = out / "logs"
        self._writer: SummaryWriter | None = None
        self._logged: dict[int, Row] = {}

    def update(self, history: Sequence[Row]) -> None:
        """Write what is new in a history; its last row may be completed later."""
        with atomic_path(self._csv) as temporary:
            temporary.write_text(_as_csv(history), encoding="utf-8")
        if self._writer is None:
            # a continued training logs its history again; what an earlier process wrote is dropped
            first = int(history[0]["step"] or 0)
            self._writer = SummaryWriter(str(self._logs), purge_step=first)
        for row in history:
            step = int(row["step"] or 0)
            earlier = self._logged.get(step, {})
            for name, value in row.items():
                if value is not None and name != "step" and earlier.get(name) is None:
                    self._writer.add_scalar(f"train/{name}", value, step)
            self._logged[step] = dict(row)
        self._writer.flush()

    def finish(self, validation: Validation | None, step: int) -> None:
        """Log the final average precisions, of images and of cells, and close."""
        if self._writer is None:
            return
        if validation is not None:
            kinds = {
                "validation_image_ap": validation.average_precision,
                "validation_cell_ap": validation.cell_average_precision or (),
            }
            for kind, values in kinds.items():
                for key, value in zip(LOCATION_KEYS, values, strict=False):
                    if value is not None:
                        self._writer.add_scalar(f"{kind}/{key}", value, step)
        self._writer.close()


def _as_csv(history: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
