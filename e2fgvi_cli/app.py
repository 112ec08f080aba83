"""The `e2fgvi` command: its subcommands, and the one place where errors become exit codes.

Imports neither torch nor PyAV: `--help` and usage errors must not wait seconds for them. Each subcommand lives in `commands/`.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from . import __version__
from .commands.batch import batch
from .commands.benchmark import benchmark
from .commands.check_env import check_env
from .commands.inpaint import inpaint
from .commands.mask import mask_app
from .commands.train import train_app
from .commands.weights import weights_app
from .errors import EXIT_DEVICE, EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, UserError

DEBUG_VARIABLE = "E2FGVI_DEBUG"


def _complain(message: str) -> None:
    """One line on standard error: plain text, so that a path is never broken or coloured in the middle."""
    typer.echo(f"{typer.style('error:', fg='red', bold=True)} {message}", err=True)


def _describe(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and the sentence to print."""
    if isinstance(error, UserError):
        return error.exit_code, str(error)
    if (
        type(error).__name__ == "OutOfMemoryError"
        or isinstance(error, MemoryError)
        or "can't allocate memory" in str(error)
    ):
        first_line = (str(error).splitlines() or [""])[0]
        return (
            EXIT_DEVICE,
            f"out of memory: {first_line} (use fewer --max-references, a smaller --neighbor-stride or --size, or --device cpu)",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            EXIT_INPUT,
            f"no space left on the device for {error.filename or 'the output'}: free some or choose another folder",
        )
    from .doctor import startup_diagnosis

    diagnosis = startup_diagnosis(error)
    if diagnosis is not None:
        return EXIT_FAILED, diagnosis
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return EXIT_FAILED, f"unexpected failure, please report it: {reason} (set {DEBUG_VARIABLE}=1 for the traceback)"


class _Group(TyperGroup):
    """Runs a subcommand and turns what it raises into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _complain("interrupted: nothing was left under the output's name")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except (
            UserError,
            MemoryError,
            OSError,
            RuntimeError,
            ImportError,
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
        ) as error:
            if isinstance(error, RuntimeError) and type(error).__module__.startswith(("typer", "click")):
                raise  # Exit and Abort are RuntimeErrors of the framework
            if os.environ.get(DEBUG_VARIABLE):
                traceback.print_exception(error)
            code, message = _describe(error)
            _complain(message)
            raise typer.Exit(code) from None


app = typer.Typer(
    name="e2fgvi",
    cls=_Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Remove objects from video with the E2FGVI-HQ network.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"e2fgvi {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


app.command("inpaint")(inpaint)
app.command("batch")(batch)
app.command("check-env")(check_env)
app.command("benchmark")(benchmark)
app.add_typer(mask_app, name="mask")
app.add_typer(weights_app, name="weights")
app.add_typer(train_app, name="train")


def main() -> None:
    """Entry point of the console script."""
    # A polite kill cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names in any letters, on a terminal that has only some
    app(prog_name="e2fgvi")
