"""The `e2fgvi` command: its subcommands, and the one place where errors become exit codes.

Imports neither torch nor PyAV: `--help` and usage errors must not wait seconds for them. Each subcommand lives in
`commands/`.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from . import __version__
from .commands.batch import batch
from .commands.benchmark import benchmark
from .commands.check_env import check_env
from .commands.compare import compare
from .commands.config import config, defaults
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.inpaint import inpaint
from .commands.mask import mask_app
from .commands.train import train_app
from .commands.ui import ui
from .commands.weights import weights_app
from .errors import EXIT_DEVICE, EXIT_FAILED, EXIT_INPUT, UserError, out_of_memory
from .system import interrupts, publication, streams

DEBUG_VARIABLE = "E2FGVI_DEBUG"
"""1: tracebacks on standard error. A file name: they are appended to it."""
_OF_A_PATH = frozenset(
    getattr(errno, name)
    for name in ("ENAMETOOLONG", "EACCES", "EPERM", "EROFS", "ELOOP", "EISDIR", "ENOTDIR", "EIO", "ESTALE", "EFBIG")
    if hasattr(errno, name)
)
_INTERRUPTED = {
    "batch": "run the same command again to go on",
    "evaluate": "run the same command with --resume to go on",
    "ui": "what was drawn and followed is kept beside each clip",
    "weights": "a download goes on where it stopped when it is asked for again",
}


def _complain(message: str) -> None:
    """One line on standard error: plain text, so that a path is never broken or coloured in the middle."""
    typer.echo(f"{typer.style('error:', fg='red', bold=True)} {message}", err=True)


def _describe(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and the sentence to print."""
    if isinstance(error, UserError):
        return error.exit_code, str(error)
    reason = " ".join(str(error).split())
    if (no_memory := out_of_memory(error)) is not None:
        return (
            EXIT_DEVICE,
            f"out of memory: {no_memory} (use fewer --max-references, a smaller --neighbor-stride or --size, "
            "or --device cpu)",
        )
    of_a_path = _describe_path(error) if isinstance(error, OSError) else None
    if of_a_path is not None:
        return EXIT_INPUT, of_a_path
    from .doctor import startup_diagnosis

    diagnosis = startup_diagnosis(error)
    if diagnosis is not None:
        return EXIT_FAILED, diagnosis
    reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return EXIT_FAILED, f"unexpected failure, please report it: {reason} (set {DEBUG_VARIABLE}=1 for the traceback)"


def _describe_path(error: OSError) -> str | None:
    """A sentence for what is wrong with a file or folder that the user named, or with the disk it is on."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the device for {error.filename or 'the output'}: free some or choose another folder"
    if isinstance(error, FileNotFoundError) and not _has_working_folder():
        return "the folder in which this was started is not there any more: change to one that is"
    if error.errno in _OF_A_PATH and error.filename is not None:
        return f"cannot use {os.fsdecode(error.filename)}: {error.strerror}"
    return None


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _describe_interrupt(command: str | None) -> str:
    """What an interruption leaves."""
    whole = ", ".join(str(path) for path in publication.published)
    if whole:
        return f"interrupted after {whole} was written: that is whole"
    return f"interrupted: {_INTERRUPTED.get(command or '', 'nothing was left under the name of the output')}"


def _log(error: BaseException) -> None:
    """The traceback, for those who ask: on standard error, or appended to the file that the variable names."""
    wanted = os.environ.get(DEBUG_VARIABLE, "")
    if wanted.lower() in ("", "0", "no", "false"):
        return
    text = "".join(traceback.format_exception(error))
    if wanted.lower() in ("1", "true", "yes"):
        typer.echo(text, err=True, nl=False)
        return
    try:
        with open(wanted, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"e2fgvi {__version__}, Python {sys.version.split()[0]}, {sys.platform}: {sys.argv}\n{text}\n")
    except OSError as problem:
        _complain(f"the log {wanted} cannot be written: {problem.strerror}")


_answered: list[BaseException] = []
"""What this process has printed a sentence for."""


def _answer(error: BaseException, command: str | None) -> int:
    """Print the sentence for whatever a command raised, remove what it left unfinished, and return the exit code."""
    _answered.append(error)
    publication.discard_unfinished()
    _log(error)
    number = error.number if isinstance(error, interrupts.Interrupted) else interrupts.received()
    if isinstance(error, KeyboardInterrupt) or number is not None:
        # Whatever follows a signal is its consequence: libraries turn interruptions into errors of their own.
        notes = getattr(error, "__notes__", None)
        _complain(f"interrupted: {notes[-1]}" if notes else _describe_interrupt(command))
        return interrupts.exit_code(number)
    code, message = _describe(error)
    _complain(message)
    return code


def _is_of_the_framework(error: BaseException) -> bool:
    """Exit, Abort and usage errors, which the framework turns into exit codes itself."""
    return any(kind.__module__.split(".")[0] in ("typer", "click") for kind in type(error).__mro__)


class _Group(TyperGroup):
    """Runs a subcommand and turns what it raises into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        publication.published.clear()
        try:
            return super().invoke(ctx)
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # also what libraries derive from it, such as the panics of Rust
            if _is_of_the_framework(error):
                raise
            raise typer.Exit(_answer(error, ctx.invoked_subcommand)) from None


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
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    if context.invoked_subcommand != "config":
        context.default_map = defaults(context)


app.command("inpaint")(inpaint)
app.command("batch")(batch)
app.command("check-env")(check_env)
app.command("benchmark")(benchmark)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("ui")(ui)
app.command("export")(export)
app.command("config")(config)
app.add_typer(mask_app, name="mask")
app.add_typer(weights_app, name="weights")
app.add_typer(train_app, name="train")


def main() -> None:
    """Entry point of the console script, once `__main__` has seen to signals and streams. Ends the process."""
    _answered.clear()
    try:
        streams.guard()
        interrupts.install()
        code = _run()
        # Nothing is left to clean up: a signal during the interpreter's own end must not make it complain.
        interrupts.leave_at_once(code)
    except BaseException as error:  # from before or after the subcommand
        code = _answer(error, None)
        interrupts.leave_at_once(code)
    sys.exit(streams.finish(code))


def _run() -> int:
    """The exit code of the command line, whose framework ends by raising."""
    try:
        app(prog_name="e2fgvi")
        code: Any = 0
    except SystemExit as end:
        code = end.code
    number = interrupts.received()
    if number is not None and not _answered:  # by the framework, while it parsed
        return _answer(interrupts.Interrupted(number), None)
    return code if isinstance(code, int) else int(code is not None)
