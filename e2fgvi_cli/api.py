"""The Python interface: `from e2fgvi_cli import inpaint, InpaintOptions`.

    run = inpaint(InpaintOptions(video=Path("clip.mp4"), mask=Path("masks"), output=Path("clean.mp4")))
    for frame in run:          # finished frames in order, while the output is written
        show(frame.rgb)
    print(run.summary.seconds_per_frame)

or `summary = inpaint(options).finish()`. Importing this module costs neither torch nor PyAV; calling `inpaint` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from .mask_tools.marks import BoxMark, KeyframeMark, PointMark
from .options import InpaintOptions
from .types import Progress

if TYPE_CHECKING:
    from .mask_tools.grow_job import GrownMasks, GrowOptions
    from .mask_tools.text import OnProgress, TextMasks, TextOptions
    from .mask_tools.track_job import Tracked
    from .pipeline import Inpainting

__all__ = ["BoxMark", "InpaintOptions", "KeyframeMark", "PointMark", "find_text", "grow_mask", "inpaint", "track_mask"]


def inpaint(
    options: InpaintOptions,
    *,
    write: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    cancel: Event | None = None,
) -> Inpainting:
    """A run over one clip that has not begun: iterate over it for the finished frames, or call `finish()` for the
    `Summary`.

    Each item is a `frames.stages.FinishedFrame`: `rgb` (H, W, 3) the finished picture, `source.frame` and `source.hole`
    what it was made of. The output is published when the last frame has been taken; stopping earlier (break, an
    exception, `close()`, leaving a `with`) leaves nothing under its name. `summary` is there afterwards.

    write: False only yields the frames; `options.output` and the other targets are not touched.
    on_progress: called after every frame. on_notice: called with sentences as they become true (device, weights, what
    was assumed of the input). Both run in the thread that iterates; what they raise ends the run.
    cancel: once set, from any thread, the next frame raises `pipeline.CancelledError`.

    Raises the errors of `e2fgvi_cli.errors`: at the first frame for whatever can be known before the work, later for
    the rest.
    """
    from .pipeline import Inpainting

    return Inpainting(options, write=write, on_progress=on_progress, on_notice=on_notice, cancel=cancel)


def track_mask(
    video: Path,
    output: Path,
    marks: Sequence[PointMark | BoxMark | KeyframeMark],
    *,
    engine: str = "auto",
    weights: str = "open",
    device: str = "auto",
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tracked:
    """Follow what the `marks` mean through `video`, both ways, and write the folder `output` with a mask a frame.

    Marks are on frames counted from 0 and in pixels of the clip as displayed. A mark on another frame of an object
    corrects what is before it and after it, up to the next marked ones. One object is written as 0 and 255, several as
    the numbers of the objects (`object` of a mark, 1 to 64), which `MaskOptions(ids=...)` takes apart.
    `OUTPUT.confidence.csv` beside the folder says how sure each mask is.

    engine: "auto", "own", "sam2" or "classic". weights: whose SPyNet "classic" uses, a known name or a file.
    device: as for --device. on_progress: called with (frames done, frames in all), all objects counted.

    Returns `mask_tools.track_job.Tracked`: `followed` (frame, object, confidence 0..1, share of the frame), `look_at`
    (frames to look at), `lost`, `notices`, `warnings`. Raises the errors of `e2fgvi_cli.errors`, and then
    nothing is written.
    """
    from .mask_tools.engines import build_engine
    from .mask_tools.marks import by_object
    from .mask_tools.track_job import check_track_paths, track_to_folder

    by_object(marks)
    check_track_paths(video, output, marks, overwrite=overwrite)
    make = build_engine(engine, weights=weights, device=device).make
    return track_to_folder(video, output, marks, make, overwrite=overwrite, on_progress=on_progress)


def find_text(
    video: Path,
    output: Path,
    options: TextOptions | None = None,
    *,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> TextMasks:
    """Find the captions of a clip and write a mask a frame into the folder `output`, which `InpaintOptions.mask` takes.

    options: an `e2fgvi_cli.mask_tools.text.TextOptions` (strokes or boxes, region, span of frames, how often to look).
    on_progress: called with the stage ("looking", "writing"), the frames done and those in all, or None where nobody
    knows. What it returns holds each caption's box in pixels of the clip as displayed, and its first and last frame
    among those looked at. Detection runs on the CPU.

    Raises `InputError`: no text found, a region outside the frame, an output that is there, the extra `[text]` missing.
    """
    from .mask_tools.text import TextOptions, text_to_folder

    silent: OnProgress = lambda stage, done, total: None  # noqa: E731
    return text_to_folder(
        video, output, options or TextOptions(), overwrite=overwrite, on_progress=on_progress or silent
    )


def grow_mask(
    video: Path,
    mask: Path,
    output: Path,
    options: GrowOptions | None = None,
    *,
    preview: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> GrownMasks:
    """Extend the masks of a clip over the shadow of what they cover, and write a mask a frame into the folder `output`.
    Where files hold several objects by number, so do those written.

    options: an `e2fgvi_cli.mask_tools.grow_job.GrowOptions` (shadow or reflection, how far, pixels all around).
    preview: a PNG of some frames before and after. on_progress: called with the frames done and those in all, or None
    where nobody knows.

    Returns `mask_tools.grow_job.GrownMasks`: shares of the frame before and after, and `unsure`, the frames in which a
    shadow cannot be told. Raises the errors of `e2fgvi_cli.errors`, and then nothing is written.
    """
    from .mask_tools.grow_job import GrowOptions, grow_to_folder

    return grow_to_folder(
        video, mask, output, options or GrowOptions(), sheet=preview, overwrite=overwrite, on_progress=on_progress
    )
