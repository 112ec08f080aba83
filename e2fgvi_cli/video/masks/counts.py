"""How many frames a clip and its masks have, where that decides which mask is whose.

Only decoding tells, and it takes as long as reading the clip; so it is done where the answer matters, and once a file.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from ... import masks
from ...types import VideoInfo
from ..reading import probe

_UNEVEN = 0.25  # of a frame's duration: what rounding to a container's ticks may move a frame by


def frames_for(stems: list[str], info: VideoInfo) -> int:
    """How many frames a clip has for masks of these names.

    Taken from the container where the masks' numbers leave no doubt which frame each is for.
    """
    numbers = masks.numbering(stems)
    plain = numbers is not None and numbers.step == 1 and numbers.rises and numbers.values[0] <= 1
    if plain and info.frame_count == len(stems):
        return len(stems)
    return count_for(len(stems), info)


def count_for(given: int, info: VideoInfo) -> int:
    """How many frames a clip has for `given` masks, by decoding it.

    A file that is cut short has fewer frames than it claims; masks for all that it claims fit it.
    """
    counted, tail = count_decoded(info)
    return given if tail and given == counted + tail else counted


def count_decoded(info: VideoInfo) -> tuple[int, int]:
    """As `probe.count_frames_and_tail`, remembered for a file that does not change."""
    if info.is_folder:
        return probe.count_frames_and_tail(info)
    stamp = info.path.stat()
    return _count_decoded(info.path, stamp.st_size, stamp.st_mtime_ns)


@lru_cache(maxsize=64)
def _count_decoded(path: Path, size: int, modified: int) -> tuple[int, int]:
    return probe.count_frames_and_tail(probe.probe(path))


def in_step(info: VideoInfo, mask_info: VideoInfo) -> bool:
    """Whether two videos run evenly at one rate with as many packets: then frame n of the one is at the time of frame n
    of the other, whatever of them decodes."""
    if info.is_folder or mask_info.is_folder or info.frame_rate is None or info.frame_rate != mask_info.frame_rate:
        return False
    packets = _even_packets(info)
    return packets is not None and packets == _even_packets(mask_info)


def _even_packets(info: VideoInfo) -> int | None:
    """How many packets a video has if each lies one frame after the one before, else None. Nothing is decoded."""
    times = _packet_times(info.path)
    if times is None:
        return None
    assert info.frame_rate is not None
    period = 1 / float(info.frame_rate * (info.time_base or 1))
    steps = [later - earlier for earlier, later in pairwise(sorted(times))]
    allowed = max(_UNEVEN * period, 1.01 if period > 2 else 0)
    return len(times) if all(abs(step - period) <= allowed for step in steps) else None


def _packet_times(path: Path) -> list[int] | None:
    """A time of each packet in the stream's ticks, from the container's index where it has all; None where some have
    none."""
    with probe.open_container(path) as container:
        stream: Any = probe.main_video_stream(container, path)
        index = list(stream.index_entries)
        if stream.frames == len(index) > 0:
            return [entry.timestamp for entry in index if not entry.is_discard]
        try:
            times = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
        except av.FFmpegError:
            return None
    return None if None in times else times
