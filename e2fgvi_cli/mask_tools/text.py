"""Masks of captions: text is looked for on every k-th frame, its strokes are followed in between. No printing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import video
from ..errors import InputError, UsageError
from ..system.paths import Read, Written, check_all
from ..system.publication import Publication
from ..video import images
from ..video.span import Span
from .captions import Caption, CaptionFinder, CaptionMasks
from .shown import Region, displayed, mask_names, region_in
from .text_detection import DetectText, TextBox, text_detector

SHAPES = ("strokes", "boxes")
STAYS = 0.8
"""Share of the frames looked at in which a text has to stand to be persistent."""
OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class TextOptions:
    """Which text is meant, and how it is masked.

    shape: "strokes" (the letters with their outlines) or "boxes". region: in pixels as displayed, None the frame. span:
    the frames meant. every: text is looked for on every so many frames (>= 1). persistent: only what stands in
    `STAYS` of them.
    """

    shape: str = "strokes"
    region: Region | None = None
    span: Span = field(default_factory=Span)
    every: int = 6
    persistent: bool = False

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UsageError(f"--shape {self.shape} is not known; there are {' and '.join(SHAPES)}")
        if self.every < 1:
            raise UsageError(f"--every {self.every} must be at least 1")


@dataclass(frozen=True)
class TextMasks:
    """frames: how many masks were written; masked: how many of them hold something; captions: what was found, by its
    first frame; mean_share: of the frame, over the masks that hold something."""

    frames: int
    masked: int
    captions: list[Caption]
    mean_share: float


def text_to_folder(
    clip: Path,
    target: Path,
    options: TextOptions = TextOptions(),
    *,
    detect: DetectText | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> TextMasks:
    """Find text in a clip and write a mask a frame, with the names of the clip's frames (numbers from 000000 for a
    video), as displayed; the folder appears when it is complete. The clip is decoded twice, a frame at a time.

    detect: another detector than RapidOCR's. on_progress: stage ("looking", "writing"), frames done, frames in all
    (None where nobody knows). Raises `InputError` (no extra, a region outside the frame, no text found) and
    `UsageError`.
    """
    check_all([Written("the output", target, True, overwrite)], [Read("the input", clip)])
    with video.open_reader(clip) as reader:
        region = region_in(options.region, reader.info)
        video.check_output(target, reader.info, video.OutputOptions(codec="png", overwrite=overwrite))
    detect = detect or text_detector()
    captions, frames, meant = _captions(clip, options, region, detect, on_progress)
    if not meant:
        raise InputError(f"no frame of {clip} lies between --from and --to: it has {frames}")
    if not captions:
        raise InputError(_nothing(clip, options, meant))
    shares = []
    with Publication() as publication, video.open_reader(clip) as reader:
        folder = publication.temporary(target, overwrite=overwrite)
        folder.mkdir()
        names = mask_names(reader.info, frames)
        drawn = CaptionMasks(captions, options.every, options.shape)
        for frame in reader:
            picture = displayed(frame, reader.info) if options.span.holds(frame) else None
            mask = drawn.mask(frame.index, picture, reader.info.display_size)
            images.write_image(folder / names[frame.index], mask * np.uint8(255))
            shares.append(float(mask.mean()))
            on_progress("writing", frame.index + 1, frames)
    held = [share for share in shares if share]
    return TextMasks(frames, len(held), captions, sum(held) / len(held) if held else 0.0)


def _captions(
    clip: Path, options: TextOptions, region: Region, detect: DetectText, on_progress: OnProgress
) -> tuple[list[Caption], int, int]:
    """What was found, the number of frames, and that of the frames looked at."""
    finder, frames, looked = CaptionFinder(), 0, 0
    last: tuple[int, NDArray[np.uint8]] | None = None
    meant = 0  # the last frame meant is looked at, too: a caption may begin after the one before

    def look(index: int, picture: NDArray[np.uint8]) -> None:
        found = detect(np.ascontiguousarray(picture[region.slices]))
        finder.look(index, picture, [_moved(line, region) for line in found])

    with video.open_reader(clip) as reader:
        for frame in reader:
            frames += 1
            if options.span.holds(frame):
                last = frame.index, displayed(frame, reader.info)
                finder.see(last[1])
                if meant % options.every == 0:
                    look(*last)
                    looked, last = looked + 1, None
                meant += 1
            on_progress("looking", frames, reader.info.frame_count)
        if last is not None:
            look(*last)
            looked += 1
    captions = finder.finish()
    if options.persistent:
        captions = [caption for caption in captions if caption.seen >= STAYS * looked]
    return captions, frames, looked


def _moved(line: TextBox, region: Region) -> TextBox:
    return TextBox(line.x + region.x, line.y + region.y, line.width, line.height, line.confidence, line.letters)


def _nothing(clip: Path, options: TextOptions, looked: int) -> str:
    what = "no text that stays" if options.persistent else "no text"
    where = "" if options.region is None else " in --region"
    return (
        f"{what} was found in {clip}{where}, looking at {looked} frames: try --every 1, or give the place to "
        "`e2fgvi inpaint --mask-box`"
    )
