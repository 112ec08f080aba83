"""`e2fgvi evaluate`: scores of clips whose truth is known."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import EXIT_FAILED, UsageError
from ..system.paths import Read, Written, check_paths
from ..weights.known import file_of

if TYPE_CHECKING:
    from ..evaluation.settings import Settings

DATA, HOW, OUT = "Clips and masks", "What is scored", "Output"


def evaluate(
    dataset: Path = typer.Argument(
        None, help="Folder of clips: JPEGImages/480p/NAME/*.jpg (DAVIS), NAME/frames/*, NAME/video.mp4 or NAME/*.jpg."
    ),
    protocol: str = typer.Option(
        "own", metavar="own|e2fgvi-432", help="Frames as they are, or the published way.", rich_help_panel=DATA
    ),
    masks: list[str] = typer.Option(
        ["seed:2026"],
        "--masks",
        metavar="seed:N[:KINDS]|FOLDER",
        help="Drawn from a seed (still, moving, object, caption, joined by +), FOLDER/CLIP, or a folder in each clip; "
        "may be repeated.",
        rich_help_panel=DATA,
    ),
    mask_dilation: str = typer.Option(
        "0px",
        "--mask-dilation",
        metavar="SIZE",
        help="Grow the masks of folders, as in inpaint; drawn ones stay.",
        rich_help_panel=DATA,
    ),
    clips: str = typer.Option(None, metavar="A,B", help="Only these clips.", rich_help_panel=DATA),
    limit_frames: int = typer.Option(
        None, "--limit-frames", min=1, help="Only so many frames of each clip.", rich_help_panel=DATA
    ),
    size: str = typer.Option(None, metavar="WxH", help="Scale the frames first.", rich_help_panel=DATA),
    methods: str = typer.Option(
        None,
        metavar="A,B",
        help="network, propagated, median, telea (default: all; with --results: none).",
        rich_help_panel=HOW,
    ),
    results: Path = typer.Option(
        None, metavar="DIR", help="Score another program's pictures: DIR/KIND/CLIP or DIR/CLIP.", rich_help_panel=HOW
    ),
    results_name: str = typer.Option(
        "", "--results-name", help="What to call it (default: the folder's name).", rich_help_panel=HOW
    ),
    weights: str = typer.Option("open", "--weights", "-c", help="A known name or a file.", rich_help_panel=HOW),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=HOW),
    precision: str = typer.Option("auto", help="auto, fp32, tf32, fp16 or bf16.", rich_help_panel=HOW),
    threads: int = typer.Option(None, help="CPU threads (default: all cores).", rich_help_panel=HOW),
    i3d: Path = typer.Option(
        None, metavar="FILE", help="Weights of I3D (a PyTorch state dictionary): also VFID.", rich_help_panel=HOW
    ),
    output: Path = typer.Option(
        None, "--output", "-o", help="Folder (default results/evaluate_NAME).", rich_help_panel=OUT
    ),
    html_file: Path = typer.Option(
        None,
        "--html",
        metavar="FILE",
        help="Also one page: worst clips first, pictures, error maps, graphs.",
        rich_help_panel=OUT,
    ),
    resume: bool = typer.Option(
        False, "--resume/--no-resume", help="Go on with what the folder holds.", rich_help_panel=OUT
    ),
    overwrite: bool = typer.Option(
        False,
        "--overwrite/--no-overwrite",
        help="Begin anew in a folder that holds an evaluation.",
        rich_help_panel=OUT,
    ),
    self_check: bool = typer.Option(
        False,
        "--self-check/--no-self-check",
        help="Only measure a stored clip and compare with the numbers it must give.",
        rich_help_panel=HOW,
    ),
    quiet: bool = typer.Option(False, "--quiet/--no-quiet", "-q", help="Errors only.", rich_help_panel=OUT),
) -> None:
    """Score the network, or another program, on clips whose truth is known. One command gives a table to cite.

    e2fgvi evaluate DAVIS --masks seed:2026 -o davis
    """
    from ..evaluation.settings import Settings

    if self_check:
        _check_itself()
        return
    if dataset is None:
        raise UsageError("the folder of clips is missing: e2fgvi evaluate FOLDER, or --self-check")
    settings = Settings(
        dataset=dataset,
        protocol=protocol,
        masks=tuple(masks),
        mask_dilation=mask_dilation,
        methods=tuple(_names(methods)),
        results=results,
        results_name=results_name,
        clips=tuple(_names(clips)),
        limit=limit_frames,
        size=_parse_size(size),
        weights=weights,
        device=device,
        precision=precision,
        threads=threads,
        i3d=i3d,
    )
    folder = output or Path("results") / f"evaluate_{dataset.resolve().name}"
    earlier = _start(folder, settings, html_file, resume=resume, overwrite=overwrite)

    from ..evaluation.run import Evaluation
    from ..evaluation.run import evaluate as score
    from ..evaluation.tables import markdown, write_folder

    def say(sentence: str) -> None:
        if not quiet:
            typer.echo(sentence, err=True)

    def keep(found: Evaluation) -> None:
        write_folder(folder, found.as_record())

    album = None
    if html_file is not None:
        from ..evaluation.album import Album

        album = Album(folder, [] if earlier is None else earlier["cases"])
    command = shlex.join(["e2fgvi", *sys.argv[1:]])
    found = score(
        settings, command, earlier=earlier, watch=None if album is None else album.watch, on_case=keep, on_message=say
    )
    record = found.as_record()
    write_folder(folder, record)
    if html_file is not None:
        from ..evaluation.pages import render
        from ..evaluation.tables import write_page

        write_page(html_file, render(record, folder))
    if not quiet:
        typer.echo(markdown(record), nl=False)
    say(f"written: {folder}" + ("" if html_file is None else f", {html_file}"))


def _start(
    folder: Path, settings: Settings, html_file: Path | None, *, resume: bool, overwrite: bool
) -> dict[str, Any] | None:
    """What an earlier run left, where it is asked for. Raises before anything heavy is loaded."""
    from ..evaluation.settings import RECORD, check_output

    read = [("the data set", settings.dataset), ("the results", settings.results), ("I3D's weights", settings.i3d)]
    read += [("the weights file", file_of(settings.weights))]
    written = [Written("--output", folder, True)]
    if html_file is not None:
        if html_file.is_dir() or not html_file.absolute().parent.is_dir():
            raise UsageError(f"--html {html_file}: give the name of a file in a folder that exists")
        written.append(Written("--html", html_file))
    check_paths(written, [Read(n, p) for n, p in read if p is not None])
    exists = check_output(folder, resume=resume, overwrite=overwrite)
    if not (resume and exists):
        return None
    from ..evaluation.tables import read_record

    return read_record(folder / RECORD)


def _check_itself() -> None:
    """Print each figure beside what it must be; ends with exit code 1 where one is wrong."""
    from ..evaluation.self_check import self_check
    from ..quality.temporal import flow_name

    found = self_check()
    for one in found:
        verdict = "right" if one.right else "WRONG"
        typer.echo(f"{one.name:15} {one.found:12.6f}  expected {one.expected:12.6f}  {verdict}")
    typer.echo(f"flow: {flow_name()}")
    if not all(one.right for one in found):
        raise typer.Exit(EXIT_FAILED)


def _names(text: str | None) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def _parse_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of WxH."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdecimal() and int(p) for p in parts):
        raise UsageError(f"--size {text!r} is no size: write width x height, such as 432x240")
    return int(parts[1]), int(parts[0])
