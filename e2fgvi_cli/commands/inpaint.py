"""`e2fgvi inpaint`: the main job."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import UsageError
from .inpaint_view import Reporter, print_summary

if TYPE_CHECKING:
    from ..options import InpaintOptions

INPUT, WHAT, FILL, OUT, PUBLISHED = "Input", "Mask", "Filling", "Output", "Names of the published program"


def inpaint(
    video: Path = typer.Option(
        ..., "--video", "-v", help="Folder of frames, or any video file.", rich_help_panel=INPUT
    ),
    mask: Path = typer.Option(
        None,
        "--mask",
        "-m",
        help="What to remove, white: a folder, one image for all frames, or a video.",
        rich_help_panel=INPUT,
    ),
    size: str = typer.Option(
        None, "--size", metavar="WxH", help="Resize the frames first (default: never).", rich_help_panel=INPUT
    ),
    reference: Path = typer.Option(
        None,
        "--reference",
        help="The true background, if you have it: prints PSNR and SSIM in the hole.",
        rich_help_panel=INPUT,
    ),
    mask_threshold: int = typer.Option(
        None, help="Levels above this are hole, 0-254 (default 127).", rich_help_panel=WHAT
    ),
    mask_dilation: str = typer.Option(
        None,
        metavar="SIZE",
        help="Grow the hole: pixels (4px), percent of the height (1%) or auto (default: 4px up to 480 lines, more above; small gaps closed).",
        rich_help_panel=WHAT,
    ),
    mask_feather: float = typer.Option(
        None, help="Fade the fill out over so many pixels around the hole.", rich_help_panel=WHAT
    ),
    mask_invert: bool = typer.Option(
        False, "--mask-invert/--no-mask-invert", help="Black is the hole.", rich_help_panel=WHAT
    ),
    mask_union: int = typer.Option(
        None, help="A hole also covers those of N frames before and after.", rich_help_panel=WHAT
    ),
    grow_gaps: bool = typer.Option(
        None,
        "--grow-gaps/--no-grow-gaps",
        help="Frames without a mask get one between those before and after.",
        rich_help_panel=WHAT,
    ),
    mask_ids: str = typer.Option(
        None, metavar="IDS", help="Objects of palette or id images, such as 1,3.", rich_help_panel=WHAT
    ),
    mask_box: list[str] = typer.Option(
        [], metavar="X,Y,W,H[@A-B]", help="A rectangle, for frames A to B; may be repeated.", rich_help_panel=WHAT
    ),
    mask_polygon: list[str] = typer.Option(
        [], metavar='"X,Y X,Y ..[@A-B]"', help="A polygon, for frames A to B; may be repeated.", rich_help_panel=WHAT
    ),
    weights: str = typer.Option(
        "open",
        "--weights",
        "--ckpt",
        "-c",
        help="A known name (`e2fgvi weights list`) or a file.",
        rich_help_panel=FILL,
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=FILL),
    devices: str = typer.Option(
        None, metavar="A,B", help="Several devices, such as cuda:0,cuda:1: each fills its share.", rich_help_panel=FILL
    ),
    deform: str = typer.Option(
        "auto", help="Deformable convolution: auto, torchvision, mmcv, torch, approximate.", rich_help_panel=FILL
    ),
    precision: str = typer.Option(
        "auto",
        help="auto, fp32, tf32, fp16 or bf16 (auto: fp16 on NVIDIA GPUs, bf16 on CPUs made for it, fp32 elsewhere).",
        rich_help_panel=FILL,
    ),
    max_memory: str = typer.Option(
        "auto", metavar="auto|SIZE", help="Use at most so much memory, such as 8GiB.", rich_help_panel=FILL
    ),
    plan: bool = typer.Option(False, "--plan/--no-plan", help="Print the memory plan and stop.", rich_help_panel=FILL),
    full_frame: bool = typer.Option(
        False,
        "--full-frame/--no-full-frame",
        help="Compute whole frames instead of crops around the holes.",
        rich_help_panel=FILL,
    ),
    crop_margin: int = typer.Option(
        None, metavar="PIXELS", help="Context around the holes, for the crops.", rich_help_panel=FILL
    ),
    compile: bool = typer.Option(
        False,
        "--compile/--no-compile",
        help="Compile the network first: a minute or more; no gain was measured.",
        rich_help_panel=FILL,
    ),
    threads: int = typer.Option(None, help="CPU threads (default: all cores).", rich_help_panel=FILL),
    neighbor_stride: int = typer.Option(
        5, "--neighbor-stride", "--neighbor_stride", help="Window hop and radius, in frames.", rich_help_panel=FILL
    ),
    reference_stride: int = typer.Option(
        10, "--reference-stride", "--step", help="Distance of reference frames.", rich_help_panel=FILL
    ),
    max_references: str = typer.Option(
        None,
        "--max-references",
        "--num_ref",
        metavar="N|all",
        help="Reference frames a window (default 6).",
        rich_help_panel=FILL,
    ),
    image_propagation: bool = typer.Option(
        True,
        "--image-propagation/--no-image-propagation",
        help="Take from other frames what they show of the hole; off: all by the network.",
        rich_help_panel=FILL,
    ),
    cuts: bool = typer.Option(True, "--cuts/--no-cuts", help="Detect shots and keep them apart.", rich_help_panel=FILL),
    compat: str = typer.Option(
        None,
        metavar="released",
        help="Compute exactly as the published program, defects included.",
        rich_help_panel=FILL,
    ),
    output: Path = typer.Option(
        None,
        "--output",
        "-o",
        help="Video file or folder of frames (default results/NAME_inpainted.mp4).",
        rich_help_panel=OUT,
    ),
    save_frames: Path = typer.Option(
        None, metavar="DIR", help="Also write every frame as an image.", rich_help_panel=OUT
    ),
    codec: str = typer.Option("auto", help="auto, h264, h265, prores, ffv1, vp9, av1 or png.", rich_help_panel=OUT),
    crf: int = typer.Option(None, help="Quality of h264, h265, vp9, av1: lower is better.", rich_help_panel=OUT),
    bitrate: str = typer.Option(
        None, metavar="match|BITS", help="As the source, or bits a second.", rich_help_panel=OUT
    ),
    lossless: bool = typer.Option(False, "--lossless/--no-lossless", help="Encode without loss.", rich_help_panel=OUT),
    container: str = typer.Option(
        None, help="mp4, mov, mkv, webm or avi (default: by the suffix).", rich_help_panel=OUT
    ),
    compare: str = typer.Option(
        None,
        metavar="side|split|wipe",
        help="Also write a before/after video, OUTPUT_compare.mp4.",
        rich_help_panel=OUT,
    ),
    sheet: Path = typer.Option(
        None, metavar="PNG", help="A picture of some frames: source, mask, result.", rich_help_panel=OUT
    ),
    gif: Path = typer.Option(None, metavar="GIF", help="A small before/after loop.", rich_help_panel=OUT),
    verify: bool = typer.Option(
        False, "--verify/--no-verify", help="Re-read the output and compare it outside the hole.", rich_help_panel=OUT
    ),
    overwrite: bool = typer.Option(
        False, "--overwrite/--no-overwrite", help="Replace an existing output.", rich_help_panel=OUT
    ),
    as_json: bool = typer.Option(
        False, "--json/--no-json", help="One JSON object on standard output at the end.", rich_help_panel=OUT
    ),
    quiet: bool = typer.Option(False, "--quiet/--no-quiet", "-q", help="Errors only.", rich_help_panel=OUT),
    model: str = typer.Option("e2fgvi_hq", "--model", help="e2fgvi_hq.", rich_help_panel=PUBLISHED),
    savefps: str = typer.Option(
        None,
        "--savefps",
        metavar="FPS",
        help="Output rate instead of the source's (also 30000/1001).",
        rich_help_panel=PUBLISHED,
    ),
    set_size: bool = typer.Option(False, "--set_size/--no-set_size", hidden=True),
    width: int = typer.Option(None, "--width", hidden=True),
    height: int = typer.Option(None, "--height", hidden=True),
) -> None:
    """Fill the masked part of a clip.

    Keeps size, frame rate, audio and everything outside the mask.

    e2fgvi inpaint --video clip.mp4 --mask masks/ --output clean.mp4
    """
    values = {k: v for k, v in locals().items() if k not in ("as_json", "quiet", "plan")}
    if model != "e2fgvi_hq":
        raise UsageError(_explain_model(model))
    if compat == "released":
        _pin_cpu_arithmetic()
    options = options_from(values)
    if plan:
        from ..pipeline import describe_plan

        typer.echo("\n".join(describe_plan(options)))
        return
    options.check_paths()  # the run does, too, but not before it has loaded torch
    from ..pipeline import inpaint as run

    with Reporter(quiet) as reporter:
        summary = run(options, on_progress=reporter.progress, on_notice=reporter.notice)
    if not quiet:
        print_summary(summary)
    if as_json:
        record = {**asdict(summary), "seconds_per_frame": summary.seconds_per_frame}
        typer.echo(json.dumps(record))


def _explain_model(model: str) -> str:
    if model == "e2fgvi":
        return "--model e2fgvi is the network fixed to 432x240; this program runs e2fgvi_hq, which takes any size: drop --model"
    return f"--model {model!r} is unknown: this program runs e2fgvi_hq"


def _pin_cpu_arithmetic() -> None:
    """Use AVX2 kernels on every x86 CPU, as the reference figures did. Only works before torch is imported.

    Recurrent propagation amplifies float32 rounding (1.8x a frame with random weights), so results of wider vector units
    differ by whole levels after ten frames: docs/decisions/0003-parity-and-rounding.md.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


