"""The options of ``run`` and ``predict`` that say what runs the networks."""

from typing import Annotated, Literal

import typer

__all__ = ["DeviceOption", "PrecisionOption", "RuntimeOption"]

RuntimeOption = Annotated[
    Literal["auto", "onnx", "torch"],
    typer.Option(
        help="What runs the networks. auto: torch where it finds a GPU that answers like the CPU, "
        "else onnx; for a run begun before, what began it."
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where. onnx runs on the CPU.")
]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(
        help="Of their arithmetic. auto: bfloat16 on a GPU that computes in it, else float32."
    ),
]
