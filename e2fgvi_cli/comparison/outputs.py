"""The comparison outputs of one run, written while its frames are finished."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

import av
import numpy as np

from .. import masks
from ..errors import UsageError
from ..system.paths import Read, check_all
from ..system.publication import Publication
from ..types import Frame, HoleArray, PixelArray, VideoInfo
from ..video import FrameWriter, OutputOptions, check_output, open_writer
from ..video.writing.writer import picture_of_samples
from .gif import GifLoop
from .layout import COMPARE_MODES, Picture, before_after, eight_bits, overlay
from .options import ComparisonOptions
from .sheet import ContactSheet


def check_comparison(options: ComparisonOptions, info: VideoInfo) -> None:
    """Raise `UsageError` or `InputError` for what cannot be written, before any work."""
    if options.mode not in COMPARE_MODES:
        raise UsageError(f"--compare {options.mode} is unknown; choose {', '.join(COMPARE_MODES)}")
    if options.video is not None:
        check_output(options.video, _film_info(info, options.mode), _film_options(options))
    for flag, target, suffix in (("--sheet", options.sheet, ".png"), ("--gif", options.gif, ".gif")):
        if target is None:
            continue
        if target.suffix.lower() != suffix:
            raise UsageError(f"{flag} {target} should end in {suffix}")
    check_all(options.writes(), [Read("the input", info.path)])


def _film_options(options: ComparisonOptions) -> OutputOptions:
    return OutputOptions(overwrite=options.overwrite)


def _film_size(info: VideoInfo, mode: str) -> tuple[int, int]:
    """(height, width) of the film, even so that every player takes it."""
    height, width = info.display_size
    if mode == "side":
        width = 2 * width + 2
    return height + height % 2, width + width % 2


def _film_info(info: VideoInfo, mode: str) -> VideoInfo:
    """The film as a source of 8-bit RGB pictures with the clip's times and sound, turned upright."""
    height, width = _film_size(info, mode)
    return replace(
        info,
        height=height,
        width=width,
        stored_size=None,
        pixel_format="rgb" if info.is_folder else "rgb24",
        bit_depth=8,
        codec="",
        color=(2, 0, *info.color[2:]),
        rotation=0,
        display_matrix=None,
        has_alpha=False,
        hdr_static=("", ""),
    )


class ComparisonWriter:
    """Context manager: `write(frame, hole, result)` for every frame in order. On an error nothing is published.

    publication: publishes the files, when that is left; None: leaving the writer does.
    """

    def __init__(self, options: ComparisonOptions, info: VideoInfo, publication: Publication | None = None) -> None:
        self._options, self._info = options, info
        self._own_publication = publication is None
        self._publication = publication or Publication()
        self._stack = ExitStack()
        self._film: FrameWriter | None = None
        self._sheet = ContactSheet(count=options.sheet_count, frames=options.sheet_frames)
        self._gif = GifLoop()
        self.notices: list[str] = []

    def __enter__(self) -> ComparisonWriter:
        check_comparison(self._options, self._info)
        if self._options.video is not None:
            info, encoding = _film_info(self._info, self._options.mode), _film_options(self._options)
            film = open_writer(self._options.video, info, encoding, self._publication)
            self._film = self._stack.enter_context(film)
        return self

    def write(self, frame: Frame, hole: HoleArray, result: PixelArray) -> None:
        """`frame` is the source's, `hole` (H, W) its hole, `result` (H, W, 3) the finished picture; as stored."""
        source, hole, result = (masks.turn_to_display(one, self._info.rotation) for one in (frame.rgb, hole, result))
        wants_gif = self._options.gif is not None and self._gif.wants(frame.time)
        if self._film is not None or wants_gif:
            picture = before_after(source, result, self._options.mode, frame.time)
            if self._film is not None:
                self._film.write(self._film_frame(frame, picture), None, None)
            if wants_gif:
                self._gif.offer(picture, frame.time)
        if self._options.sheet is not None and self._sheet.wants(frame.index):
            pictures = [eight_bits(source), overlay(source, hole), eight_bits(result)]
            self._sheet.offer(frame.index, pictures, f"frame {frame.index}: source, mask, result")

    def _film_frame(self, frame: Frame, picture: Picture) -> Frame:
        height, width = _film_size(self._info, self._options.mode)
        padded = np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode="edge")
        native = picture_of_samples(padded)
        if isinstance(frame.native, av.VideoFrame):
            native.pts, native.duration = frame.native.pts, frame.native.duration
        return Frame(frame.index, padded, frame.time, frame.name, native)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.__exit__(kind, error, trace)
            if kind is None:
                self._save_pictures()
        except BaseException:
            self._publication.discard()
            raise
        if self._own_publication and kind is None:
            self._publication.publish()
        elif self._own_publication:
            self._publication.discard()

    def _save_pictures(self) -> None:
        allowed = self._options.overwrite
        for target, output in ((self._options.sheet, self._sheet), (self._options.gif, self._gif)):
            if target is not None and not output.save(target, self._publication, overwrite=allowed):
                self.notices.append(f"{target} was not written: none of its frames exist")
