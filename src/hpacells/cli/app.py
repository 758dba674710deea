"""The ``hpacells`` command: its table of commands, its exit codes.

Each command lives in a module of its own that defines ``app``, a ``typer.Typer`` with that one
command. A module is imported only when its command runs, so ``hpacells evaluate`` does not wait
for the libraries of ``hpacells train``.
"""

import errno
import sys
import traceback
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from hpacells import __version__
from hpacells.core.errors import HpacellsError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS: dict[str, str] = {
    "demo": "Simulate a few fields and run on them with the shipped models.",
    "run": "Images to run folder: every cell, where its protein sits.",
    "simulate": "Make fields whose cells and locations are known.",
    "download": "The public atlas's fields of some genes, with their labels.",
    "segment": "Images to masks and a cells table.",
    "crop": "Images and masks to a crop store.",
    "train": "Learn a model from fields and their image labels.",
    "predict": "Crop store to cells table.",
    "merge": "Run folders of shards to one run folder.",
    "evaluate": "Score a submission or masks against the truth.",
    "variation": "How the cells of a field differ, from a run folder.",
    "report": "Run folder to one HTML file.",
    "show": "A field or a cell of a run as a figure for a paper.",
    "review": "A page where experts judge a run's cells.",
    "export": "Run folder to files for QuPath, napari, scanpy, Kaggle and others.",
    "import": "Cells corrected in other tools, back beside a run.",
    "bundle": "An offline folder for the code competition.",
    "models": "List the models that can be used, check their files.",
    "doctor": "Say what is missing on this machine.",
}
"""Command name to one line of help, in the order of the data flow."""

EXIT_FAILED_FIELDS = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class _LazyGroup(TyperGroup):
    """List commands by the table alone; import a command's module when it is called."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Give a command that only carries its line of help, for the list of commands."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        stub = typer.Typer(add_completion=False)
        stub.command(cmd_name, help=COMMANDS[cmd_name])(lambda: None)
        return typer.main.get_command(stub)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Import the command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            module = f"{name}_" if iskeyword(name) else name
            command = typer.main.get_command(import_module(f"hpacells.cli.{module}").app)
            command.name = name
        return name, command, rest


app = typer.Typer(
    cls=_LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: hpacells demo",
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hpacells {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def cli(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  acts in its callback
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Find every cell in Human Protein Atlas images and say where its protein sits."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_OS_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space and run the same command again.",
    errno.EDQUOT: "the disk quota is used up. Free some space and run the same command again.",
    errno.EACCES: "no permission. Choose another folder or change its rights.",
    errno.EPERM: "no permission. Choose another folder or change its rights.",
    errno.EROFS: "the file system is read-only. Choose another folder.",
    errno.EISDIR: "expected a file, there is a folder. Choose another name.",
    errno.EEXIST: "expected a folder, there is a file. Choose another name.",
    errno.ENOTDIR: "expected a folder, there is a file. Choose another name.",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one.",
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with DESIGN's codes: 0, 1, 2 or 130."""
    try:
        code = app(arguments, standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt  # noqa: TRY301  said once, below
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted. Finished work is kept: the same command continues.", EXIT_INTERRUPTED)
    except typer.TyperException as error:
        _fail(f"error: {_explain(error)}", EXIT_ERROR)
    except HpacellsError as error:
        _fail(f"error: {error}", EXIT_ERROR)
    except OSError as error:
        advice = _OS_ADVICE.get(error.errno or 0)
        if advice is None:
            traceback.print_exc()
        name = error.filename2 or error.filename  # of a rename, the name that was asked for
        where = f"{name}: " if name else ""
        _fail(f"error: {where}{advice or error}", EXIT_ERROR)
    except Exception:  # noqa: BLE001  the last stop: anything unforeseen must exit 2
        traceback.print_exc()
        _fail("error: unforeseen; the lines above say where. Please report it.", EXIT_ERROR)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: typer.TyperException) -> str:
    """Word a misused option or argument: name it and say where its help is."""
    describe = getattr(error, "format_message", None)
    context = getattr(error, "ctx", None)
    message = (describe() if describe else str(error)).rstrip(".")
    message = message.replace("Value error, ", "")  # typer's own check of a choice says so
    return f"{message}. See '{context.command_path} --help'." if context else message


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(code)
