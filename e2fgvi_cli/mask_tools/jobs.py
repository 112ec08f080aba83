"""What `e2fgvi mask` does: look at masks before a long run, and follow an object to make some. No printing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import masks, video
from ..comparison.layout import eight_bits, overlay, shrink
from ..comparison.ruler import LEFT, TOP, with_ruler
from ..comparison.sheet import ContactSheet
from ..errors import InputError
from ..masks import MaskOptions
from ..masks.inspection import FrameCoverage, coverage, coverage_warnings
from ..system.paths import Read, Written, check_all
from ..system.publication import Publication
from ..types import HoleArray, PixelArray, VideoInfo
from ..video import images
from ..video.masks.files import MaskDecoder
from ..video.reading import probe
from .tracking import Anchor, FlowBetween, TrackOptions, mask_from_box, require_in_frame, require_mask, track

LARGEST_SIDE = 640  # at which an object is followed; masks are written at the clip's own size
_WARNING = "warning: "
_SHEET_SIDE = 320  # of a frame on the contact sheet
_CHUNK = 24  # frames decoded together when going backwards


@dataclass(frozen=True)
class Preview:
    """`frames` with their coverage, `notices` (what was assumed) and `warnings`; `sheet` is None if nothing was
    drawn."""

    frames: list[FrameCoverage]
    notices: list[str]
    warnings: list[str]
    sheet: Path | None


def preview(
    clip: Path, mask: Path | None, options: MaskOptions, sheet: Path | None, *, count: int = 12, overwrite: bool = False
) -> Preview:
    """Read a clip with its masks, and draw `count` frames with the hole painted over into `sheet` (PNG).

    Raises `InputError` and `UsageError` as a run with these masks would, and for a sheet that exists.
    """
    if sheet is not None:
        check_png(sheet)
        given = [("the input", clip), ("the mask", mask)]
        check_all([Written("the sheet", sheet, False, overwrite)], [Read(n, p) for n, p in given if p is not None])
    drawn = ContactSheet(count=count, across=3, largest=_SHEET_SIDE + LEFT + TOP)
    frames: list[FrameCoverage] = []
    with video.open_reader(clip) as reader, video.open_holes(mask, reader.info, options, inspect=True) as holes:
        for frame in reader:
            hole = holes.hole_at(frame)
            frames.append(FrameCoverage(frame.index, coverage(hole)))
            if sheet is not None and drawn.wants(frame.index):
                picture = masks.turn_to_display(overlay(frame.rgb, hole), reader.info.rotation)
                ruled = with_ruler(shrink(picture, _SHEET_SIDE), reader.info.display_size)
                drawn.offer(frame.index, [ruled], f"frame {frame.index}: {frames[-1].share:.1%} hole")
        said = [*reader.notices, *holes.notices]
    written = sheet if sheet is not None and _save(drawn, sheet, overwrite) else None
    notices = [one for one in said if not one.startswith(_WARNING)]
    warnings = [one.removeprefix(_WARNING) for one in said if one.startswith(_WARNING)]
    return Preview(frames, notices, [*warnings, *coverage_warnings(frames)], written)


def _save(drawn: ContactSheet, sheet: Path, overwrite: bool) -> bool:
    with Publication() as publication:
        return drawn.save(sheet, publication, overwrite=overwrite)


def check_png(path: Path) -> None:
    """Raise `InputError` if the name is not that of a PNG."""
    if path.suffix.lower() != ".png":
        raise InputError(f"the sheet {path} should end in .png")


@dataclass(frozen=True)
class Tracked:
    """How many masks were written, the frames in which the object was lost (an empty mask), what was assumed of the
    masks given (`notices`), and what looks wrong with those written (`warnings`)."""

    frames: int
    lost: list[int]
    notices: list[str]
    warnings: list[str]


def track_to_folder(
    clip: Path,
    target: Path,
    boxes: Sequence[tuple[int, tuple[float, float, float, float]]],
    keyframes: Sequence[tuple[int, Path]],
    flow_between: FlowBetween,
    *,
    options: TrackOptions = TrackOptions(),
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tracked:
    """Follow what the boxes (frame, (x, y, width, height)) and masks (frame, file) mark, and write a mask a frame.

    Boxes and masks speak of the clip as displayed. The folder has the names of the clip's frames (numbers from 000000
    for a video), so that it can be given to --mask; it appears when it is complete. Raises `InputError`, `UsageError`.
    """
    check_track_paths(clip, target, keyframes, overwrite=overwrite)
    with video.open_reader(clip) as reader:
        info = reader.info
    notices: list[str] = []
    video.check_output(target, info, video.OutputOptions(codec="png", overwrite=overwrite))
    size = working_size(info.height, info.width)
    with video.open_random_access(clip, size=size, keep=_CHUNK + 2) as access:
        frames = _Chunks(access)
        anchors = [_box_anchor(frames, frame, box, info, size) for frame, box in boxes]
        anchors += [_file_anchor(frame, file, info, size, notices) for frame, file in keyframes]
        names = _names(info, len(access))
        shares = []
        with Publication() as publication:
            folder = publication.temporary(target, overwrite=overwrite)
            folder.mkdir()
            for done, (index, mask) in enumerate(track(frames, len(access), anchors, flow_between, options), start=1):
                images.write_image(folder / names[index], _at_clip_size(mask, info))
                shares.append(FrameCoverage(index, coverage(mask)))
                on_progress(done, len(access))
    shares.sort(key=lambda frame: frame.index)
    lost = [frame.index for frame in shares if not frame.share]
    held = [frame for frame in shares if frame.share]
    return Tracked(len(names), lost, notices, coverage_warnings(held))


def check_track_paths(
    clip: Path, target: Path, keyframes: Sequence[tuple[int, Path]], weights: Path | None = None, *, overwrite: bool
) -> None:
    """Raise `InputError` if the folder of masks would replace what it is made from, or what is there. Opens nothing."""
    marks = [Read(f"the mask of frame {frame}", file) for frame, file in keyframes]
    more = [] if weights is None else [Read("the weights file", weights)]
    check_all([Written("the output", target, True, overwrite)], [Read("the input", clip), *marks, *more])


def working_size(height: int, width: int) -> tuple[int, int]:
    """The clip's size, its longer side at most `LARGEST_SIDE`."""
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _names(info: VideoInfo, count: int) -> list[str]:
    if info.is_folder:
        files = probe.image_list(info.path)
        if len(files) == count:  # else pages of one file
            return [f"{file.stem}.png" for file in files]
    return [f"{index:06d}.png" for index in range(count)]


