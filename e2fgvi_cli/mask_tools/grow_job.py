"""What `e2fgvi mask grow` does: masks become larger, by the shadow of what they cover or by pixels. No printing."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import masks, video
from ..comparison.layout import overlay, shrink
from ..comparison.sheet import ContactSheet
from ..errors import InputError, UsageError
from ..masks import Dilation, MaskOptions
from ..masks.inspection import coverage, ranges
from ..system.paths import Read, Written, check_all
from ..system.publication import Publication
from ..types import HoleArray, VideoInfo
from ..video import images
from .background import Picture, surroundings
from .jobs import check_png
from .shadow import KINDS, Grown, ShadowOptions, shadows
from .shown import displayed, mask_names

LARGEST_SIDE = 480
"""At which shadows are looked for; masks are written at the clip's own size."""
_SHEET_COUNT, _SHEET_SIDE = 12, 320
_JUDGED = 0.25
"""Share of an object's surroundings below which a frame is one where a shadow could not be told."""
_FARTHEST = 5.0


@dataclass(frozen=True)
class GrowOptions:
    """How masks grow. kind: "shadow", "reflection" or None. max_distance: how far a shadow may lie from its object, in
    units of the object's longer side (above 0, at most 5). pixels: of growth all around, after that."""

    kind: str | None = "shadow"
    max_distance: float = 1.0
    pixels: int = 0

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise UsageError(f"{self.kind} is nothing a mask grows by; there are {' and '.join(KINDS)}")
        if not 0 < self.max_distance <= _FARTHEST:
            raise UsageError(
                f"--max-distance {self.max_distance:g} must be above 0 and at most {_FARTHEST:g} (times the object's "
                "longer side)"
            )
        if self.kind is None and self.pixels == 0:
            raise UsageError("nothing to grow by: give --shadow, --reflection or --pixels N")


@dataclass(frozen=True)
class GrownFrame:
    """Shares of the frame (0..1): its mask before and after. judged: share of the object's surroundings whose ground
    other frames show; 1 where nothing was looked for."""

    index: int
    before: float
    after: float
    judged: float


@dataclass(frozen=True)
class GrownMasks:
    """What was written. unsure: frames in which a shadow could not be told, since no other frame shows the ground
    beside the object. notices: what was assumed of the masks, and what to look at. sheet: the preview, if asked
    for."""

    output: Path
    frames: list[GrownFrame]
    unsure: list[int]
    notices: list[str]
    sheet: Path | None


