"""What a source says about itself (title, chapters, time code, ...), as far as the output's container takes it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av

from ...types import VideoInfo
from .. import local
from .cut_streams import chapters_of_part, later_time_codes

# what a muxer writes about itself, or what another field already carries
_NOT_METADATA = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "rotate", "duration"})
# what mkvmerge notes about a stream, no longer true of the new one
_STATISTICS = ("_statistics", "number_of_", "bps")
_WITH_TIME_CODES = ("mp4", "mov")
_SMALL = {"webm": "libvpx"}  # an encoder for the trial; MPEG-4 elsewhere


REFUSALS = (av.FFmpegError, ValueError, OverflowError)
"""What PyAV raises for streams, packets and texts that a muxer does not take."""


class Nowhere(io.RawIOBase):
    """A file that keeps its length and nothing else."""

    def __init__(self) -> None:
        self._place = self._end = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._place += len(data)
        self._end = max(self._end, self._place)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._end)[whence]
        return self._place

    def tell(self) -> int:
        return self._place


def metadata_of(container: Any) -> dict[str, str]:
    """The source file's metadata, without what a muxer writes about itself."""
    return {key: value for key, value in container.metadata.items() if key.lower() not in _NOT_METADATA}


def stream_metadata(stream: Any) -> dict[str, str]:
    """A stream's language, title and other metadata, without what is no longer true of a new one."""
    return {
        key: value
        for key, value in stream.metadata.items()
        if key.lower() not in _NOT_METADATA and not key.lower().startswith(_STATISTICS)
    }


@dataclass(frozen=True)
class Descriptions:
    """Metadata of the file and of its main video stream, and chapters as PyAV has them; `left_out` names what is not
    there."""

    of_file: dict[str, str]
    of_video: dict[str, str]
    chapters: tuple[Any, ...]
    left_out: tuple[str, ...] = field(default=())

    def write(self, output: Any, video: Any) -> None:
        """Set them on an output that has no header yet, and on its video stream."""
        output.metadata.update(self.of_file)
        video.metadata.update(self.of_video)
        if self.chapters:
            output.set_chapters(list(self.chapters))


def descriptions_that_fit(
    source: Any, main: Any, container: str, options: dict[str, str], rate: Fraction, info: VideoInfo
) -> Descriptions:
    """All of an opened source's that FFmpeg's muxer `container` takes under its `options`; the fewest are left out.

    A time code of another frame rate or a chapter of impossible times is refused by some muxers, in their trailer at
    last. Tried on a picture of 16 x 16.
    """
    every = Descriptions(metadata_of(source), stream_metadata(main), tuple(source.chapters()))
    if info.cut is not None:
        of_file, of_video = (later_time_codes(texts, info) for texts in (every.of_file, every.of_video))
        every = Descriptions(of_file, of_video, tuple(chapters_of_part(list(every.chapters), info)))
    rate = rate if container in _WITH_TIME_CODES else Fraction(25)
    return next((one for one in _fewer(every) if _is_taken(one, container, options, rate)), every)


def _fewer(every: Descriptions) -> Iterator[Descriptions]:
    yield every
    untimed = replace(
        every,
        of_file=_without_time_code(every.of_file),
        of_video=_without_time_code(every.of_video),
        left_out=("time code",),
    )
    if _time_codes(every.of_file, every.of_video):
        yield untimed
    if every.chapters:
        yield replace(every, chapters=(), left_out=("chapters",))
        yield replace(untimed, chapters=(), left_out=("time code", "chapters"))
    yield Descriptions({}, {}, (), ("metadata", "chapters"))


def _without_time_code(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key.lower() != "timecode"}


def _is_taken(descriptions: Descriptions, container: str, options: dict[str, str], rate: Fraction) -> bool:
    file = io.BytesIO()
    output: Any = av.open(file, "w", format=container, container_options=options, **local.KEEP_METADATA_BYTES)
    try:
        video = output.add_stream(_SMALL.get(container, "mpeg4"), rate=rate)
        video.codec_context.width = video.codec_context.height = 16
        video.codec_context.time_base = Fraction(1, 25)  # the encoder takes no odd ones, and only the rate matters
        descriptions.write(output, video)
        picture = av.VideoFrame(16, 16, "yuv420p")
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        output.mux(video.encode(picture))
        output.mux(video.encode(None))
        output.close()
    except REFUSALS:
        with contextlib.suppress(*REFUSALS):
            output.close()
        return False
    if container not in _WITH_TIME_CODES or not _time_codes(descriptions.of_file, descriptions.of_video):
        return True
    file.seek(0)
    with av.open(file, **local.KEEP_METADATA_BYTES) as written:  # some time codes are left out without a word
        return bool(_time_codes(*(stream.metadata for stream in written.streams)))


def _time_codes(*metadata: dict[str, str]) -> list[str]:
    return [value for one in metadata for key, value in one.items() if key.lower() == "timecode"]
