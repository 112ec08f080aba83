"""`e2fgvi check-env`: the doctor with rich output. All work is done by `e2fgvi_cli.doctor`, which needs none of
this."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from ..doctor.render import Renderer

STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red", "dim": "dim", "": ""}


def check_env(
    json: bool = typer.Option(False, "--json/--no-json", help="One JSON object, as in docs/check-env.schema.json."),
    markdown: bool = typer.Option(False, "--markdown/--no-markdown", help="A folded block to paste into an issue."),
    only: list[str] = typer.Option([], "--only", metavar="ID", help="Run only this check, family or group."),
    skip: list[str] = typer.Option([], "--skip", metavar="ID", help="Leave out this check, family or group."),
    list_: bool = typer.Option(False, "--list/--no-list", help="List the checks and exit."),
    deep: bool = typer.Option(False, "--deep/--no-deep", help="Also compare the hashes of installed files."),
    strict: bool = typer.Option(False, "--strict/--no-strict", help="Exit with 3 if there are warnings."),
    timeout: float = typer.Option(60.0, "--timeout", help="Limit for each probe, in seconds."),
    redact: bool = typer.Option(True, "--redact/--no-redact", help="Leave out user names, paths and addresses."),
    lang: str = typer.Option("auto", "--lang", help="Language of the report: auto, en or zh."),
    net: bool = typer.Option(False, "--net/--no-net", help="Also ask the hosts of downloadable weights."),
    static: bool = typer.Option(False, "--static/--no-static", help="Read files only, start no process (a second)."),
    device: str = typer.Option("auto", "--device", help="Judge for this device: auto, cpu, cuda or mps."),
    explain: Path = typer.Option(None, "--explain", help="Explain one .so, .pyd, .dll or .dylib of any platform."),
    search: list[Path] = typer.Option([], "--search", help="With --explain: a folder of its libraries. Repeatable."),
    error: str = typer.Option(
        None, "--error", metavar="TEXT", help="Explain a pasted error text or traceback; - reads it from a pipe."
    ),
) -> None:
    """Say what is broken, which file, and what to do. Works as `python -m e2fgvi_cli.doctor` when all else fails.

    Also where Python only says "DLL load failed while importing _ext: 找不到指定的程序" (The specified procedure could
    not be found).
    """
    from ..doctor.cli import EXIT_USAGE, Request, main_with
    from ..doctor.texts import LANGUAGES

    if lang not in ("auto", *LANGUAGES):
        sys.stderr.write(f"error: --lang {lang} is unknown: use auto, {' or '.join(LANGUAGES)}\n")
        raise typer.Exit(EXIT_USAGE)
    request = Request(
        json=json,
        markdown=markdown,
        only=list(only),
        skip=list(skip),
        list_checks=list_,
        deep=deep,
        strict=strict,
        timeout=timeout,
        redact=redact,
        lang=lang,
        net=net,
        static=static,
        device=device,
        explain=explain,
        search=list(search),
        error=error,
    )
    raise typer.Exit(main_with(request, sys.stdout, sys.stderr, print_rich))


def print_rich(renderer: Renderer, out: TextIO) -> None:
    """The report with rich's table and colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out, highlight=False, soft_wrap=True)
    for line in renderer.title():
        console.print(Text(line.text, STYLES[line.mood]))
    titles, rows = renderer.head()
    table = Table(*titles, show_edge=False, pad_edge=False)
    for cells, mood in rows:
        table.add_row(*(Text(cell) for cell in cells[:-1]), Text(cells[-1], STYLES[mood]))
    console.print(table)
    for line in renderer.body():
        console.print(Text(line.text, STYLES[line.mood]))