class _Chunks:
    """Frames by number; going backwards, a run of them is decoded at once, for a decoder only goes forwards."""

    def __init__(self, access: video.RandomAccess) -> None:
        self._access = access
        self._last = 0

    def __call__(self, index: int) -> PixelArray:
        if index < self._last:
            for _ in self._access.frames(range(max(index - _CHUNK + 1, 0), index + 1)):
                pass  # fills the recent frames; those already there cost nothing
        self._last = index
        return eight_bits(self._access.frame(index).rgb)


def _box_anchor(
    frames: _Chunks, frame: int, box: tuple[float, float, float, float], info: VideoInfo, size: tuple[int, int]
) -> Anchor:
    require_in_frame(box, info.display_size)
    shown = masks.turn_to_display(frames(frame), info.rotation)
    scale_y, scale_x = shown.shape[0] / info.display_size[0], shown.shape[1] / info.display_size[1]
    scaled = (box[0] * scale_x, box[1] * scale_y, max(box[2] * scale_x, 2.0), max(box[3] * scale_y, 2.0))
    mask = mask_from_box(np.ascontiguousarray(shown), scaled)
    return Anchor(frame, masks.resize_nearest(masks.turn_to_stored(mask, info.rotation), size))


def _file_anchor(frame: int, file: Path, info: VideoInfo, size: tuple[int, int], notices: list[str]) -> Anchor:
    if not file.is_file():
        raise InputError(f"there is no mask {file}; check --keyframe")
    decoder = MaskDecoder(MaskOptions(), notices)
    decoder.settle([decoder.look_at(file)], 1)
    hole = require_mask(decoder.read(file), f"--keyframe {frame}={file}")
    turned = masks.turn_to_stored(hole, info.rotation)
    return Anchor(frame, masks.resize_nearest(turned, size))


def _at_clip_size(mask: HoleArray, info: VideoInfo) -> HoleArray:
    import cv2

    smooth = cv2.resize(mask * 255, (info.width, info.height), interpolation=cv2.INTER_LINEAR)
    return masks.turn_to_display(((smooth > 127) * 255).astype(np.uint8), info.rotation)
