"""The Python interface: `from e2fgvi_cli import inpaint, InpaintOptions`.

    run = inpaint(InpaintOptions(video=Path("clip.mp4"), mask=Path("masks"), output=Path("clean.mp4")))
    for frame in run:          # finished frames in order, while the output is written
        show(frame.rgb)
    print(run.summary.seconds_per_frame)

or `summary = inpaint(options).finish()`. Importing this module costs neither torch nor PyAV; calling `inpaint` does.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

from .options import InpaintOptions
from .types import Progress

if TYPE_CHECKING:
    from .pipeline import Inpainting

__all__ = ["InpaintOptions", "inpaint"]


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
