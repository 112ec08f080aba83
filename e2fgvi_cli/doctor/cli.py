"""`python -m e2fgvi_cli.doctor`: parses, runs, prints. `e2fgvi check-env` calls the same `main_with`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ..system.streams import finish, guard
from .checks import all_checks
from .explaining import explain_file
from .host import Host, Options
from .model import Text, say
from .pasted import LONGEST_TEXT, explain_text
from .redact import Redactor
from .render import Renderer
from .runner import run_checks, select
from .texts import LANGUAGES, choose_language, prints_chinese, render

LONGEST_TIMEOUT = 86400.0
"""Seconds: a day."""
EXIT_READY, EXIT_FAIL, EXIT_USAGE, EXIT_WARNINGS = 0, 1, 2, 3


@dataclass
class Request:
    """Everything the command line can ask for."""

    json: bool = False
    markdown: bool = False
    only: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    list_checks: bool = False
    deep: bool = False
    strict: bool = False
    timeout: float = 60.0
    redact: bool = True
    lang: str = "auto"
    net: bool = False
    static: bool = False
    device: str = "auto"
    explain: Path | None = None
    search: list[Path] = field(default_factory=list)
    error: str | None = None


DESCRIPTION = """Says what is broken, which file, and what to do: also where Python only says
"DLL load failed while importing _ext: 找不到指定的程序" (The specified procedure could not be found)."""

Printer = Callable[[Renderer, TextIO], None]


def print_plain(renderer: Renderer, out: TextIO) -> None:
    """The report without rich: colours only on a terminal that wants them."""
    colour = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    out.write(renderer.text(colour))


def main_with(
    request: Request, out: TextIO, err: TextIO, printer: Printer = print_plain, host: Host | None = None
) -> int:
    """Do what is asked and return the exit code: 0 ready, 1 a failure, 2 usage, 3 warnings under --strict."""
    speaks = prints_chinese(_encoding(out))
    language = _language(request, out, err)
    options = Options(request.device, request.deep, request.timeout, request.net)
    if not 0 < request.timeout <= LONGEST_TIMEOUT:  # also false for nan
        return _usage(
            err, f"--timeout {request.timeout:g} is no time limit: give seconds above 0, up to {LONGEST_TIMEOUT:g}"
        )
    host = host or Host.detect(options)
    host.options = options
    redactor = Redactor() if request.redact else None
    if request.error is not None or request.explain is not None:
        explain = _explain_text if request.error is not None else _explain
        return explain(request, host, language, redactor, (out, err))
    try:
        checks = select(all_checks(), request.only, request.skip)
    except ValueError as error:
        return _usage(err, str(error))
    if request.list_checks:
        out.writelines(f"{check.id:<24} {check.group:<11} {check.severity.value}\n" for check in checks)
        return EXIT_READY

    def waiting(ids: list[str]) -> None:
        err.write(render(say("report.waiting", ids=ids), language) + "\n")
        err.flush()

    with host.library:
        report = run_checks(checks, host, probes=not request.static, on_slow=waiting)
    renderer = Renderer(host, report, language, redactor, datetime.date.today())
    if request.json:
        out.write(json.dumps(renderer.json(), ensure_ascii=not speaks, indent=1) + "\n")
    elif request.markdown:
        out.write(renderer.markdown())
    else:
        printer(renderer, out)
    if not report.ready:
        return EXIT_FAIL
    return EXIT_WARNINGS if request.strict and report.warnings else EXIT_READY


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _language(request: Request, out: TextIO, err: TextIO) -> str:
    """The language of the report; says so where it is not the one asked for."""
    language = choose_language(request.lang, os.environ, "utf-8" if request.json else _encoding(out))
    if language != request.lang != "auto":
        err.write(render(say("report.no_chinese", encoding=_encoding(out)), "en") + "\n")
    return language


def _explain(
    request: Request, host: Host, language: str, redactor: Redactor | None, streams: tuple[TextIO, TextIO]
) -> int:
    out, err = streams
    path = request.explain
    assert path is not None
    missing = next((folder for folder in request.search if not folder.is_dir()), None)
    if missing is not None:
        return _usage(err, f"--search {missing} is not a folder")
    try:
        with host.library:
            lines, fixes, sound = explain_file(path, request.search, host)
    except OSError as error:
        return _usage(err, f"--explain {path} cannot be opened: {error.strerror or error}")
    name = redactor.text(str(path)) if redactor else str(path)
    _print_lines(request, {"file": name, "sound": sound}, _sentences(lines, fixes, language, redactor), out)
    return EXIT_READY if sound else EXIT_FAIL


def _explain_text(
    request: Request, host: Host, language: str, redactor: Redactor | None, streams: tuple[TextIO, TextIO]
) -> int:
    out, err = streams
    text = sys.stdin.read(LONGEST_TEXT) if request.error == "-" else request.error or ""
    if not text.strip():
        return _usage(err, "--error has no text: paste the message in quotes, or - and pipe it in")
    found = explain_text(text, host)
    fixes = [(remedy.why, remedy.command) for remedy in found.remedies]
    lines = _sentences(found.lines, fixes, language, redactor)
    _print_lines(request, {"causes": found.causes, "known": bool(found.causes)}, lines, out)
    return EXIT_READY if found.causes else EXIT_FAIL


def _sentences(lines: list[Text], fixes: list[tuple[Text, str]], language: str, redactor: Redactor | None) -> list[str]:
    texts = [render(line, language) for line in lines]
    for number, (why, command) in enumerate(fixes, 1):
        texts.append(render(say("report.fix", number=number, why=why), language))
        texts += [f"    {command}"] if command else []
    return [redactor.text(text) if redactor else text for text in texts]


def _print_lines(request: Request, head: dict[str, object], lines: list[str], out: TextIO) -> None:
    if request.json:
        escaped = not prints_chinese(_encoding(out))
        out.write(json.dumps({"schema": 1, **head, "lines": lines}, ensure_ascii=escaped, indent=1) + "\n")
    else:
        out.write("\n".join(lines) + "\n")


def _usage(err: TextIO, message: str) -> int:
    err.write(f"error: {message}\n")
    return EXIT_USAGE


def parse(arguments: list[str]) -> Request:
    """The command line of the bare interpreter. Exits with 2 on a mistake, as argparse does."""
    parser = argparse.ArgumentParser(prog="e2fgvi check-env", description=DESCRIPTION)
    parser.add_argument(
        "--json",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="one JSON object (docs/check-env.schema.json)",
    )
    parser.add_argument(
        "--markdown", action=argparse.BooleanOptionalAction, default=False, help="a folded block to paste into an issue"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="run only this check, family or group"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="ID", help="leave out this check, family or group"
    )
    parser.add_argument(
        "--list",
        dest="list_checks",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="list the checks and exit",
    )
    parser.add_argument(
        "--deep",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also compare the hashes of installed files",
    )
    parser.add_argument(
        "--strict", action=argparse.BooleanOptionalAction, default=False, help="exit with 3 if there are warnings"
    )
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="limit for each probe (default 60)")
    parser.add_argument(
        "--redact", action=argparse.BooleanOptionalAction, default=True, help="leave out user names, paths, addresses"
    )
    parser.add_argument("--lang", choices=("auto", *LANGUAGES), default="auto", help="language of the report")
    parser.add_argument(
        "--net", action=argparse.BooleanOptionalAction, default=False, help="also ask the hosts of downloadable weights"
    )
    parser.add_argument(
        "--static", action=argparse.BooleanOptionalAction, default=False, help="read files only, start no process"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="judge for this device: auto, cpu, cuda, mps")
    parser.add_argument(
        "--explain", type=Path, metavar="FILE", help="explain one .so, .pyd, .dll or .dylib of any platform"
    )
    parser.add_argument(
        "--search",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="with --explain: where its libraries are",
    )
    parser.add_argument("--error", metavar="TEXT", help="explain a pasted error text or traceback; - reads it")
    return Request(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m e2fgvi_cli.doctor`."""
    guard()
    request = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        code = main_with(request, sys.stdout, sys.stderr)
    except Exception as error:  # this is what runs where nothing else does: a line, not a traceback
        sys.stderr.write(f"error: the check itself failed, please report it: {type(error).__name__}: {error}\n")
        code = EXIT_FAIL
    return finish(code)
