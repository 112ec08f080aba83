"""From what the command line says to one checked `InpaintOptions`. Raises `UsageError` with the option's name and
value."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import UsageError
from ..system.paths import is_pipe
from .inpaint_arguments import (
    FillArguments,
    InpaintArguments,
    InputArguments,
    MaskArguments,
    OutputArguments,
    PublishedArguments,
)

if TYPE_CHECKING:
    from ..comparison import ComparisonOptions
    from ..fill.crops import CropOptions
    from ..fill.options import WindowOptions
    from ..masks import MaskOptions
    from ..options import InpaintOptions
    from ..video import OutputOptions


def to_options(arguments: InpaintArguments) -> InpaintOptions:
    """The job that `arguments` describe, checked as far as can be without opening anything."""
    from ..options import InpaintOptions, default_output
    from ..video.span import parse_span

    source, fill, written, published = arguments.source, arguments.fill, arguments.output, arguments.published
    if published.model != "e2fgvi_hq":
        raise UsageError(_explain_model(published.model))
    as_published = _as_published(fill)
    output = written.output or default_output(source.video)
    return InpaintOptions(
        video=source.video,
        mask=source.mask,
        output=output,
        frames_dir=written.save_frames,
        weights=fill.weights,
        device=fill.device,
        deform=fill.deform,
        precision=fill.precision,
        max_memory=fill.max_memory,
        compile=fill.compile,
        devices=_devices(fill.devices),
        threads=fill.threads,
        windows=_windows(fill, as_published, source.preset),
        masking=_masking(arguments.masking, as_published),
        encoding=_encoding(written, published, source.preset),
        size=_size(source, published),
        span=parse_span(source.start, source.end, ("--start", "--end")),
        detect_cuts=fill.cuts and not as_published,
        reference=source.reference,
        comparison=_comparison(written, output),
        verify=written.verify,
    )


def _explain_model(model: str) -> str:
    if model == "e2fgvi":
        return (
            "--model e2fgvi is the network fixed to 432x240; this program runs e2fgvi_hq, which takes any size: "
            "drop --model"
        )
    return f"--model {model!r} is unknown: this program runs e2fgvi_hq"


def _as_published(fill: FillArguments) -> bool:
    if fill.compat not in (None, "released"):
        raise UsageError(f"--compat {fill.compat!r} is unknown: the only one is released")
    return fill.compat is not None


def _windows(fill: FillArguments, as_published: bool, preset: str | None) -> WindowOptions:
    from ..fill.options import SmoothingOptions, WindowOptions
    from ..propagation.options import PropagationOptions

    if as_published and preset is not None:
        raise UsageError(f"--compat released fixes what --preset {preset} would set: drop one of them")
    default = None if as_published else WindowOptions.max_references
    return WindowOptions(
        neighbor_stride=fill.neighbor_stride,
        reference_stride=fill.reference_stride,
        max_references=default if fill.max_references is None else _references(fill.max_references),
        released=as_published,
        crops=_crops(fill, preset),
        propagation=PropagationOptions() if fill.image_propagation and not as_published else None,
        smoothing=SmoothingOptions() if fill.temporal_smoothing and not as_published else None,
    )


def _references(text: str) -> int | None:
    if text in ("all", "-1"):  # -1 is the published program's word for it
        return None
    if not text.isdecimal():
        raise UsageError(f"--max-references {text!r} is no number of frames: use 0 or more, or all")
    return int(text)


def _crops(fill: FillArguments, preset: str | None) -> CropOptions:
    from ..fill.crops import CropOptions

    if fill.full_frame:
        if fill.crop_margin is not None and preset is None:
            raise UsageError("--full-frame knows no crops: drop --crop-margin")
        return CropOptions(enabled=False)
    return CropOptions() if fill.crop_margin is None else CropOptions(margin=fill.crop_margin)


def _devices(text: str | None) -> tuple[str, ...]:
    names = () if text is None else tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise UsageError(f"--devices {text!r} has an empty name: write them like cuda:0,cuda:1")
    return names


def _masking(given: MaskArguments, as_published: bool) -> MaskOptions:
    from dataclasses import replace

    from ..masks import Dilation, MaskOptions, parse_boxes, parse_ids, parse_polygons

    if as_published:
        _refuse_fixed_masks(given)
    usual = MaskOptions.published() if as_published else MaskOptions()
    return replace(
        usual,
        threshold=usual.threshold if given.mask_threshold is None else given.mask_threshold,
        dilation=usual.dilation if given.mask_dilation is None else Dilation.parse(given.mask_dilation),
        feather=usual.feather if given.mask_feather is None else given.mask_feather,
        union=usual.union if given.mask_union is None else given.mask_union,
        grow_gaps=usual.grow_gaps if given.grow_gaps is None else given.grow_gaps,
        ids=usual.ids if given.mask_ids is None else parse_ids(given.mask_ids),
        invert=given.mask_invert,
        boxes=tuple(box for text in given.mask_box for box in parse_boxes(text)),
        polygons=tuple(polygon for text in given.mask_polygon for polygon in parse_polygons(text)),
    )


def _refuse_fixed_masks(given: MaskArguments) -> None:
    """The published program has one way to make holes of masks."""
    fixed = {
        "--mask-threshold": given.mask_threshold,
        "--mask-dilation": given.mask_dilation,
        "--mask-feather": given.mask_feather,
        "--mask-union": given.mask_union,
        "--mask-ids": given.mask_ids,
        "--grow-gaps": given.grow_gaps,
    }
    for name, value in fixed.items():
        if value is not None:
            raise UsageError(f"--compat released fixes the masks: drop {name}")


def _encoding(written: OutputArguments, published: PublishedArguments, preset: str | None) -> OutputOptions:
    from ..video import OutputOptions

    return OutputOptions(
        codec=written.codec,
        crf=written.crf,
        bitrate=_bitrate(written.bitrate),
        lossless=written.lossless,
        container=written.container,
        grade=preset,
        frame_rate=_frame_rate(published.savefps),
        overwrite=written.overwrite,
    )


def _bitrate(text: str | None) -> int | Literal["match"] | None:
    if text is None or text == "match":
        return None if text is None else "match"
    if not text.isdecimal():
        raise UsageError(f"--bitrate {text!r} is no rate: use match, or bits a second such as 5000000")
    return int(text)


def _frame_rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--savefps {text!r} is no frame rate: use a number such as 25 or 30000/1001") from None


def _size(source: InputArguments, published: PublishedArguments) -> tuple[int, int] | None:
    """(height, width) from --size WxH, or from the published --set_size --width W --height H."""
    if published.set_size:
        if source.size is not None or not published.width or not published.height:
            raise UsageError("--set_size needs --width and --height (and no --size): better write --size WxH")
        return published.height, published.width
    if source.size is None:
        return None
    return parse_size(source.size)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "WxH". Raises `UsageError`."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdecimal() for p in parts):
        raise UsageError(f"--size {text!r} is no size: write width x height, such as 432x240")
    return int(parts[1]), int(parts[0])


def _comparison(written: OutputArguments, output: Path) -> ComparisonOptions | None:
    from ..comparison import ComparisonOptions

    if not (written.compare or written.sheet or written.gif):
        return None
    if is_pipe(output):
        raise UsageError("--compare, --sheet and --gif need an output with a name: give --output a file")
    return ComparisonOptions(
        video=output.with_name(f"{output.stem}_compare.mp4") if written.compare else None,
        mode=written.compare or "side",
        sheet=written.sheet,
        gif=written.gif,
        overwrite=written.overwrite,
    )