def options_from(given: dict[str, Any]) -> InpaintOptions:
    """Command-line values, by parameter name, as one checked `InpaintOptions`. `batch` parses its manifest values with it too."""
    from ..fill.options import WindowOptions
    from ..options import InpaintOptions, default_output
    from ..propagation.options import PropagationOptions
    from ..video import OutputOptions

    released = _is_released(given)
    output = given["output"] or default_output(given["video"])
    references = _parse_references(given["max_references"], default=None if released else WindowOptions.max_references)
    return InpaintOptions(
        video=given["video"],
        mask=given["mask"],
        output=output,
        frames_dir=given["save_frames"],
        weights=given["weights"],
        device=given["device"],
        deform=given["deform"],
        precision=given["precision"],
        max_memory=given["max_memory"],
        compile=given["compile"],
        devices=_parse_devices(given["devices"]),
        threads=given["threads"],
        windows=WindowOptions(
            given["neighbor_stride"],
            given["reference_stride"],
            references,
            released,
            _crop_options(given),
            PropagationOptions() if given["image_propagation"] and not released else None,
        ),
        masking=_mask_options(given, released),
        encoding=OutputOptions(
            codec=given["codec"],
            crf=given["crf"],
            bitrate=_parse_bitrate(given["bitrate"]),
            lossless=given["lossless"],
            container=given["container"],
            frame_rate=_parse_rate(given["savefps"]),
            overwrite=given["overwrite"],
        ),
        size=_parse_size(given),
        detect_cuts=given["cuts"] and not released,
        reference=given["reference"],
        comparison=_comparison(given, output),
        verify=given["verify"],
    )


