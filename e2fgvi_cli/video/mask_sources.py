"""Where a frame's mask comes from: one image for all, a file a frame, or a mask video aligned by time or by number."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import Frame, HoleArray, VideoInfo
from . import images, native, probe
from .mask_files import MaskDecoder
from .reader import VideoReader

_LAST_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class RawHole:
    """A hole at the mask's own size, before it is turned and resized. `rotation`: the mask file's own display turn."""

    hole: HoleArray
    rotation: int = 0


class MaskSource(Protocol):
    """`at(frame, offset)` is the mask `offset` frames away from `frame`, or None where there is none."""

    def at(self, frame: Frame, offset: int) -> RawHole | None: ...
    def close(self) -> None: ...


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
        self._raw = RawHole(decoder.read(path))

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The same hole whatever the frame."""
        return self._raw

    def close(self) -> None:
        """Nothing to close."""


class FolderMasks:
    """A mask file a frame; the last few are kept for `--mask-union`."""

    def __init__(self, files: dict[int, Path], decoder: MaskDecoder, keep: int) -> None:
        self._files, self._decoder, self._keep = files, decoder, keep
        self._cache: dict[int, RawHole] = {}

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The hole of the file matched to frame number `frame.index + offset`, or None without one."""
        index = frame.index + offset
        file = self._files.get(index)
        if file is None:
            return None
        if index not in self._cache:
            self._cache[index] = RawHole(self._decoder.read(file))
            for old in [key for key in self._cache if key < frame.index - self._keep]:
                del self._cache[old]
        return self._cache[index]

    def close(self) -> None:
        """Nothing to close."""


class VideoMasks:
    """A mask video read along with the frames: by number if `by_number`, else the mask nearest in time."""

    def __init__(self, info: VideoInfo, decoder: MaskDecoder, *, by_number: bool, union: int, period: Fraction) -> None:
        self._reader = VideoReader(info)
        self._frames = iter(self._reader)
        self._decoder, self._by_number, self._union = decoder, by_number, union
        self._period = Fraction(1) if by_number else period
        self._mask_period = Fraction(1) if by_number else 1 / (info.frame_rate or Fraction(25))
        self._held: deque[tuple[Fraction, RawHole]] = deque()
        self._ended = False

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The nearest mask to the time of frame `offset` away; None if that is past the mask's end."""
        now = Fraction(frame.index) if self._by_number else frame.time
        wanted = now + offset * self._period
        self._read_until(wanted)
        self._forget_before(now - self._union * self._period)
        if not self._held or wanted < 0:
            return None
        position, raw = min(self._held, key=lambda entry: abs(entry[0] - wanted))
        if wanted - position >= self._mask_period * (1 if self._by_number else Fraction(3, 2)):
            if offset == 0:
                self._decoder.say_once(
                    "ended", f"the mask video ends before frame {frame.index}: frames from there on have no hole"
                )
            return None
        return raw

    def _read_until(self, wanted: Fraction) -> None:
        while not self._ended and (not self._held or self._held[-1][0] < wanted):
            frame = next(self._frames, None)
            if frame is None:
                self._ended = True
                self._decoder.notices.extend(f"mask: {notice}" for notice in self._reader.notices)
                return
            position = Fraction(frame.index) if self._by_number else frame.time
            hole = self._decoder.decode(_picture(frame), self._reader.info.path.name)
            self._held.append((position, RawHole(hole, self._reader.info.rotation)))

    def _forget_before(self, oldest: Fraction) -> None:
        while len(self._held) > 1 and self._held[1][0] <= oldest:
            self._held.popleft()

    def close(self) -> None:
        """Stop the decoding thread."""
        self._reader.__exit__(None, None, None)


def _picture(frame: Frame) -> NDArray[Any]:
    """A mask video's frame as gray (H, W), RGB, or RGBA if it has an alpha plane."""
    layout = native.require_layout(frame.native.format.name)
    if layout.kind == "gray":
        import cv2

        return cast(NDArray[Any], cv2.extractChannel(frame.rgb, 0))
    alpha = native.alpha_of(frame.native)
    return frame.rgb if alpha is None else np.dstack([frame.rgb, alpha])


