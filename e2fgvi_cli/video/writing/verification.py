"""Re-reading a result: what differs from the source outside the hole, and whether frames, times and sound are all
there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ... import masks
from ...types import Frame, VideoInfo
from .. import images, native
from ..images.stills import is_stills
from ..reading import probe
from ..reading.reader import DEFAULT_FOLDER_RATE, open_reader, reader_of
from .codecs import Encoding
from .cut_streams import StreamCut

AlphaAt = Callable[[Frame], NDArray[Any] | None]


# Largest differences of a sample, in parts of 255, that codecs made of camera clips at their default quality
_USUAL = {"h264": (20, 40), "h265": (25, 60), "vp9": (20, 45), "av1": (30, 65), "prores": (5, 20)}
_END_TOLERANCE = Fraction(1, 50)
_SOUND_TOLERANCE = Fraction(1, 10)  # containers round where sound ends to whole packets, or trim it


@dataclass(frozen=True)
class Verification:
    """`largest_difference` outside the hole in `units` ("10-bit samples", "8-bit RGB", ...; 0 = bit-identical), at
    frame `worst_frame`; durations in seconds, to the end of the last frame; sound as (packets, of PCM bytes; seconds)
    for each audio stream. `retimed`: the output has another frame rate on purpose, so that times and sound are not
    compared."""

    largest_difference: int
    worst_frame: int | None
    units: str
    source_frames: int
    output_frames: int
    source_seconds: Fraction
    output_seconds: Fraction
    largest_time_shift: Fraction
    source_sound: tuple[tuple[int, Fraction], ...]
    output_sound: tuple[tuple[int, Fraction], ...]
    retimed: bool = False

    def problems(self, *, lossless: bool) -> list[str]:
        """What is not as it should be, in sentences; a difference counts only where the output is `lossless`."""
        found = []
        if self.source_frames != self.output_frames:
            found.append(f"the output has {self.output_frames} frames, the source {self.source_frames}")
        if not self.retimed:
            found += self._time_problems()
        if lossless and self.largest_difference:
            found.append(
                f"outside the hole, samples differ by up to {self.largest_difference} ({self.units}), "
                f"first in frame {self.worst_frame}"
            )
        return found

    def _time_problems(self) -> Iterator[str]:
        if self.largest_time_shift > Fraction(1, 500):
            yield f"time stamps are off by up to {float(self.largest_time_shift):.3f} s"
        elif self.source_frames == self.output_frames and abs(self._longer()) > _END_TOLERANCE:
            how = "longer" if self._longer() > 0 else "shorter"
            yield (
                f"the output lasts {float(self.output_seconds):.2f} s, the source {float(self.source_seconds):.2f} s: "
                f"its last frame is shown {how}"
            )
        if not _same_sound(self.source_sound, self.output_sound):
            yield f"sound: {_lengths(self.output_sound)} in the output, {_lengths(self.source_sound)} in the source"

    def _longer(self) -> Fraction:
        return self.output_seconds - self.source_seconds

    def about_the_codec(self, encoding: Encoding, *, default_quality: bool) -> str:
        """What difference is to be expected of the output's codec, in a sentence; "" if there is none to explain."""
        if not self.largest_difference or encoding.lossless or encoding.codec not in _USUAL:
            return ""
        name, (low, high) = encoding.codec, _USUAL[encoding.codec]
        usual = f"{low} to {high} of 255 at edges and in noise"
        if not default_quality:
            usual = f"at its default quality {usual}"
        if (found := self._of_255()) is not None and default_quality and found > 2 * high:
            return (
                f"{name} is lossy, but {found:.0f} of 255 is more than usual ({usual}): look at frame "
                f"{self.worst_frame}"
            )
        exact = "--codec ffv1 (mkv)" if name in ("prores", "av1") else "--lossless or --codec ffv1 (mkv)"
        return f"{name} is lossy: usual are {usual}; {exact} keeps every sample"

    def _of_255(self) -> float | None:
        depth = re.match(r"(\d+)-bit", self.units)
        return None if depth is None else self.largest_difference * 255 / (2 ** int(depth[1]) - 1)


def _same_sound(old: tuple[tuple[int, Fraction], ...], new: tuple[tuple[int, Fraction], ...]) -> bool:
    return len(old) == len(new) and all(
        amount == other and abs(seconds - others) <= _SOUND_TOLERANCE
        for (amount, seconds), (other, others) in zip(old, new, strict=True)
    )


def _lengths(sound: tuple[tuple[int, Fraction], ...]) -> str:
    return " and ".join(f"{float(seconds):.2f} s" for _, seconds in sound) or "none"