def _crop_options(given: dict[str, Any]) -> Any:
    from ..fill.crops import CropOptions

    if given["full_frame"]:
        if given["crop_margin"] is not None:
            raise UsageError("--full-frame knows no crops: drop --crop-margin")
        return CropOptions(enabled=False)
    return CropOptions() if given["crop_margin"] is None else CropOptions(margin=given["crop_margin"])


def _parse_devices(text: str | None) -> tuple[str, ...]:
    names = tuple(part.strip() for part in (text or "").split(",")) if text is not None else ()
    if any(not name for name in names):
        raise UsageError(f"--devices {text!r} has an empty name: write them like cuda:0,cuda:1")
    return names


def _comparison(given: dict[str, Any], output: Path) -> Any:
    from ..comparison import ComparisonOptions

    if not (given["compare"] or given["sheet"] or given["gif"]):
        return None
    film = output.with_name(f"{output.stem}_compare.mp4") if given["compare"] else None
    return ComparisonOptions(
        video=film,
        mode=given["compare"] or "side",
        sheet=given["sheet"],
        gif=given["gif"],
        overwrite=given["overwrite"],
    )


_FIXED_BY_COMPAT = ("mask_threshold", "mask_dilation", "mask_feather", "mask_union", "mask_ids", "grow_gaps")


def _is_released(given: dict[str, Any]) -> bool:
    if given["compat"] is None:
        return False
    if given["compat"] != "released":
        raise UsageError(f"--compat {given['compat']!r} is unknown: the only one is released")
    for name in _FIXED_BY_COMPAT:
        if given[name] is not None:
            raise UsageError(f"--compat released fixes the masks: drop --{name.replace('_', '-')}")
    return True


def _mask_options(given: dict[str, Any], released: bool) -> Any:
    from dataclasses import replace

    from ..masks import Dilation, MaskOptions, parse_boxes, parse_ids, parse_polygons

    shapes: dict[str, Any] = {
        "invert": given["mask_invert"],
        "boxes": tuple(box for text in given["mask_box"] for box in parse_boxes(text)),
        "polygons": tuple(one for text in given["mask_polygon"] for one in parse_polygons(text)),
    }
    if released:
        return replace(MaskOptions.published(), **shapes)
    parsers = {"mask_dilation": Dilation.parse, "mask_ids": parse_ids}
    chosen: dict[str, Any] = {
        name.removeprefix("mask_"): parsers.get(name, lambda value: value)(given[name])
        for name in _FIXED_BY_COMPAT
        if given[name] is not None
    }
    return MaskOptions(**chosen, **shapes)


def _parse_references(text: str | None, default: int | None) -> int | None:
    if text is None:
        return default
    if text in ("all", "-1"):  # -1 is the published program's word for it
        return None
    if not text.isdecimal():
        raise UsageError(f"--max-references {text!r} is no number of frames: use 0 or more, or all")
    return int(text)


def _parse_size(given: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) from --size WxH, or from the published --set_size --width W --height H."""
    text = given["size"]
    if given["set_size"]:
        if text is not None or not given["width"] or not given["height"]:
            raise UsageError("--set_size needs --width and --height (and no --size): better write --size WxH")
        return given["height"], given["width"]
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdecimal() for p in parts):
        raise UsageError(f"--size {text!r} is no size: write width x height, such as 432x240")
    return int(parts[1]), int(parts[0])


def _parse_bitrate(text: str | None) -> Any:
    if text is None or text == "match":
        return text
    if not text.isdecimal():
        raise UsageError(f"--bitrate {text!r} is no rate: use match, or bits a second such as 5000000")
    return int(text)


def _parse_rate(text: str | None) -> Any:
    from fractions import Fraction

    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--savefps {text!r} is no frame rate: use a number such as 25 or 30000/1001") from None
