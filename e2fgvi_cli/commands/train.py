"""`e2fgvi train`: train or fine-tune weights, and look at what came of it.

`e2fgvi train CONFIG` is short for `e2fgvi train run CONFIG`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from ..errors import UsageError
from ..system.paths import Read, Written, check_paths
from ..system.publication import replace_file
from ..weights.known import file_of

if TYPE_CHECKING:
    from ..training.config import TrainingConfig
    from ..training.loop import Event
    from ..training.manifest import Selection
    from ..training.material import Material
    from ..training.parallel import World

DEFAULT_COMMAND = "run"


class _RunByDefault(TyperGroup):
    """A first argument that is no subcommand is the configuration of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


train_app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Train or fine-tune weights: `e2fgvi train CONFIG.toml`. See docs/training.md.",
)

LONGEST = 1e7
"""Minutes or seconds of one call."""


def duration(context: typer.Context, parameter: typer.CallbackParam, value: float) -> float:
    """A time that ends: also nan and inf are floats. Raises UsageError."""
    if not 0 <= value <= LONGEST and not context.resilient_parsing:
        raise UsageError(f"{parameter.opts[0]} {value:g} is no duration: give a number from 0 to {LONGEST:g}")
    return value


CONFIG = typer.Argument(..., help="TOML file, see examples/train.", exists=False)
SET = typer.Option(
    [], "--set", metavar="KEY=VALUE", help="Override one value, e.g. --set minutes=5 --set data.root=/tmp/x"
)
DEVICE = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:N or mps.")
QUIET = typer.Option(False, "--quiet/--no-quiet", "-q", help="No progress.")


@train_app.command("run")
def run(
    config: Path = CONFIG,
    overrides: list[str] = SET,
    resume: bool = typer.Option(
        False, "--resume/--no-resume", help="Go on with the run that the configuration's folder holds."
    ),
    call_minutes: float = typer.Option(
        0.0,
        "--call-minutes",
        callback=duration,
        help="Stop and save after so many minutes of wall clock, to be resumed. 0: no limit.",
    ),
    max_steps: int = typer.Option(0, "--max-steps", help="Stop after so many steps of the run. 0: no limit."),
    profile: bool = typer.Option(
        False, "--profile/--no-profile", help="Profile three steps, write profile.txt and a trace, and stop."
    ),
    device: str = DEVICE,
    quiet: bool = QUIET,
) -> None:
    """Train. Several GPUs: torchrun --nproc_per_node N -m e2fgvi_cli train CONFIG."""
    from ..training.manifest import check_run_paths

    settings, world, material, licences = _prepare(config, overrides, device, quiet, check_run_paths)

    from ..training.loop import Trainer

    with _Reporter(quiet or not world.leads) as report:
        try:
            trainer = Trainer(settings, material, world, licences=licences, report=report)
            if world.leads:
                trainer.folder.create(settings, resume=resume)
            if world.leads and not quiet:
                typer.echo(f"all files of this run go into {trainer.folder.path.resolve()}", err=True)
            if resume:
                trainer.resume()
            if profile:
                from ..training.benchmark import profiled

                steps = trainer.progress.step
                with profiled(trainer.folder.path / "profile", world.device) as after_step:
                    for i in range(1, 6):
                        trainer.run(max_steps=steps + i, keep=False)
                        after_step()
                typer.echo(str(trainer.folder.path / "profile.txt"))
            else:
                trainer.run(call_seconds=call_minutes * 60 or None, max_steps=max_steps or None)
        finally:
            world.leave()


@train_app.command("files")
def files(
    config: Path = CONFIG,
    overrides: list[str] = SET,
    licences: bool = typer.Option(
        False, "--licences/--no-licences", help="Count the files under each licence instead."
    ),
) -> None:
    """The files a run would use, one a line: for packing them, or to see under which licences they are."""
    from ..training.config import read_config
    from ..training.manifest import select

    selection = select(read_config(config, tuple(overrides)))
    for notice in selection.notices:
        typer.echo(notice, err=True)
    if licences:
        for licence, count in selection.licences.items():
            typer.echo(f"{count:5} {licence}")
        return
    for item in (*selection.training, *selection.validation):
        typer.echo(str(item.path))