def verify(output: Path, source: VideoInfo, alpha_at: AlphaAt, *, retimed: bool = False) -> Verification:
    """Compare `output` (video or folder of frames) with the source it was made from.

    `source` is the reader's `info` (with the size that was asked for). `alpha_at(frame)`, called with the source's
    frames in order, gives (H, W) above 0 where the result may differ, or None for nowhere. Samples are compared as
    decoded, in the source's own pixel format where the output has the same one, else as RGB. `retimed` as in
    `Verification`. Raises `InputError`.
    """
    largest, worst, units = 0, None, ""
    counts, shift = [0, 0], Fraction(0)
    ends = [Fraction(0), Fraction(0)]
    with reader_of(source) as old_reader, open_reader(Path(output)) as new_reader:
        old_frames, new_frames = iter(old_reader), iter(new_reader)
        timed = not new_reader.info.is_folder and not source.is_folder
        while True:
            old, new = next(old_frames, None), next(new_frames, None)
            for place, (frame, info) in enumerate(((old, source), (new, new_reader.info))):
                if frame is not None:
                    counts[place] += 1
                    ends[place] = frame.time + _length(frame, info)
            if old is None and new is None:
                break
            if old is None or new is None:
                continue
            difference, units = frame_difference(old, _as_stored(new, new_reader.info, source), alpha_at(old))
            if difference > largest:
                largest, worst = difference, old.index
            shift = max(shift, abs(old.time - new.time)) if timed else shift
    return Verification(
        largest,
        worst,
        units,
        counts[0],
        counts[1],
        ends[0],
        ends[1] if timed else ends[0],
        shift,
        sound_lengths(source.path, source),
        sound_lengths(output),
        retimed,
    )


def _length(frame: Frame, info: VideoInfo) -> Fraction:
    """How long a frame is shown, in seconds: as the file says, else as its rate does."""
    picture = frame.native
    if isinstance(picture, av.VideoFrame) and picture.duration and picture.time_base and not info.is_folder:
        return picture.duration * Fraction(picture.time_base)
    return 1 / (info.frame_rate or DEFAULT_FOLDER_RATE)


def _as_stored(frame: Frame, info: VideoInfo, source: VideoInfo) -> Frame:
    """Frames of a folder made from a turned video are turned for display: turn them back."""
    if not info.is_folder or source.is_folder or not source.rotation:
        return frame
    return Frame(frame.index, masks.turn_to_stored(frame.rgb, source.rotation), frame.time, frame.name)


def frame_difference(old: Frame, new: Frame, alpha: NDArray[Any] | None) -> tuple[int, str]:
    """(largest difference outside `alpha` above 0, its units). Sizes must agree, or the difference is the whole
    range."""
    covered = np.zeros(old.size, bool) if alpha is None else alpha > 0
    if old.size != new.size:
        return int(np.iinfo(old.rgb.dtype).max), "frames of another size"
    if isinstance(old.native, av.VideoFrame) and isinstance(new.native, av.VideoFrame):
        formats = [frame.native.format.name.replace("yuvj", "yuv") for frame in (old, new)]
        if formats[0] == formats[1]:
            layout = native.require_layout(formats[0])
            return _plane_difference(old.native, new.native, covered, layout), f"{layout.depth}-bit samples"
    if isinstance(old.native, images.ImageNative) and isinstance(new.native, images.ImageNative):
        samples = [frame.native.samples for frame in (old, new)]
        if (
            samples[0].shape == samples[1].shape
            and samples[0].dtype == samples[1].dtype
            and samples[0].dtype.kind == "u"
        ):
            return _largest(samples[0], samples[1], covered), f"{samples[0].dtype.itemsize * 8}-bit samples"
    deep = max(old.rgb.dtype.itemsize, new.rgb.dtype.itemsize)
    old_rgb, new_rgb = (
        frame.rgb.astype(np.int64) * (257 if deep > frame.rgb.dtype.itemsize else 1) for frame in (old, new)
    )
    return _largest(old_rgb, new_rgb, covered), f"{deep * 8}-bit RGB"


def _plane_difference(
    old: av.VideoFrame, new: av.VideoFrame, covered: NDArray[np.bool_], layout: native.PixelLayout
) -> int:
    largest = 0
    for index in range(len(old.planes)):
        old_plane, new_plane = (native.plane_view(frame, index, layout) for frame in (old, new))
        block = layout.subsampling if layout.kind == "yuv" and index in (1, 2) else (1, 1)
        largest = max(largest, _largest(old_plane, new_plane, native.any_in_block(covered, block)))
    return largest


def _largest(old: NDArray[Any], new: NDArray[Any], covered: NDArray[np.bool_]) -> int:
    outside = ~covered
    if not outside.any():
        return 0
    return int(np.abs(old[outside].astype(np.int64) - new[outside]).max())


def sound_lengths(path: Path, info: VideoInfo | None = None) -> tuple[tuple[int, Fraction], ...]:
    """(packets, of PCM bytes; seconds from the first to the end of the last) of each audio stream; () for a folder.

    info: may describe a part of the clip, of which only the sound counts."""
    if is_stills(path):
        return ()
    part = None if info is None or info.cut is None else StreamCut(info)
    with probe.open_container(path) as container:
        streams = list(container.streams.audio)
        spans: dict[int, list[Fraction]] = {stream.index: [] for stream in streams}
        amounts = dict.fromkeys(spans, 0)
        uncut = {s.index for s in streams if s.codec_context is not None and s.codec_context.name.startswith("pcm_")}
        try:
            for packet in container.demux(streams) if streams else ():
                if packet.size and packet.pts is not None and (part is None or part.take(packet)):
                    start = packet.pts * packet.time_base
                    spans[packet.stream_index] += [start, start + (packet.duration or 0) * packet.time_base]
                    amounts[packet.stream_index] += packet.size if packet.stream_index in uncut else 1
        except av.FFmpegError:
            pass  # a source that breaks off: what could be read is what could be copied
    return tuple((amounts[index], max(times) - min(times) if times else Fraction(0)) for index, times in spans.items())
