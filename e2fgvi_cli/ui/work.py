"""What takes a while: following, testing a frame, filling. One thing at a time, in a thread of its own, so that it goes
on when the page is closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import masks
from ..api import inpaint, track_mask
from ..comparison.layout import eight_bits
from ..errors import InputError, UserError, out_of_memory
from ..mask_tools import engines
from ..mask_tools.follower import PromptedFollower, Prompts
from ..mask_tools.marks import BoxMark, KeyframeMark, PointMark
from ..mask_tools.track_job import working_size
from ..mask_tools.tracking import mask_from_box, require_in_frame
from ..options import InpaintOptions
from ..preview import fill_frame
from ..types import HoleArray, PixelArray
from ..video import OutputOptions
from ..video.span import Moment, Span
from .pictures import Pictures, jpeg
from .project import ConflictError, Project, apply_marks

if TYPE_CHECKING:
    from ..pipeline import Inpainting

LONG = 400
"""A test of a frame further into the clip does not begin at the clip's first frame: decoding would take longest."""
_UNKNOWN = 10


class StoppedError(UserError):
    """Somebody cancelled the work."""


@dataclass
class Job:
    """What is or was done last. `state`: running, done, cancelled or failed, then `message` is the sentence."""

    kind: str
    clip: str
    frame: int | None = None
    state: str = "running"
    done: int = 0
    total: int | None = None
    share: float = 0.0
    message: str = ""
    started: float = 0.0
    seconds: float = 0.0
    first: tuple[float, float] | None = None
    latest: float = 0.0

    def advance(self, done: int, total: int | None, share: float) -> None:
        """Frames done, and the share of the expected time."""
        self.done, self.total = done, total
        if share > self.share:
            self.share, self.latest = share, time.monotonic()
            self.first = self.first or (self.latest, share)

    def record(self) -> dict[str, Any]:
        """For the page: `seconds` so far, `eta` seconds to go, None while unknown. Loading the weights is no measure of
        what is left, so time counts from the first share, and reading says little: nothing is said for `_UNKNOWN`
        seconds. While a window is computed no share comes, and the seconds to go run down."""
        running, now = self.state == "running", time.monotonic()
        seconds, eta = now - self.started if running else self.seconds, None
        began, share = self.first or (now, 0.0)
        if running and now - began >= _UNKNOWN and self.share - share > 0.02:
            then = (self.latest - began) * (1 - self.share) / (self.share - share)
            eta = max(then - (now - self.latest), 0.0)
        kept = ("kind", "clip", "frame", "state", "done", "total", "share", "message")
        return {**{name: getattr(self, name) for name in kept}, "seconds": seconds, "eta": eta}


