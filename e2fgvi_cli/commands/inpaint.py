"""`e2fgvi inpaint`: the main job. Its options are in `inpaint_arguments`, what they mean in `inpaint_options`."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..system.arithmetic import published_environment
from ..system.cache import keep_bytecode
from ..system.driver import wake
from ..system.paths import is_pipe
from ..system.pipes import refuse_terminal, standard_input
from .grouping import grouped
from .inpaint_arguments import (
    FILL,
    OUTPUT,
    FillArguments,
    InpaintArguments,
    InputArguments,
    MaskArguments,
    OutputArguments,
    PublishedArguments,
)
from .inpaint_options import to_options
from .inpaint_view import Reporter, print_summary

if TYPE_CHECKING:
    from ..options import InpaintOptions


@grouped
def inpaint(
    source: InputArguments,
    masking: MaskArguments,
    fill: FillArguments,
    output: OutputArguments,
    published: PublishedArguments,
    plan: Annotated[
        bool, typer.Option("--plan/--no-plan", help="Print the memory plan and stop.", rich_help_panel=FILL)
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="HTML",
            help="A page: where the fill is from, what no frame shows, flicker, seam, which seconds to look at.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    preview: Annotated[
        int | None,
        typer.Option(
            "--preview-frame",
            metavar="N",
            help="Fill frame N only, as the whole run would: a PNG with source and result side by side.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json/--no-json", help="One JSON object on standard output at the end.", rich_help_panel=OUTPUT),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet/--no-quiet", "-q", help="Errors only.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Fill the masked part of a clip.

    Keeps size, frame rate, audio and everything outside the mask.

    e2fgvi inpaint --video clip.mp4 --mask masks/ --output clean.mp4
    """
    _check_pipes(output, as_json=as_json)
    with standard_input() if is_pipe(source.video) else nullcontext(source.video) as video:
        arguments = InpaintArguments(replace(source, video=video), masking, fill, output, published)
        options = replace(to_options(arguments), report=report)
        _run(options, plan, preview, given=output.output is not None, as_json=as_json, quiet=quiet)


def _check_pipes(output: OutputArguments, *, as_json: bool) -> None:
    if output.output is None or not is_pipe(output.output):
        return
    if as_json:
        raise UsageError("--json and --output - both write to standard output: give one of them a file")
    refuse_terminal("--output", 1, "writes the clip to standard output")


def _run(options: InpaintOptions, plan: bool, preview: int | None, *, given: bool, as_json: bool, quiet: bool) -> None:
    if options.windows.released:
        for name, value in published_environment().items():
            os.environ.setdefault(name, value)
    keep_bytecode()
    wake((options.devices or (options.device,))[0])
    if plan:
        from ..pipeline import describe_plan

        typer.echo("\n".join(describe_plan(options)))
        return
    if preview is not None:
        _preview(options, preview, given=given, quiet=quiet, as_json=as_json)
        return
    options.check_paths()  # the run does, too, but not before it has loaded torch
    from ..pipeline import Inpainting

    with Reporter(quiet) as reporter, Inpainting(options, on_notice=reporter.notice) as run:
        reporter.watch(lambda: run.progress)
        summary = run.finish()
    if not quiet:
        print_summary(summary)
        if options.report is not None:
            typer.echo(f"report: {options.report}", err=True)
    if as_json:
        record = {**asdict(summary), "seconds_per_frame": summary.seconds_per_frame}
        typer.echo(json.dumps(record))


def _preview(options: InpaintOptions, number: int, *, given: bool, quiet: bool, as_json: bool) -> None:
    from ..preview import preview_frame, preview_path

    target = options.output if given else preview_path(options.video, number)
    # What else a run writes is of whole clips.
    options = replace(options, output=target, frames_dir=None, comparison=None, report=None)
    with Reporter(quiet) as reporter:
        preview_frame(options, number, on_notice=reporter.notice)
    if as_json:
        typer.echo(json.dumps({"frame": number, "output": str(options.output)}))
    elif not quiet:
        typer.echo(f"Frame {number}, before and after: {options.output}")