@train_app.command("benchmark")
def benchmark(
    config: Path = CONFIG,
    overrides: list[str] = SET,
    seconds: float = typer.Option(5.0, "--seconds", callback=duration, help="Time for each variant after its warm-up."),
    only: list[str] = typer.Option([], "--only", help="Only variants whose name contains this text."),
    phase: str = typer.Option("", "--phase", help="Only the phase of this name."),
    output: Path = typer.Option(None, "--output", "-o", help="Also write the figures as JSON."),
    device: str = DEVICE,
    quiet: bool = QUIET,
) -> None:
    """Samples a second under each speed switch, in each phase of CONFIG: measured here, now."""
    from ..training.manifest import inputs_of

    def check(settings: TrainingConfig, file: Path, selection: Selection) -> None:
        if output is not None:
            check_paths([Written("--output", output)], inputs_of(settings, file, selection))

    settings, world, material, _ = _prepare(config, overrides, device, quiet, check)

    from ..training.benchmark import Measurement
    from ..training.benchmark import run as measure_all

    names = [p.name for p in settings.phase]
    if phase and phase not in names:
        raise UsageError(f"{config} has no phase {phase!r}: its phases are {', '.join(names)}")
    if phase:
        settings = replace(settings, phase=tuple(p for p in settings.phase if p.name == phase))
    typer.echo(f"{'phase':12}{'samples/s':>10}{'s/step':>9}{'s/batch':>9}{'prepare s':>11}{'GiB':>7}  variant")

    def show(m: Measurement) -> None:
        figures = f"{m.samples_per_second:10.2f}{m.step:9.4f}{m.batch:9.4f}{m.prepare:11.1f}{m.peak_gib:7.2f}"
        typer.echo(f"{m.phase:12}{figures}  {m.variant}" + (f"  FAILED: {m.failure}" if m.failure else ""))

    results = measure_all(settings, material, world, seconds=seconds, only=tuple(only), on_result=show)
    if output is not None:
        replace_file(output, json.dumps([vars(m) for m in results], indent=2))


@train_app.command("plot")
def plot(run: Path = typer.Argument(..., help="Folder of a run.")) -> None:
    """Draw a run's curves: curves.html and curves.png in its folder."""
    from ..training.plot import plot as draw

    for path in draw(run):
        typer.echo(str(path))


@train_app.command("export")
def export(
    run: Path = typer.Argument(..., help="Folder of a run."),
    output: Path = typer.Option(..., "--output", "-o", help="Weights file to write, .safetensors."),
    licence: str = typer.Option("not stated", "--licence", help="Licence you give the weights; goes into the file."),
    float32: bool = typer.Option(
        False, "--float32/--no-float32", help="Store in 32 bits (164 MB) instead of 8 (42 MB)."
    ),
) -> None:
    """The moving average of a run's last state as weights for `e2fgvi inpaint --weights`."""
    from ..training.manifest import RUN_FILES

    check_paths([Written("--output", output)], [Read("the run's file", run / name) for name in RUN_FILES])
    from ..training.export import export_run

    summary = export_run(run, output, licence=licence, eight_bit=not float32)
    typer.echo(f"{output}: {summary['steps']} steps, {summary['minutes']} minutes")


@train_app.command("average")
def average(
    weights: list[Path] = typer.Argument(..., help="Weights of two or more runs that began with the same ones."),
    output: Path = typer.Option(..., "--output", "-o", help="Weights file to write, .safetensors."),
    licence: str = typer.Option("", "--licence", help="Licence you give the mean; default: what the files say."),
) -> None:
    """The mean of several runs' weights as one file: often better than each of them ("model soup")."""
    check_paths([Written("--output", output)], [Read("one of the weights", file) for file in weights])
    from ..training.export import average_weights

    average_weights(weights, output, licence)
    typer.echo(f"{output}: the mean of {len(weights)} files")


