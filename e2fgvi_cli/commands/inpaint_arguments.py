"""What the command line of `e2fgvi inpaint` says, a dataclass a group. `inpaint_options` makes options of it.

Every option is defined here and nowhere else; `batch` reads its manifests with the same definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from .grouping import group_from
from .presets import apply_preset

INPUT, MASK, FILL, OUTPUT, PUBLISHED = "Input", "Mask", "Filling", "Output", "Names of the published program"


@dataclass(frozen=True, kw_only=True)
class InputArguments:
    """What is read."""

    video: Annotated[
        Path,
        Option(
            "--video",
            "-v",
            help="Folder of frames, pattern (seq/f_%05d.png), any video file, or - (standard input).",
            rich_help_panel=INPUT,
        ),
    ]
    mask: Annotated[
        Path | None,
        Option(
            "--mask",
            "-m",
            help="What to remove, white: a folder, one image for all frames, or a video.",
            rich_help_panel=INPUT,
        ),
    ] = None
    size: Annotated[
        str | None, Option(metavar="WxH", help="Resize the frames first (default: never).", rich_help_panel=INPUT)
    ] = None
    preset: Annotated[
        str | None,
        Option(
            metavar="draft|quality|archive",
            help="Options that go together; what else is said wins.",
            is_eager=True,
            callback=apply_preset,
            rich_help_panel=INPUT,
        ),
    ] = None
    start: Annotated[
        str | None,
        Option(
            metavar="FRAME|TIME",
            help="Cut the clip: begin with this frame (250) or at this time (12.5s, 00:01:02.5).",
            rich_help_panel=INPUT,
        ),
    ] = None
    end: Annotated[
        str | None,
        Option(metavar="FRAME|TIME", help="Cut the clip: the last frame, or the time it ends.", rich_help_panel=INPUT),
    ] = None
    reference: Annotated[
        Path | None,
        Option(help="The true background, if you have it: prints PSNR and SSIM in the hole.", rich_help_panel=INPUT),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MaskArguments:
    """What is hole. None: as `masks.MaskOptions` has it."""

    mask_threshold: Annotated[
        int | None, Option(help="Levels above this are hole, 0-254 (default 127).", rich_help_panel=MASK)
    ] = None
    mask_dilation: Annotated[
        str | None,
        Option(
            metavar="SIZE",
            help="Grow the hole: pixels (4px), percent of the height (1%) or auto "
            "(default: 4px up to 480 lines, more above; small gaps closed).",
            rich_help_panel=MASK,
        ),
    ] = None
    mask_feather: Annotated[
        float | None, Option(help="Fade the fill out over so many pixels around the hole.", rich_help_panel=MASK)
    ] = None
    mask_invert: Annotated[bool, Option(help="Black is the hole.", rich_help_panel=MASK)] = False
    mask_union: Annotated[
        int | None, Option(help="A hole also covers those of N frames before and after.", rich_help_panel=MASK)
    ] = None
    grow_gaps: Annotated[
        bool | None,
        Option(
            "--grow-gaps/--no-grow-gaps",
            help="Frames without a mask get one between those before and after.",
            rich_help_panel=MASK,
        ),
    ] = None
    mask_ids: Annotated[
        str | None,
        Option(metavar="IDS", help="Objects of palette or id images, such as 1,3.", rich_help_panel=MASK),
    ] = None
    mask_box: Annotated[
        list[str],
        Option(metavar="X,Y,W,H[@A-B]", help="A rectangle, for frames A to B; may be repeated.", rich_help_panel=MASK),
    ] = field(default_factory=list)
    mask_polygon: Annotated[
        list[str],
        Option(
            metavar='"X,Y X,Y ..[@A-B]"',
            help="A polygon, for frames A to B; may be repeated.",
            rich_help_panel=MASK,
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FillArguments:
    """How holes are filled."""

    weights: Annotated[
        str,
        Option(
            "--weights",
            "--ckpt",
            "-c",
            help="A known name (`e2fgvi weights list`) or a file.",
            rich_help_panel=FILL,
        ),
    ] = "open"
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=FILL)] = "auto"
    devices: Annotated[
        str | None,
        Option(
            metavar="A,B",
            help="Several devices, such as cuda:0,cuda:1: each fills its share.",
            rich_help_panel=FILL,
        ),
    ] = None
    deform: Annotated[
        str,
        Option(help="Deformable convolution: auto, torchvision, mmcv, torch, approximate.", rich_help_panel=FILL),
    ] = "auto"
    precision: Annotated[
        str,
        Option(
            help="auto, fp32, tf32, fp16 or bf16 (auto: fp16 on NVIDIA GPUs, bf16 on CPUs made for it, "
            "fp32 elsewhere).",
            rich_help_panel=FILL,
        ),
    ] = "auto"
    max_memory: Annotated[
        str, Option(metavar="auto|SIZE", help="Use at most so much memory, such as 8GiB.", rich_help_panel=FILL)
    ] = "auto"
    full_frame: Annotated[
        bool, Option(help="Compute whole frames instead of crops around the holes.", rich_help_panel=FILL)
    ] = False
    crop_margin: Annotated[
        int | None,
        Option(metavar="PIXELS", help="Context around the holes, for the crops.", rich_help_panel=FILL),
    ] = None
    compile: Annotated[
        bool,
        Option(help="Compile the network first: a minute or more; no gain was measured.", rich_help_panel=FILL),
    ] = False
    threads: Annotated[int | None, Option(help="CPU threads (default: all cores).", rich_help_panel=FILL)] = None
    neighbor_stride: Annotated[
        int,
        Option(
            "--neighbor-stride",
            "--neighbor_stride",
            help="Window hop and radius, in frames.",
            rich_help_panel=FILL,
        ),
    ] = 5
    reference_stride: Annotated[
        int,
        Option("--reference-stride", "--step", help="Distance of reference frames.", rich_help_panel=FILL),
    ] = 10
    max_references: Annotated[
        str | None,
        Option(
            "--max-references",
            "--num_ref",
            metavar="N|all",
            help="Reference frames a window (default 6).",
            rich_help_panel=FILL,
        ),
    ] = None
    image_propagation: Annotated[
        bool,
        Option(
            help="Take from other frames what they show of the hole; off: all by the network.",
            rich_help_panel=FILL,
        ),
    ] = True
    temporal_smoothing: Annotated[
        bool,
        Option(
            help="Average each fill with what aligned frames nearby have there; off: more flicker.",
            rich_help_panel=FILL,
        ),
    ] = True
    cuts: Annotated[bool, Option(help="Detect shots and keep them apart.", rich_help_panel=FILL)] = True
    compat: Annotated[
        str | None,
        Option(
            metavar="released",
            help="Compute exactly as the published program, defects included.",
            rich_help_panel=FILL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class OutputArguments:
    """What is written, and how."""

    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="Video file, folder of frames (default results/NAME_inpainted.mp4), or - (y4m).",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    save_frames: Annotated[
        Path | None, Option(metavar="DIR", help="Also write every frame as an image.", rich_help_panel=OUTPUT)
    ] = None
    codec: Annotated[str, Option(help="auto, h264, h265, prores, ffv1, vp9, av1 or png.", rich_help_panel=OUTPUT)] = (
        "auto"
    )
    crf: Annotated[
        int | None, Option(help="Quality of h264, h265, vp9, av1: lower is better.", rich_help_panel=OUTPUT)
    ] = None
    bitrate: Annotated[
        str | None, Option(metavar="match|BITS", help="As the source, or bits a second.", rich_help_panel=OUTPUT)
    ] = None
    lossless: Annotated[bool, Option(help="Encode without loss.", rich_help_panel=OUTPUT)] = False
    container: Annotated[
        str | None, Option(help="mp4, mov, mkv, webm or avi (default: by the suffix).", rich_help_panel=OUTPUT)
    ] = None
    compare: Annotated[
        str | None,
        Option(
            metavar="side|split|wipe",
            help="Also write a before/after video, OUTPUT_compare.mp4.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    sheet: Annotated[
        Path | None,
        Option(metavar="PNG", help="A picture of some frames: source, mask, result.", rich_help_panel=OUTPUT),
    ] = None
    gif: Annotated[Path | None, Option(metavar="GIF", help="A small before/after loop.", rich_help_panel=OUTPUT)] = None
    verify: Annotated[
        bool, Option(help="Re-read the output and compare it outside the hole.", rich_help_panel=OUTPUT)
    ] = False
    overwrite: Annotated[bool, Option(help="Replace an existing output.", rich_help_panel=OUTPUT)] = False


@dataclass(frozen=True, kw_only=True)
class PublishedArguments:
    """Options of the published program that have no other name here; its other ones are second names of ours."""

    model: Annotated[str, Option(help="e2fgvi_hq.", rich_help_panel=PUBLISHED)] = "e2fgvi_hq"
    savefps: Annotated[
        str | None,
        Option(
            "--savefps",
            metavar="FPS",
            help="Output rate instead of the source's (also 30000/1001).",
            rich_help_panel=PUBLISHED,
        ),
    ] = None
    set_size: Annotated[bool, Option("--set_size/--no-set_size", hidden=True)] = False
    width: Annotated[int | None, Option(hidden=True)] = None
    height: Annotated[int | None, Option(hidden=True)] = None


@dataclass(frozen=True)
class InpaintArguments:
    """All of it: one job."""

    source: InputArguments
    masking: MaskArguments
    fill: FillArguments
    output: OutputArguments
    published: PublishedArguments

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> InpaintArguments:
        """From parsed values by the names of the options."""
        return cls(
            group_from(InputArguments, given),
            group_from(MaskArguments, given),
            group_from(FillArguments, given),
            group_from(OutputArguments, given),
            group_from(PublishedArguments, given),
        )
