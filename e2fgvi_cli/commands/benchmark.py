"""`e2fgvi benchmark`: how fast the program is here, and in how much memory."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UsageError
from ..system.paths import Read, Written, check_paths
from ..weights.known import file_of

if TYPE_CHECKING:
    from ..bench.results import Benchmark

CLIPS, HOW, MEASURE, OUT = "Clips", "Running", "Measuring", "Output"


def benchmark(
    sizes: str = typer.Option(
        None,
        "--sizes",
        metavar="WxH,..",
        help="Frame sizes (default 432x240; of a clip: its own).",
        rich_help_panel=CLIPS,
    ),
    frames: int = typer.Option(None, help="Frames of a synthetic clip (default 30).", rich_help_panel=CLIPS),
    hole: float = typer.Option(
        None,
        metavar="SHARE",
        help="Share of each synthetic frame that is missing (default 0.1).",
        rich_help_panel=CLIPS,
    ),
    video: Path = typer.Option(
        None, "--video", "-v", help="Measure on this clip, decoding and encoding included.", rich_help_panel=CLIPS
    ),
    mask: Path = typer.Option(None, "--mask", "-m", help="Its mask, as in inpaint.", rich_help_panel=CLIPS),
    precision: str = typer.Option(
        "auto", metavar="A,B", help="auto, fp32, tf32, fp16, bf16; several with commas.", rich_help_panel=HOW
    ),
    deform: str = typer.Option("auto", help="Deformable convolution, as in inpaint.", rich_help_panel=HOW),
    device: str = typer.Option(None, help="auto, cpu, cuda, cuda:N or mps (default auto).", rich_help_panel=HOW),
    devices: str = typer.Option(
        None, metavar="A,B", help="Several: also all of them together, end to end.", rich_help_panel=HOW
    ),
    full_frame: bool = typer.Option(
        False,
        "--full-frame/--no-full-frame",
        help="Compute whole frames instead of crops around the holes.",
        rich_help_panel=HOW,
    ),
    image_propagation: bool = typer.Option(
        True,
        "--image-propagation/--no-image-propagation",
        help="Also what other frames show, and smoothing along time, as inpaint has them; off: the network alone.",
        rich_help_panel=HOW,
    ),
    max_memory: str = typer.Option("auto", metavar="auto|SIZE", help="As in inpaint.", rich_help_panel=HOW),
    compile: bool = typer.Option(False, "--compile/--no-compile", help="As in inpaint.", rich_help_panel=HOW),
    threads: int = typer.Option(None, help="CPU threads (default: all cores).", rich_help_panel=HOW),
    weights: str = typer.Option("open", "--weights", "-c", help="A known name or a file.", rich_help_panel=HOW),
    against: str = typer.Option(
        None,
        metavar="released",
        help="Also measure the published way of working, and give the ratio.",
        rich_help_panel=MEASURE,
    ),
    mode: str = typer.Option(
        "both",
        metavar="engine|end-to-end|both|process",
        help="From memory, from file to file, or both; process: inpaint as a command, start and all, first and later "
        "runs, on JPEG frames of a hand-held camera or your clip.",
        rich_help_panel=MEASURE,
    ),
    repeats: int = typer.Option(3, help="Runs that count; one before them does not.", rich_help_panel=MEASURE),
    check: bool = typer.Option(
        None,
        "--check/--no-check",
        help="Compare filled pixels with float32 (default: small clips).",
        rich_help_panel=MEASURE,
    ),
    stages: bool = typer.Option(True, "--stages/--no-stages", help="Also time each stage.", rich_help_panel=MEASURE),
    json_file: Path = typer.Option(None, "--json", metavar="FILE", help="All figures as JSON.", rich_help_panel=OUT),
    html_file: Path = typer.Option(None, "--html", metavar="FILE", help="A page with diagrams.", rich_help_panel=OUT),
    quiet: bool = typer.Option(
        False, "--quiet/--no-quiet", "-q", help="No progress and no table.", rich_help_panel=OUT
    ),
) -> None:
    """Measure speed and memory on this machine, with synthetic clips or your own.

    Ratios are of one and the same run: e2fgvi benchmark --sizes 432x240 --against released --html report.html
    """
    from ..bench.report import check_target
    from ..bench.request import Request
    from ..bench.session import run_benchmark

    if device is not None and devices is not None:
        raise UsageError(f"--device {device} and --devices {devices}: give one of them")
    reports = [("--json", json_file), ("--html", html_file)]
    inputs = [("the input", video), ("the mask", mask), ("the weights file", file_of(weights))]
    check_paths([Written(n, p) for n, p in reports if p is not None], [Read(n, p) for n, p in inputs if p is not None])
    for path in (json_file, html_file):
        if path is not None:
            check_target(path)
    request = Request(
        sizes=_parse_sizes(sizes),
        frames=frames,
        precisions=tuple(dict.fromkeys(_names(precision))),
        deform=deform,
        devices=tuple(dict.fromkeys(_names(devices or device or "auto"))),
        weights=weights,
        against=against,
        video=video,
        mask=mask,
        mode=mode,
        full_frame=full_frame,
        image_propagation=image_propagation,
        hole=hole,
        repeats=repeats,
        check=check,
        stages=stages,
        max_memory=max_memory,
        compile=compile,
        threads=threads,
    )

    def say(sentence: str) -> None:
        if not quiet:
            typer.echo(sentence, err=True)

    def keep(found: Benchmark) -> None:
        """Written after every case: a run that is cut short has its figures."""
        _write(found, json_file, html_file)

    command = shlex.join(["e2fgvi", *sys.argv[1:]])
    found = run_benchmark(request, command, on_message=say, on_result=keep)
    if not quiet:
        from ..bench.report import print_report
        from ..bench.sections import speed_sections

        print_report(speed_sections(found))
    for path in (json_file, html_file):
        if path is not None:
            say(f"written: {path}")
    failures = [case.failure for case in found.cases if case.failure is not None]
    if len(failures) == len(found.cases):
        raise typer.Exit(failures[0].exit_code)


def _write(found: Benchmark, json_file: Path | None, html_file: Path | None) -> None:
    from ..bench.report import render_html, to_json, write_report
    from ..bench.sections import speed_sections

    if json_file is not None:
        write_report(json_file, to_json(found.as_record()))
    if html_file is not None:
        write_report(html_file, render_html("e2fgvi benchmark", speed_sections(found)))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _parse_sizes(text: str | None) -> tuple[tuple[int, int], ...]:
    """(height, width) of each WxH."""
    found = []
    for name in _names(text or ""):
        parts = name.lower().split("x")
        if len(parts) != 2 or not all(p.isascii() and p.isdecimal() and int(p) for p in parts):
            raise UsageError(f"--sizes {name!r} is no size: write width x height, such as 432x240,864x480")
        found.append((int(parts[1]), int(parts[0])))
    if text is not None and not found:
        raise UsageError(f"--sizes {text!r} names no size: write width x height, such as 432x240,864x480")
    return tuple(dict.fromkeys(found))