@train_app.command("evaluate")
def evaluate(
    clips: Path = typer.Argument(
        ..., help="Folder that holds NAME/frames and NAME/still, NAME/drifting for each clip."
    ),
    weights: str = typer.Option("open", "--weights", help="Known name or file."),
    kinds: list[str] = typer.Option(["still", "drifting"], "--holes", help="Folders of masks to score."),
    only: list[str] = typer.Option([], "--clip", help="Only this clip (may be given again)."),
    frames: int = typer.Option(0, "--frames", help="Only so many frames of each clip. 0: all."),
    neighbor_stride: int = typer.Option(5, "--neighbor-stride", min=1, help="As in inpaint."),
    reference_stride: int = typer.Option(10, "--reference-stride", min=1, help="As in inpaint."),
    max_references: int = typer.Option(6, "--max-references", help="As in inpaint."),
    image_propagation: bool = typer.Option(
        False,
        "--image-propagation/--no-image-propagation",
        help="Score what inpaint makes of it, not the weights alone.",
    ),
    baselines: bool = typer.Option(True, help="Also score Telea's fill and the temporal median."),
    output: Path = typer.Option(None, "--output", "-o", help="Also write all figures as JSON."),
    sheets: Path = typer.Option(None, "--sheets", help="Also write a picture a clip into this folder."),
    precision: str = typer.Option("fp32", "--precision", help="As in inpaint: fp32, tf32, fp16, bf16 or auto."),
    device: str = DEVICE,
) -> None:
    """Score weights on clips with known holes, through the sliding window of `inpaint`: the project's yardstick."""
    written = [("--output", output), ("the pictures of --sheets", None if sheets is None else sheets / "sheet.png")]
    read = [("the weights file", file_of(weights)), *(("the clips", folder) for folder in clips.glob("*/*"))]
    check_paths([Written(n, p) for n, p in written if p is not None], [Read(n, p) for n, p in read if p is not None])

    from ..engine import EngineSettings, build_engine, choose_deform, choose_precision, read_weights, select_device
    from ..engine.assembly import lookup_for
    from ..fill.options import SmoothingOptions, WindowOptions
    from ..propagation.options import PropagationOptions
    from ..training.evaluate import evaluate as score
    from ..training.evaluate_report import SheetWriter, table
    from ..weights.known import resolve

    chosen = select_device(device)
    options = WindowOptions(
        neighbor_stride=neighbor_stride,
        reference_stride=reference_stride,
        max_references=max_references,
        propagation=PropagationOptions() if image_propagation else None,
        smoothing=SmoothingOptions() if image_propagation else None,
    )
    lookup, notice = lookup_for(options, chosen)  # on a device other pixels are found than by OpenCV
    if notice is not None:
        typer.echo(notice, err=True)
    settings = EngineSettings(choose_precision(precision, chosen), lookup=lookup)
    deform = choose_deform("auto", chosen, prefer_torch=True)
    engine = build_engine(read_weights(resolve(weights)), chosen, deform, settings)
    result = score(
        engine,
        clips,
        kinds=kinds,
        clips=only,
        frames=frames or None,
        options=options,
        baselines=baselines,
        on_fill=SheetWriter(sheets) if sheets is not None else None,
        on_score=lambda method, kind, clip, s: typer.echo(
            f"{kind} {clip} {method} " + ("no hole" if s.hole_psnr is None else f"{s.hole_psnr:.2f} dB"), err=True
        ),
    )
    typer.echo(table(result))
    if output is not None:
        replace_file(output, json.dumps({"weights": weights, **result.as_dict()}, indent=2))


def _prepare(
    config: Path,
    overrides: list[str],
    device: str,
    quiet: bool,
    check: Callable[[TrainingConfig, Path, Selection], None],
) -> tuple[TrainingConfig, World, Material, dict[str, int]]:
    """Read the configuration, choose the device, decode the material. Cheap mistakes are found before torch is
    loaded."""
    from ..training.config import read_config
    from ..training.manifest import select

    settings = read_config(config, tuple(overrides))
    selection = select(settings)
    check(settings, config, selection)

    from ..training.material import load_material
    from ..training.parallel import join_world

    world = join_world(device)
    say: Callable[[str], None] = (
        (lambda text: typer.echo(text, err=True)) if world.leads and not quiet else (lambda _: None)
    )
    for notice in selection.notices:
        say(notice)
    material = load_material(selection, settings, world.device, say)
    say(material.summary())
    return settings, world, material, selection.licences


class _Reporter:
    """Events of a run on standard error: lines, and under them a bar if a person is watching."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _Reporter:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("training"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("training", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if self._bar is None:
            typer.echo(event.message, err=True)
            return
        self._bar.update(self._task, completed=event.fraction)
        self._bar.console.print(event.message, highlight=False)
