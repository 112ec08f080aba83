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

from .checks import all_checks
from .explaining import explain_file
from .host import Host, Options
from .model import say
from .redact import Redactor
from .render import Renderer
from .runner import run_checks, select
from .texts import LANGUAGES, choose_language, render

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


Printer = Callable[[Renderer, TextIO], None]


def print_plain(renderer: Renderer, out: TextIO) -> None:
    """The report without rich: colours only on a terminal that wants them."""
    colour = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    out.write(renderer.text(colour))


def main_with(
    request: Request, out: TextIO, err: TextIO, printer: Printer = print_plain, host: Host | None = None
) -> int:
    """Do what is asked and return the exit code: 0 ready, 1 a failure, 2 usage, 3 warnings under --strict."""
    language = choose_language(request.lang, os.environ, getattr(out, "encoding", None) or "utf-8")
    options = Options(request.device, request.deep, request.timeout, request.net)
    if request.timeout <= 0:
        return _usage(err, f"--timeout {request.timeout:g} is not a positive number of seconds")
    host = host or Host.detect(options)
    host.options = options
    redactor = Redactor() if request.redact else None
    if request.explain is not None:
        return _explain(request, host, language, redactor, (out, err))
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
        out.write(json.dumps(renderer.json(), ensure_ascii=False, indent=1) + "\n")
    elif request.markdown:
        out.write(renderer.markdown())
    else:
        printer(renderer, out)
    if not report.ready:
        return EXIT_FAIL
    return EXIT_WARNINGS if request.strict and report.warnings else EXIT_READY


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
    texts = [render(line, language) for line in lines]
    for number, (why, command) in enumerate(fixes, 1):
        texts.append(render(say("report.fix", number=number, why=why), language))
        texts += [f"    {command}"] if command else []
    clean = [redactor.text(text) if redactor else text for text in texts]
    name = redactor.text(str(path)) if redactor else str(path)
    if request.json:
        out.write(
            json.dumps({"schema": 1, "file": name, "sound": sound, "lines": clean}, ensure_ascii=False, indent=1) + "\n"
        )
    else:
        out.write("\n".join(clean) + "\n")
    return EXIT_READY if sound else EXIT_FAIL


def _usage(err: TextIO, message: str) -> int:
    err.write(f"error: {message}\n")
    return EXIT_USAGE


def parse(arguments: list[str]) -> Request:
    """The command line of the bare interpreter. Exits with 2 on a mistake, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="e2fgvi check-env", description="Says what is broken, which file, and what to do."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object (docs/check-env.schema.json)")
    parser.add_argument("--markdown", action="store_true", help="a folded block to paste into an issue")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="run only this check, family or group"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="ID", help="leave out this check, family or group"
    )
    parser.add_argument("--list", dest="list_checks", action="store_true", help="list the checks and exit")
    parser.add_argument("--deep", action="store_true", help="also compare the hashes of installed files")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if there are warnings")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="limit for each probe (default 60)")
    parser.add_argument("--no-redact", dest="redact", action="store_false", help="keep user names, paths, addresses")
    parser.add_argument("--lang", choices=("auto", *LANGUAGES), default="auto", help="language of the report")
    parser.add_argument("--net", action="store_true", help="also ask the hosts of downloadable weights")
    parser.add_argument("--static", action="store_true", help="read files only, start no process")
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
    return Request(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m e2fgvi_cli.doctor`."""
    out = sys.stdout
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="replace")
    return main_with(parse(sys.argv[1:] if arguments is None else arguments), out, sys.stderr)
