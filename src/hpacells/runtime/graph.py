"""Opening an ONNX graph on a CPU, in the one way that every network here is run."""

from pathlib import Path
from typing import Literal

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from hpacells.core.errors import ModelError

__all__ = ["LOAD_ERRORS", "open_graph"]

LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.InvalidArgument,
)


def open_graph(path: Path, *, input_sizes: Literal["equal", "differ"]) -> ort.InferenceSession:
    """Open a graph that runs each call on one thread, so that cores cannot change a result.

    Parameters
    ----------
    path
        The ONNX file.
    input_sizes
        ``differ``: memory is not planned by the sizes of the first call.

    Raises
    ------
    ModelError
        When ONNX Runtime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = input_sizes == "equal"
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except LOAD_ERRORS as error:
        raise ModelError(
            f"{path}: ONNX Runtime {ort.__version__} cannot load it: {error}"
        ) from error
