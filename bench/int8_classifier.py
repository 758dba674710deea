"""Whether the shipped classifier may run in int8: accuracy and speed against float32.

ONNX Runtime quantises the model's own graph: weights alone per call (dynamic), or weights and what
flows between layers by ranges seen on 256 calibration cells (static, QDQ, per channel). Judged on
the other test cells, whose true locations are known, by the mean over locations of the average
precision over cells. A runtime by the name of ``onnx-int8`` may be had only where that stays within
0.005 of float32 and is faster.

    python bench/int8_classifier.py      # 2 minutes, and the making of weak_labels' test cells
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from run_speed import ROUNDS, row
from weak_data import BenchCells, cells_of

from hpacells.core.storage import write_json
from hpacells.runtime.graph import open_graph
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import resolve_model
from hpacells.train.validation import mean_precision, precision_per_location

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "int8_classifier.json"
ASKED = 0.005
N_CALIBRATION, N_TIMED = 256, 200

Feed = dict[str, npt.NDArray[np.uint8]]


class Calibration(CalibrationDataReader):
    """Gives cells one by one, as the quantiser asks for them."""

    def __init__(self, cells: Iterator[Feed]) -> None:
        self._cells = cells

    def get_next(self) -> Feed | None:
        """Give the next cell, None after the last."""
        return next(self._cells, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_weak")
    parser.add_argument("--model", default="nfnet-sim")
    options = parser.parse_args()
    test = cells_of("test", options.work)
    known = np.flatnonzero(test.truth.known)
    order = np.random.default_rng(0).permutation(known)
    calibration, judged = order[:N_CALIBRATION], np.sort(order[N_CALIBRATION:])
    model = load_model(resolve_model(options.model))
    with tempfile.TemporaryDirectory() as folder:
        graphs = {"float32": model.graph_path}
        graphs["int8, dynamic"] = Path(folder) / "dynamic.onnx"
        quantize_dynamic(model.graph_path, graphs["int8, dynamic"], weight_type=QuantType.QUInt8)
        graphs["int8, static"] = Path(folder) / "static.onnx"
        quantize_static(
            model.graph_path,
            graphs["int8, static"],
            Calibration(feed(test, i) for i in calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Relu", "Add", "AveragePool"],
        )
        found = {name: judge(path, test, judged) for name, path in graphs.items()}
    rows = []
    whole, whole_cells_s = found["float32"]
    for name, (precision, cells_s) in found.items():
        near = precision - whole >= -ASKED
        rows.append(
            row(
                f"{options.model}, {name}: mean average precision over {len(judged)} cells; cells "
                "per second, one thread",
                "" if name == "float32" else f"≥ fp32 - {ASKED}",
                f"{precision:.4f} ({precision - whole:+.4f}); {cells_s:.0f} "
                f"({cells_s / whole_cells_s:.2f}x)",
                None if name == "float32" else near,
            )
        )
        print(rows[-1])
    write_json(RESULTS, {"rows": rows})


def feed(test: BenchCells, i: int) -> Feed:
    """Give one cell as the graph takes it."""
    return {"crops": test.data.crops[i : i + 1], "cell_mask": test.data.cell_masks[i : i + 1]}


def judge(path: Path, test: BenchCells, cells: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Give the mean average precision, and cells per processor second."""
    graph = open_graph(path, input_sizes="equal")
    logits = np.concatenate([graph.run(["logits"], feed(test, i))[0] for i in cells])
    precision = mean_precision(precision_per_location(test.truth.targets[cells], logits))
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for i in cells[:N_TIMED]:
            graph.run(["logits"], feed(test, i))
        times.append(time.process_time() - started)
    return float(precision or 0), N_TIMED / min(times)


if __name__ == "__main__":
    main()
