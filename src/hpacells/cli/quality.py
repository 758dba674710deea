"""What the commands that segment say of the frame and of fields that look wrong."""

from collections.abc import Mapping

import typer

__all__ = ["BORDER_HELP", "MISSING_HELP", "tell_warnings"]

BORDER_HELP = (
    "Cells that the frame cuts: keep them as ok, flag them as border, or also reject those that "
    "are all but certainly more than half outside."
)

MISSING_HELP = (
    "A stain that was not acquired: red, blue or yellow; may be given twice. Its files must be "
    "there, empty images will do; neither segmenter nor classifier looks at them."
)

_SHOWN = 10


def tell_warnings(warnings: Mapping[str, str]) -> None:
    """Print what looks wrong with fields that are done, by fov_id."""
    for fov_id, what in list(warnings.items())[:_SHOWN]:
        typer.echo(f"warning: {fov_id}: {what}", err=True)
    hidden = len(warnings) - _SHOWN
    if hidden > 0:
        typer.echo(f"warning: {hidden} more, listed in fields.parquet", err=True)
