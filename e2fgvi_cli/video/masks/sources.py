"""Where a frame's mask comes from: one image for all, a file a frame, or a mask video aligned by time or by number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ... import masks
from ...errors import InputError
from ...masks import MaskOptions
from ...masks.bridging import MAX_GAP
from ...types import Frame, HoleArray, VideoInfo
from ..images import sequences
from ..reading import probe
from .counts import count_decoded, count_for, frames_for, in_step
from .files import MaskDecoder
from .survey import mask_picture, open_masks, survey_files, survey_video


@dataclass(frozen=True)
class RawHole:
    """A hole at the mask's own size, before it is turned and resized. `rotation`: the mask file's own display turn."""

    hole: HoleArray
    rotation: int = 0


class MaskSource(Protocol):
    """`at(frame, offset)` is the mask `offset` frames away from `frame`, or None where there is none."""

    def at(self, frame: Frame, offset: int) -> RawHole | None: ...
    def close(self) -> None: ...


@runtime_checkable
class NumberedSource(MaskSource, Protocol):
    """`numbers(frame)` is the mask of a frame with the number of each object in place of 1; None where there is
    none."""

    def numbers(self, frame: Frame) -> RawHole | None: ...


def reach_of(options: MaskOptions) -> int:
    """How many frames back a mask may be asked for."""
    return options.union + (MAX_GAP if options.grow_gaps else 0)


class NoMask:
    """Boxes and polygons only."""

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """Nothing, for every frame."""
        return None

    def close(self) -> None:
        """Nothing to close."""


class StillMask:
    """One image for every frame."""

    def __init__(self, path: Path, decoder: MaskDecoder) -> None:
        decoder.settle([decoder.look_at(path)], 1)
        self._path, self._decoder = path, decoder
        self._raw = RawHole(decoder.read(path))

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The same hole whatever the frame."""
        return self._raw

    def numbers(self, frame: Frame) -> RawHole | None:
        """The same numbers whatever the frame."""
        return RawHole(self._decoder.numbers(self._path))

    def close(self) -> None:
        """Nothing to close."""


class FolderMasks:
    """A mask file a frame, or several; the last `keep` are kept for who looks back."""

    def __init__(self, files: dict[int, tuple[Path, ...]], decoder: MaskDecoder, keep: int) -> None:
        survey_files([file for index in sorted(files) for file in files[index]], decoder)
        self._files, self._decoder, self._keep = files, decoder, keep
        self._cache: dict[int, RawHole] = {}

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The hole of the file matched to frame number `frame.index + offset`, or None without one."""
        index = frame.index + offset
        files = self._files.get(index)
        if files is None:
            return None
        if index not in self._cache:
            self._cache[index] = RawHole(_joined([self._decoder.read(file) for file in files]))
            for old in [key for key in self._cache if key < frame.index - self._keep]:
                del self._cache[old]
        return self._cache[index]

    def numbers(self, frame: Frame) -> RawHole | None:
        """Of a frame's files the first that names an object counts."""
        files = [self._decoder.numbers(file) for file in self._files.get(frame.index, ())]
        if not files:
            return None
        whole = files[0]
        for more in files[1:]:
            whole = np.where(whole > 0, whole, masks.resize_nearest(more, (whole.shape[0], whole.shape[1])))
        return RawHole(whole)

    def close(self) -> None:
        """Nothing to close."""


def _joined(holes: list[HoleArray]) -> HoleArray:
    """The holes of one frame's objects together, at the size of the first."""
    whole = holes[0]
    for hole in holes[1:]:
        whole = whole | masks.resize_nearest(hole, (whole.shape[0], whole.shape[1]))
    return whole


class VideoMasks:
    """A mask video read along with the frames: by number if `by_number`, else the mask nearest in time. `first`: the
    number of the frame that its first one is for."""

    def __init__(
        self, info: VideoInfo, decoder: MaskDecoder, *, by_number: bool, keep: int, period: Fraction, first: int = 0
    ) -> None:
        survey_video(info, decoder)
        self._reader = open_masks(info)
        self._frames = iter(self._reader)
        self._decoder, self._by_number, self._keep, self._first = decoder, by_number, keep, first
        self._period = Fraction(1) if by_number else period
        self._mask_period = Fraction(1) if by_number else 1 / (info.frame_rate or Fraction(25))
        self._held: deque[tuple[Fraction, RawHole]] = deque()
        self._ended = False

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The nearest mask to the time of frame `offset` away; None if that is past the mask's end."""
        now = Fraction(frame.index) if self._by_number else frame.time
        wanted = now + offset * self._period
        self._read_until(wanted, now - self._keep * self._period)
        if not self._held or wanted < (self._first if self._by_number else 0):
            return None
        position, raw = min(self._held, key=lambda entry: abs(entry[0] - wanted))
        past_the_end = self._ended and position == self._held[-1][0]
        if past_the_end and wanted - position >= self._mask_period * (1 if self._by_number else Fraction(3, 2)):
            if offset == 0:
                self._decoder.say_once(
                    "ended", f"the mask video ends before frame {frame.index}: frames from there on have no hole"
                )
            return None
        return raw

    def _read_until(self, wanted: Fraction, oldest: Fraction) -> None:
        self._forget_before(oldest)
        while not self._ended and (not self._held or self._held[-1][0] < wanted):
            frame = next(self._frames, None)
            if frame is None:
                self._ended = True
                self._decoder.notices.extend(f"mask: {notice}" for notice in self._reader.notices)
                return
            position = Fraction(frame.index + self._first) if self._by_number else frame.time
            hole = self._decoder.decode(mask_picture(frame), self._reader.info.path.name)
            self._held.append((position, RawHole(hole, self._reader.info.rotation)))
            self._forget_before(oldest)

    def _forget_before(self, oldest: Fraction) -> None:
        while len(self._held) > 1 and self._held[1][0] <= oldest:
            self._held.popleft()

    def close(self) -> None:
        """Stop the decoding thread."""
        self._reader.__exit__(None, None, None)


