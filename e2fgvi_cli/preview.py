"""One frame, filled as the whole run would fill it, to look at before hours are spent. No Typer, no printing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import masks, video
from .engine import assemble, run_settings, select_device
from .errors import InputError, UsageError
from .fill.pieces import context_range, fill_range, smoothed_range
from .fill.progress import SHARES, WatchedEngine
from .frames.stages import FinishedFrame, HoledFrame
from .options import InpaintOptions, default_output
from .threads.opencv import one_thread_a_call
from .types import VideoInfo
from .video.reading.shots import judge

ENDLESS = 1 << 40
"""Frames of a shot whose end is not known."""


def preview_path(clip: Path, number: int) -> Path:
    """results/NAME_frame_NUMBER.png."""
    usual = default_output(clip)
    return usual.with_name(f"{usual.stem.removesuffix('_inpainted')}_frame_{number:06d}.png")


def preview_frame(
    options: InpaintOptions, number: int, *, on_notice: Callable[[str], None] = lambda _: None
) -> FinishedFrame:
    """Frame `number` of the clip, bit for bit as the run with these options would fill it; writes source and result
    beside each other to `options.output`, a PNG.

    All frames before it are decoded, and held as far as it depends on them. Raises `InputError` for a frame that is not
    there and what a run raises.
    """
    if options.output.suffix.lower() != ".png":
        raise UsageError(
            f"--preview-frame writes a picture: give --output a name that ends in .png, not {options.output}"
        )
    options.check_paths()
    finished, info = fill_frame(options, number, on_notice=on_notice)
    _write(options.output, finished, info)
    return finished


def fill_frame(
    options: InpaintOptions,
    number: int,
    *,
    on_notice: Callable[[str], None] = lambda _: None,
    on_share: Callable[[float], None] = lambda _: None,
) -> tuple[FinishedFrame, VideoInfo]:
    """As `preview_frame`, and what is known of the clip; writes nothing.

    on_share: told the share of the expected time, 0 to 1, of which most is the network's; what it raises ends the work.
    """
    device = select_device((options.devices or (options.device,))[0])
    with ExitStack() as stack:
        reader = stack.enter_context(video.open_reader(options.video, size=options.size, span=options.span))
        info = reader.info
        asked, number = number, number - (0 if info.cut is None else info.cut.first)
        if number < 0 or (info.frame_count is not None and number >= info.frame_count):
            raise _no_such_frame(info, asked)
        holes = stack.enter_context(video.open_holes(options.mask, info, options.masking))
        stack.enter_context(run_settings(options, [device], info.bit_depth))
        assembled = assemble(options, str(device), (info.height, info.width), info.bit_depth)
        for sentence in (*assembled.notices, *reader.notices, *holes.notices):
            on_notice(sentence)

        def read() -> Iterator[HoledFrame]:
            for frame in reader:
                yield HoledFrame.masked(frame, holes.hole_at(frame), options.masking.feather)

        stack.enter_context(one_thread_a_call())
        shot = _find(read(), number, options)
        if shot is None:
            raise _no_such_frame(info, asked)
        place = number - shot.first
        count = ENDLESS if info.frame_count is None else info.frame_count - shot.first
        share = _Share(place, count, options, device.type, on_share)
        engine = WatchedEngine(assembled.engine, share.reach, 0)
        (finished,) = fill_range(share.counted(shot), ENDLESS, place, place + 1, engine, options.windows)
        if finished.source.box is None:
            on_notice(f"frame {asked} has no hole: it stays as it is")
    return finished, info


class _Share:
    """How far frame `place` of a shot of at most `count` frames is, by what a frame costs at each of `STATIONS`."""

    def __init__(
        self, place: int, count: int, options: InpaintOptions, device: str, on_share: Callable[[float], None]
    ) -> None:
        hop, costs = options.windows.neighbor_stride, SHARES.get(device, SHARES["cuda"])
        low, high = context_range(place, place + 1, count, options.windows)
        first, end = smoothed_range(place, place + 1, count, options.windows)
        windows = sum(center >= first - hop for center in range(0, min(end + hop, count), hop))
        self._costs = {"read": costs[0] + costs[1], "encoded": costs[2], "filled": costs[3] * hop}
        # Of what is encoded, about half is there for reference.
        self._expected = {"read": high - low, "encoded": 2 * hop * (windows + 1), "filled": windows}
        self._reached: dict[str, set[int]] = {station: set() for station in self._costs}
        self._on_share = on_share

    def reach(self, station: str, frame: int) -> None:
        """A frame has come to a station; twice counts once."""
        self._reached[station].add(frame)
        parts = [(self._costs[name], self._expected[name], len(self._reached[name])) for name in self._costs]
        done = sum(cost * min(reached, expected) for cost, expected, reached in parts)
        self._on_share(done / sum(cost * expected for cost, expected, _ in parts))

    def counted(self, shot: _Shot) -> Callable[[int, int], Iterator[HoledFrame]]:
        """`shot.read`, of which every frame is counted."""

        def read(first: int, end: int) -> Iterator[HoledFrame]:
            for item in shot.read(first, end):
                self.reach("read", item.frame.index)
                yield item

        return read


def _no_such_frame(info: VideoInfo, number: int) -> InputError:
    first, has = (0, "which has") if info.cut is None else (info.cut.first, "of which are meant")
    there = "" if info.frame_count is None else f", {has} frames {first} to {first + info.frame_count - 1}"
    return InputError(f"--preview-frame {number}: there is no such frame in {info.path}{there}")


@dataclass(frozen=True)
class _Shot:
    """The shot that begins with frame `first`: `behind`, what is held of it, and `ahead`, what comes."""

    first: int
    behind: deque[HoledFrame]
    ahead: Iterator[tuple[HoledFrame, bool]]

    def read(self, first: int, end: int) -> Iterator[HoledFrame]:
        """Frames first..end-1 of the shot, as far as it goes."""
        for item in self.behind:
            if first <= item.frame.index - self.first < end:
                yield item
        for item, is_cut in self.ahead:
            if is_cut or item.frame.index - self.first >= end:
                return
            yield item


def _find(items: Iterator[HoledFrame], number: int, options: InpaintOptions) -> _Shot | None:
    """The shot of frame `number`; None where the clip ends before it."""
    windows = options.windows
    ahead = judge(items, lambda item: item.frame.rgb) if options.detect_cuts else ((item, False) for item in items)
    first, behind = 0, deque[HoledFrame]()
    for item, is_cut in ahead:
        index = item.frame.index
        if is_cut:
            first = index
            behind.clear()
        behind.append(item)
        if index == number:
            return _Shot(first, behind, ahead)
        # What the frame can depend on, if its shot is the present one.
        needed = context_range(number - first, number - first + 1, ENDLESS, windows)[0]
        while behind and behind[0].frame.index - first < needed:
            behind.popleft()
    return None


def _write(target: Path, finished: FinishedFrame, info: VideoInfo) -> None:
    import cv2

    from .comparison.layout import before_after
    from .system.publication import replace_file

    before, after = (masks.turn_to_display(p, info.rotation) for p in (finished.source.frame.rgb, finished.rgb))
    picture = before_after(before, after, "side")
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, data.tobytes())