class Worker:
    """Runs one job at a time."""

    def __init__(self, pictures: Pictures, device: str = "auto", weights: str = "open") -> None:
        self.job: Job | None = None
        self.cancel = Event()
        self.device, self.weights = device, weights
        self._pictures = pictures
        self._thread: Thread | None = None
        self._lock = Lock()
        self._engine: engines.Engine | None = None
        self._filling: Inpainting | None = None

    def record(self) -> dict[str, Any] | None:
        """The job for the page, as far as it is now; `ending`: cancelled, but not at its end yet."""
        if self.job is None:
            return None
        filling = self._filling
        if filling is not None:
            progress = filling.progress
            self.job.advance(progress.done, progress.total, progress.share or 0.0)
        return {**self.job.record(), "ending": self.job.state == "running" and self.cancel.is_set()}

    def require_idle(self) -> None:
        """Raise `ConflictError` while something is done."""
        if self.job is not None and self.job.state == "running":
            raise ConflictError(f"{self.job.clip} is being worked on ({self.job.kind}): wait for it or cancel it")

    def start(self, kind: str, project: Project, frame: int | None = None) -> None:
        """Begin to "track", "test" (a frame) or "fill" a clip. Raises `ConflictError` while something is done, and
        `InputError` where something is missing."""
        if kind == "track" and not marks_of(project):
            raise InputError("nothing is marked yet: draw a box around the object in any frame")
        if kind != "track" and project.tracked is None:
            raise InputError("there are no masks yet: mark the object and track it first")
        with self._lock:
            self.require_idle()
            self.cancel.clear()
            self.job = Job(kind, project.name, frame, started=time.monotonic())
            work: dict[str, Callable[[], None]] = {
                "track": lambda: self._track(project),
                "test": lambda: self._test(project, frame or 0),
                "fill": lambda: self._fill(project),
            }
            self._thread = Thread(target=self._run, args=(self.job, work[kind]), name="e2fgvi-ui", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Cancel what is done and wait for its end."""
        self.cancel.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, job: Job, work: Callable[[], None]) -> None:
        try:
            work()
            state = "done"
        except Exception as error:
            state = "cancelled" if self.cancel.is_set() else "failed"
            memory = out_of_memory(error)
            job.message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            if memory is not None:
                job.message = f"out of memory: {memory} (close other programs, or use the command with --max-memory)"
        job.seconds = time.monotonic() - job.started
        job.state = state

    def boxed(self, picture: PixelArray, box: tuple[float, float, float, float]) -> HoleArray:
        """(H, W) mask of the object in a box (x, y, width, height) of a frame (H, W, 3), by what follows it.

        Raises `UsageError` for a box outside the frame, `InputError` for one in which nothing is found, `WeightsError`,
        `DeviceError`.
        """
        import cv2

        require_in_frame(box, picture.shape[:2])
        if self._engine is None:
            self._engine = engines.build_engine(weights=self.weights, device=self.device)
        follower = self._engine.make()
        if not isinstance(follower, PromptedFollower):
            return mask_from_box(picture, box)
        height, width = working_size(*picture.shape[:2])
        scale = height / picture.shape[0], width / picture.shape[1]
        left, top = box[0] * scale[1], box[1] * scale[0]
        corners = (left, top, left + box[2] * scale[1], top + box[3] * scale[0])
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        found = follower.prompt(small, Prompts(box=corners))
        if not found.any():
            raise InputError("nothing was found in the box: draw it closely around the object, or paint the object")
        smooth = cv2.resize(found * np.uint8(255), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(smooth > 127, np.uint8)

    def _track(self, project: Project) -> None:
        changed = project.changed
        done = track_mask(
            project.path,
            project.masks,
            marks_of(project),
            weights=self.weights,
            device=self.device,
            overwrite=True,
            on_progress=self._counted,
        )
        least: dict[int, tuple[float, int]] = {}
        for one in done.followed:
            here = (round(float(one.confidence), 3), one.object)
            least[one.frame] = min(least.get(one.frame, here), here)
        project.confidence = [least[frame][0] if frame in least else 0.0 for frame in range(done.frames)]
        project.look_at = [[frame, least[frame][1]] for frame in done.look_at]
        project.followed, project.tracked = sorted({one.object for one in done.followed}), changed
        project.adopt_followed()
        project.save()

    def _counted(self, done: int, total: int) -> None:
        if self.cancel.is_set():
            raise StoppedError("cancelled: the masks are as they were before")
        assert self.job is not None
        self.job.advance(done, total, done / max(total, 1))

    def _fill(self, project: Project) -> None:
        apply_marks(project)
        options = InpaintOptions(
            video=project.path,
            mask=project.masks,
            output=project.output,
            device=self.device,
            weights=self.weights,
            encoding=OutputOptions(overwrite=True),
        )
        with inpaint(options, cancel=self.cancel) as run:
            self._filling = run
            try:
                run.finish()
            finally:
                self._filling = None
        project.filled = True
        project.save()

    def _test(self, project: Project, frame: int) -> None:
        apply_marks(project)
        span = Span(start=Moment(frame=frame - LONG)) if frame > LONG else Span()
        finished, info = fill_frame(
            InpaintOptions(
                video=project.path,
                mask=project.masks,
                output=project.test_picture(frame),
                device=self.device,
                weights=self.weights,
                span=span,
            ),
            frame,
            on_share=self._shared,
        )
        picture = masks.turn_to_display(eight_bits(finished.rgb), info.rotation)
        write_whole(project.test_picture(frame), jpeg(np.ascontiguousarray(picture)))
        project.tested = sorted({*project.tested, frame})
        project.save()

    def _shared(self, share: float) -> None:
        if self.cancel.is_set():
            raise StoppedError("cancelled: the frame was not filled")
        assert self.job is not None
        self.job.advance(0, None, share)


def marks_of(project: Project) -> list[PointMark | BoxMark | KeyframeMark]:
    """The marks of a clip as `track_mask` takes them: without those that say that the object is not there."""
    found: list[PointMark | BoxMark | KeyframeMark] = []
    for number, frames in sorted(project.marks.items()):
        for frame, mark in sorted(frames.items()):
            if "box" in mark:
                x, y, width, height = mark["box"]
                found.append(BoxMark(frame, x, y, width, height, number))
            elif "points" in mark:
                found += [PointMark(frame, x, y, bool(inside), number) for x, y, inside in mark["points"]]
            elif mark["mask"]:
                found.append(KeyframeMark(frame, project.keyframe(number, frame), number))
    return found


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, over an older one."""
    from ..system.publication import Publication

    with Publication() as publication:
        publication.temporary(path, overwrite=True).write_bytes(data)