def match_folder(mask: Path, info: VideoInfo, decoder: MaskDecoder) -> dict[int, Path]:
    """Frame number -> mask file. By stem where the source is a folder and the names agree, by order where the counts
    agree, else by the number in the name where that is unambiguous. Raises `InputError` with both counts otherwise."""
    files = images.list_images(mask)
    if not files:
        raise InputError(
            f"mask folder {mask} holds no images (png, jpg, tiff, webp, bmp, exr); give the folder of masks"
        )
    if info.is_folder:
        matched = _match_names(files, probe.image_list(info.path), decoder)
        if matched is not None:
            return matched
    frames = info.frame_count
    if frames != len(files) and not info.is_folder:
        frames = _recount(info, len(files))
    if frames is None or frames == len(files):
        return dict(enumerate(files))
    numbered = _match_numbers(files, frames, decoder)
    if numbered is not None:
        return numbered
    raise InputError(
        f"{len(files)} masks in {mask} for {frames} frames of {info.path}, and their names do not say which frame each "
        "belongs to; give one mask a frame, name them like the frames, or give a single image"
    )


def _recount(info: VideoInfo, masks: int) -> int | None:
    """The claim of a container may be wrong or missing; packets tell. A count that fits the masks wins."""
    counted = probe.count_frames(info.path)
    return info.frame_count if info.frame_count == masks else counted


def _match_names(files: list[Path], frames: list[Path], decoder: MaskDecoder) -> dict[int, Path] | None:
    by_stem = {file.stem: file for file in files}
    matched = {index: by_stem[frame.stem] for index, frame in enumerate(frames) if frame.stem in by_stem}
    if not matched:
        numbers = {_number(frame): index for index, frame in enumerate(frames)}
        if None in numbers or len(numbers) != len(frames) or len(files) == len(frames):
            return None
        matched = {numbers[_number(file)]: file for file in files if _number(file) in numbers}
        if len(matched) != len(files):
            return None
    if len(matched) < len(by_stem):
        unused = next(file for file in files if file not in set(matched.values()))
        decoder.say_once("unused", f"{len(by_stem) - len(matched)} masks belong to no frame, such as {unused.name}")
    _say_missing(len(frames) - len(matched), len(frames), decoder)
    return matched


def _match_numbers(files: list[Path], frames: int, decoder: MaskDecoder) -> dict[int, Path] | None:
    """Files named by frame number, of which some are missing: from 0 if there is a 0, from 1 if the last is the count."""
    numbers = [_number(file) for file in files]
    if len(set(numbers)) != len(numbers) or len(files) > frames:
        return None
    known = [number for number in numbers if number is not None]
    if len(known) != len(numbers):
        return None
    first = 0 if min(known) == 0 and max(known) < frames else 1
    if first == 1 and max(known) != frames:
        return None
    decoder.say_once("numbers", f"masks are matched by the number in their name, counted from {first}")
    _say_missing(frames - len(files), frames, decoder)
    return {number - first: file for number, file in zip(known, files, strict=True)}


def _say_missing(missing: int, frames: int, decoder: MaskDecoder) -> None:
    if missing:
        decoder.say_once("missing", f"{missing} of {frames} frames have no mask and are taken to have no hole")


def _number(path: Path) -> int | None:
    match = _LAST_NUMBER.search(path.stem)
    return int(match[1]) if match else None


def video_masks(mask: Path, info: VideoInfo, decoder: MaskDecoder) -> VideoMasks:
    """A mask video for a source: by number when both have as many frames (or the source has no times), else by time."""
    mask_info = probe.probe(mask)
    mask_count = probe.count_frames(mask)
    frames = info.frame_count
    if frames != mask_count and not info.is_folder:
        frames = _recount(info, mask_count)
    by_number = frames == mask_count
    if info.is_folder and not by_number:
        raise InputError(
            f"the mask video {mask} has {mask_count} frames and the folder {info.path} {frames}, which has no times to "
            "align by; give as many mask frames as frames, or the source as a video"
        )
    rates = (info.frame_rate, mask_info.frame_rate)
    if by_number and not info.is_folder and rates[0] != rates[1]:
        decoder.say_once("rates", "the mask video runs at another rate but has as many frames: matched frame by frame")
    elif not by_number:
        decoder.say_once("aligned", f"{mask_count} mask frames for {frames} frames: aligned by time stamp")
    period = 1 / info.frame_rate if info.frame_rate else Fraction(1, 25)
    return VideoMasks(mask_info, decoder, by_number=by_number, union=decoder.options.union, period=period)


def iterate_holes(source: MaskSource, frame: Frame, union: int) -> Iterator[RawHole]:
    """The masks of the frames from `union` before to `union` after, those that exist; the frame's own first."""
    own = source.at(frame, 0)
    if own is not None:
        yield own
    for offset in range(-union, union + 1):
        raw = source.at(frame, offset) if offset else None
        if raw is not None and raw is not own:
            yield raw