def grow_to_folder(
    clip: Path,
    mask: Path,
    target: Path,
    options: GrowOptions = GrowOptions(),
    *,
    masking: MaskOptions | None = None,
    sheet: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> GrownMasks:
    """Read masks as a run would (without its dilation), and write grown ones: a folder with one a frame, as displayed,
    with the names of the clip's frames (numbers from 000000 for a video). The clip is read once. Where files hold
    several objects by number, so do those written: what is added gets the number of the nearest object.

    masking: how masks are read. sheet: a PNG that shows some frames with the old mask tinted, and what was added beside
    it. Folder and sheet appear when they are complete. Raises `InputError` and `UsageError` as a run with these masks
    would.
    """
    written = [Written("the output", target, True, overwrite)]
    if sheet is not None:
        check_png(sheet)
        written.append(Written("the preview", sheet, False, overwrite))
    check_all(written, [Read("the input", clip), Read("the mask", mask)])
    masking = masking or MaskOptions(dilation=Dilation(0))
    drawn = ContactSheet(count=_SHEET_COUNT, across=2, largest=_SHEET_SIDE)
    frames: list[GrownFrame] = []
    with (
        video.open_reader(clip) as reader,
        video.open_holes(mask, reader.info, masking) as holes,
        Publication() as publication,
    ):
        video.check_output(target, reader.info, video.OutputOptions(codec="png", overwrite=overwrite))
        folder = publication.temporary(target, overwrite=overwrite)
        folder.mkdir()
        read = _Reading(reader, holes)
        for one in read.grown(options):
            before = read.take(one.index)
            after = _whole(one, before, options)
            numbers = read.take_numbers()
            written_as = after * np.uint8(255) if numbers is None else spread(numbers, after)
            images.write_image(folder / f"{one.index:06d}.png", written_as)
            frames.append(GrownFrame(one.index, coverage(before), coverage(after), one.judged))
            if sheet is not None and drawn.wants(one.index):
                pictures = [_tinted(read.last, hole) for hole in (before, after)]
                added = frames[-1].after - frames[-1].before
                drawn.offer(one.index, pictures, f"frame {one.index}: {frames[-1].before:.1%} + {added:.1%}")
            on_progress(len(frames), reader.info.frame_count)
        if not any(one.before for one in frames):
            raise InputError(f"no frame of {mask} has a mask, so there is nothing to grow: check --mask")
        _rename(folder, mask_names(reader.info, len(frames)))
        said = [*reader.notices, *holes.notices]
        shown = sheet if sheet is not None and drawn.save(sheet, publication, overwrite=overwrite) else None
    unsure = [one.index for one in frames if one.before and one.judged < _JUDGED]
    return GrownMasks(target, frames, unsure, [*said, *_judgement(frames, unsure, options)], shown)


def _judgement(frames: list[GrownFrame], unsure: list[int], options: GrowOptions) -> list[str]:
    if options.kind is None:
        return []
    found = []
    if unsure:
        found.append(
            f"in {len(unsure)} frames no other frame shows the ground beside the object, so its {options.kind} cannot "
            f"be told there ({ranges(unsure)}): look at them"
        )
    if all(one.after == one.before for one in frames) and not options.pixels:
        found.append(f"no {options.kind} was found: the masks are as they were")
    return found


def _tinted(small: Picture, hole: HoleArray) -> Picture:
    return shrink(overlay(small, masks.resize_nearest(hole, small.shape[:2])), _SHEET_SIDE)


def _rename(folder: Path, names: list[str]) -> None:
    """From numbers to names, by way of names that none of both has."""
    numbered = [folder / f"{index:06d}.png" for index in range(len(names))]
    if [file.name for file in numbered] == names:
        return
    waiting = [file.rename(file.with_suffix(".renamed")) for file in numbered]
    for file, name in zip(waiting, names, strict=True):
        file.rename(folder / name)


def _whole(one: Grown, before: HoleArray, options: GrowOptions) -> HoleArray:
    """At the clip's size: the mask, the shadow, and what is grown around both."""
    import cv2

    whole = before.copy()
    if one.shadow.any():
        smooth = cv2.resize(one.shadow * np.uint8(255), before.shape[::-1], interpolation=cv2.INTER_LINEAR)
        whole[smooth > 127] = 1
    return masks.dilate(whole, Dilation(options.pixels)) if options.pixels else whole


def spread(numbers: HoleArray, hole: HoleArray) -> HoleArray:
    """(H, W) of object numbers over the whole `hole`: a pixel without one gets that of the nearest object, 1 where
    there is none."""
    import cv2

    if not numbers.any():
        return hole
    _, nearest = cv2.distanceTransformWithLabels(
        (numbers == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(nearest.max()) + 1, np.uint8)
    known = numbers > 0
    of_label[nearest[known]] = numbers[known]
    return np.asarray(of_label[nearest] * hole, np.uint8)


class _Reading:
    """Frames with their masks, as displayed; whole masks are kept packed until what is read ahead has caught up."""

    def __init__(self, reader: video.FrameReader, holes: video.HoleReader) -> None:
        self._reader, self._holes = reader, holes
        self._waiting: deque[tuple[int, tuple[int, int], bytes, Picture]] = deque()
        self._numbers: deque[bytes] = deque()
        self._shape = (0, 0)
        self.last: Picture = np.zeros((1, 1, 3), np.uint8)
        """The frame whose mask was taken last, small."""

    def grown(self, options: GrowOptions) -> Iterator[Grown]:
        if options.kind is None:
            for index, _, mask in self._frames():
                yield Grown(index, np.zeros_like(mask), 1.0)
        else:
            yield from shadows(surroundings(self._frames()), ShadowOptions(options.kind, options.max_distance))

    def _frames(self) -> Iterator[tuple[int, Picture, HoleArray]]:
        import cv2

        info: VideoInfo = self._reader.info
        for frame in self._reader:
            hole = masks.turn_to_display(self._holes.hole_at(frame), info.rotation)
            small = shrink(displayed(frame, info), LARGEST_SIDE)
            packed = zlib.compress(np.packbits(hole).tobytes(), 1)
            if self._holes.tells_objects:
                numbers = masks.turn_to_display(self._holes.numbers_at(frame), info.rotation)
                self._numbers.append(zlib.compress(numbers.tobytes(), 1))
            self._waiting.append((frame.index, hole.shape, packed, small))
            size = small.shape[1::-1]
            mask = hole if hole.shape == small.shape[:2] else cv2.resize(hole * 255, size, interpolation=cv2.INTER_AREA)
            yield frame.index, small, np.asarray(mask > 0, np.uint8)

    def take(self, index: int) -> HoleArray:
        """The whole mask (H, W) of the next frame."""
        number, shape, packed, self.last = self._waiting.popleft()
        assert number == index
        self._shape = shape
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
        return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape)

    def take_numbers(self) -> HoleArray | None:
        """(H, W) object numbers of the mask taken last; None where the masks tell no objects apart."""
        if not self._holes.tells_objects:
            return None
        return np.frombuffer(zlib.decompress(self._numbers.popleft()), np.uint8).reshape(self._shape)