def match_folder(mask: Path, info: VideoInfo, decoder: MaskDecoder) -> dict[int, tuple[Path, ...]]:
    """Frame number -> its mask files (several: an object each), by the rules of `masks.pairing`. Raises
    `InputError`."""
    files = sequences.list_images(mask) if mask.is_dir() else sequences.image_files(mask)
    if not files:
        folders = sorted(entry.name for entry in mask.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        inside = f", only folders ({', '.join(folders[:4])}): give one of them" if folders else ""
        raise InputError(
            f"mask folder {mask} holds no images (png, jpg, tiff, webp, bmp, exr)"
            f"{inside or '; give the folder of masks'}"
        )
    stems = [file.stem for file in files]
    what = f"{len(files)} masks in {mask} for {{}} frames of {info.path}"
    whole, first = clip_of_masks(info, len(files))
    frames = [file.stem for file in probe.image_list(info.path)] if info.is_folder else []
    if frames and len(frames) == (info if info.cut is None else info.cut.source).frame_count:
        frames = frames[first : first + (whole.frame_count or 0)]
        pairing = masks.pair_with_frames(stems, frames, what.format(len(frames)))
    else:  # a video, or the pages of one file, which have no names
        count = frames_for(stems, info) if info.cut is None else whole.frame_count or 0
        pairing = masks.pair_with_count(stems, count, what.format(count))
    decoder.notices.extend(pairing.notices)
    masks_of = {first + index: places for index, places in pairing.masks_of.items()}
    missing, of = pairing.missing, pairing.frames
    if info.cut is not None:
        near = reach_of(decoder.options)
        meant = range(info.cut.first, info.cut.first + (info.frame_count or 0))
        missing, of = sum(number not in masks_of for number in meant), len(meant)
        masks_of = {n: places for n, places in masks_of.items() if meant.start - near <= n < meant.stop + near}
        if not masks_of:
            raise InputError(f"{mask} has no mask for the frames {meant.start} to {meant.stop - 1} that are meant")
    if missing:
        then = "bridged where they lie between masks" if decoder.options.grow_gaps else "taken to have no hole"
        decoder.say_once("missing", f"{missing} of {of} frames have no mask and are {then}")
    return {index: tuple(files[place] for place in places) for index, places in masks_of.items()}


def clip_of_masks(info: VideoInfo, masks_given: int) -> tuple[VideoInfo, int]:
    """(the clip that so many masks are for, the number of its first frame): of a part, the part if it has as many
    frames and the whole clip has not."""
    if info.cut is None:
        return info, 0
    if masks_given == info.frame_count != info.cut.source.frame_count:
        return info, info.cut.first
    return info.cut.source, 0


def video_masks(mask: Path, info: VideoInfo, decoder: MaskDecoder) -> VideoMasks:
    """A mask video for a source: by number when both have as many frames, else by time. Raises `InputError` without
    times."""
    mask_info = probe.probe(mask)
    # Then times say it all, also behind frames that are damaged.
    timed = in_step(info, mask_info)
    whole, first = (info, 0) if timed else clip_of_masks(info, count_decoded(mask_info)[0])
    by_number = not timed and _has_as_many(whole, mask_info, decoder, counted=info.cut is not None)
    period = 1 / info.frame_rate if info.frame_rate else Fraction(1, 25)
    keep = reach_of(decoder.options)
    return VideoMasks(mask_info, decoder, by_number=by_number, keep=keep, period=period, first=first)


def _has_as_many(info: VideoInfo, mask_info: VideoInfo, decoder: MaskDecoder, *, counted: bool) -> bool:
    """Whether a mask video has a frame for each of the clip's; if not, both must have times. Says which it is.

    counted: `info.frame_count` is no claim."""
    mask_count, _ = count_decoded(mask_info)
    frames = (info.frame_count or 0) if counted else count_for(mask_count, info)
    timeless = next((source.path for source in (info, mask_info) if source.frame_rate is None), None)
    if frames != mask_count and timeless is not None:
        raise InputError(
            f"{mask_info.path} has {mask_count} masks and {info.path} {frames} frames, and {timeless.name} has no "
            "times to align by; give as many masks as frames"
        )
    if frames != mask_count:
        decoder.say_once("aligned", f"{mask_count} mask frames for {frames} frames: aligned by time stamp")
    elif timeless is None and info.frame_rate != mask_info.frame_rate:
        decoder.say_once("rates", "the mask video runs at another rate but has as many frames: matched frame by frame")
    return frames == mask_count


def iterate_holes(source: MaskSource, frame: Frame, union: int) -> Iterator[RawHole]:
    """The masks of the frames from `union` before to `union` after, those that exist; the frame's own first."""
    own = source.at(frame, 0)
    if own is not None:
        yield own
    for offset in range(-union, union + 1):
        raw = source.at(frame, offset) if offset else None
        if raw is not None and raw is not own:
            yield raw
