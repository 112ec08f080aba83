"""What containers do not say about when pictures are shown: their order in AVI, and how long each one is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import av

from ...types import VideoInfo

# Of these, files keep one time a packet, in the order of decoding. In AVI the first is that of the first picture shown;
# in ASF it is late by as many pictures as the decoder holds back.
_WITHOUT_ORDER = frozenset({"avi", "asf"})
_REORDERED = frozenset({"h264", "hevc"})


def lack_order(container: Any, stream: Any) -> bool:
    """Whether the times of a stream's packets may be in decoding order, where B-frames are shown in another."""
    context = stream.codec_context
    known = container.format.name in _WITHOUT_ORDER and context is not None
    return known and context.codec.canonical_name in _REORDERED


class StoredOrder:
    """Gives the first picture shown the time of the first packet, the second that of the second, and so on.

    Leaves pictures alone if an ASF has times of showing after all: the way from decoding to showing then differs.
    """

    def __init__(self, container: Any) -> None:
        self._delayed = container.format.name == "asf"
        self._sent: deque[tuple[int, int]] = deque()
        self._active: bool | None = None
        self._delay = 0

    def sent(self, packet: Any) -> None:
        """A packet goes to the decoder."""
        if packet.size and packet.dts is not None:
            self._sent.append((packet.dts, (packet.pts if packet.pts is not None else packet.dts) - packet.dts))

    def lost(self) -> None:
        """The packet sent last did not decode."""
        if self._sent:
            self._sent.pop()

    def place(self, picture: av.VideoFrame) -> None:
        """Set the time of the next picture."""
        if not self._sent:
            return
        if self._active is None:
            self._active = not self._delayed or len({ahead for _, ahead in self._sent}) == 1
            if self._delayed and picture.dts is not None:
                self._delay = picture.dts - self._sent[0][0]
        place = self._sent.popleft()[0] + self._delay
        if self._active:
            picture.pts = place


def with_lengths(
    pictures: Iterator[av.VideoFrame | None], info: VideoInfo, origin: int | None = None
) -> Iterator[av.VideoFrame | None]:
    """The same pictures, each with its `duration` up to the next one; the last one's is the file's word, if that is
    likely.

    A single time far ahead of the next picture's is wrong: it is set back to the time before, for `FrameClock` to
    repair. origin: the time of the clip's first picture, if that is not among these.
    """
    held: av.VideoFrame | None = None
    lengths = _Lengths(info, origin)
    for picture in pictures:
        if picture is None:
            yield None
            continue
        if held is not None:
            lengths.settle(held, picture)
            yield held
        held = picture
    if held is not None:
        lengths.settle_last(held)
        yield held


class _Lengths:
    def __init__(self, info: VideoInfo, origin: int | None) -> None:
        self._time_base, self._claimed = info.time_base, info.duration
        rate = info.frame_rate
        self._usual = 0 if not rate or not info.time_base else round(1 / (rate * info.time_base))
        self._second = 0 if not info.time_base else round(1 / info.time_base)
        self._first = origin
        self._before: int | None = None
        self._longest = 0

    def settle(self, picture: av.VideoFrame, following: av.VideoFrame) -> None:
        """The length of a picture that another one follows."""
        if picture.pts is None or following.pts is None:
            return
        before = self._before
        if before is not None and before < following.pts < picture.pts - max(self._second, 2 * self._usual):
            picture.pts = before  # far ahead of the next one, which is where this one should be
        step = following.pts - picture.pts
        if step > 0:
            picture.duration = step
            self._longest = max(self._longest, step)
        self._first = picture.pts if self._first is None else self._first
        self._before = picture.pts

    def settle_last(self, picture: av.VideoFrame) -> None:
        """The length of the last picture: the container's end, unless that means that pictures are missing."""
        if picture.pts is None or self._claimed is None or self._time_base is None:
            return
        first = picture.pts if self._first is None else self._first
        claimed = round(self._claimed / self._time_base) - (picture.pts - first)
        if claimed > 0 and self._is_likely(claimed, picture.duration or 0):
            picture.duration = claimed

    def _is_likely(self, claimed: int, own: int) -> bool:
        if abs(claimed - own) <= max(1, own // 8):
            return True  # the packet says so too
        return 2 * claimed <= 3 * self._usual or claimed <= 4 * self._longest
