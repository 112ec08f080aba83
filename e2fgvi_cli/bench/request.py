"""What a benchmark is asked to do, and the list of cases that makes. Imports neither torch nor PyAV."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..fill.crops import CropOptions
from ..fill.options import WindowOptions
from ..masks import Dilation, MaskOptions
from ..options import PRECISIONS, InpaintOptions
from ..video.options import OutputOptions
from .results import END_TO_END, ENGINE, OURS, PROCESS, RELEASED, Subject
from .synthetic import SyntheticClip

MODES = ("engine", "end-to-end", "both", "process")
AGAINST = ("released",)
DEFAULT_SIZE = (240, 432)
DEFAULT_FRAMES = 30
DEFAULT_HOLE = 0.1
NOWHERE = Path(os.devnull)
"""Stands for the files of a run that has none: frames in memory."""
CHECKED_PIXELS = {"cuda": 1 << 29, "cpu": 1 << 24}
"""Clips of up to so many pixels in all are compared with float32 without being asked: 258 frames of 1080p, 161 of
432x240."""


@dataclass(frozen=True)
class Request:
    """The command line's values. None: not given. sizes are (height, width); devices: all of them together fill one
    clip.

    against: "released" also measures the published way of working. check: compare filled pixels with our own float32
    run; None: for small clips. image_propagation: on, as in `inpaint`, and smoothing along time with it. In a synthetic
    clip nearly everything is found elsewhere, so without it the network has more to do. timed: for about how many
    seconds each stage and each ceiling of the device is. Raises `UsageError` for what contradicts itself.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    frames: int | None = None
    precisions: tuple[str, ...] = ("auto",)
    deform: str = "auto"
    devices: tuple[str, ...] = ("auto",)
    weights: str = "open"
    against: str | None = None
    video: Path | None = None
    mask: Path | None = None
    mode: str = "both"
    full_frame: bool = False
    image_propagation: bool = True
    hole: float | None = None
    repeats: int = 3
    check: bool | None = None
    stages: bool = True
    timed: float = 1.0
    max_memory: str = "auto"
    compile: bool = False
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_names()
        self._check_clip()
        self.options(None, None, "auto", ("auto",))  # what remains is checked there
        if self.video is None:
            for size in self.clip_sizes(None):
                self.clip(size)

    def _check_names(self) -> None:
        for name in self.precisions:
            if name not in PRECISIONS:
                known = ", ".join(PRECISIONS)
                raise UsageError(f"--precision {name!r} is unknown: use {known}, several with commas between")
        if not self.precisions or not self.devices:
            raise UsageError("--precision and --devices need at least one name each")
        if self.against is not None and self.against not in AGAINST:
            raise UsageError(f"--against {self.against!r} is unknown: the only one is released")
        if self.mode not in MODES:
            raise UsageError(f"--mode {self.mode!r} is unknown: use {', '.join(MODES)}")
        if self.mode == "process" and self.check:
            raise UsageError("--mode process and --check: processes are only timed, leave one of them out")
        if self.repeats < 1:
            raise UsageError(f"--repeats {self.repeats} is too small: use 1 or more, beside the run that warms up")

    def _check_clip(self) -> None:
        if (self.video is None) != (self.mask is None):
            raise UsageError("--video and --mask belong together: give both, or neither for synthetic clips")
        if self.video is None:
            return
        for flag, value in (("--frames", self.frames), ("--hole", self.hole)):
            if value is not None:
                raise UsageError(f"{flag} is for synthetic clips: drop it, or --video and --mask")
        if self.mode == "engine":
            raise UsageError("--mode engine is for synthetic clips: a given clip is measured end to end, drop --mode")

    def clip_sizes(self, given: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
        """Sizes to measure; `given`: that of the given clip."""
        return self.sizes or ((given or DEFAULT_SIZE),)

    def clip(self, size: tuple[int, int]) -> SyntheticClip:
        """The synthetic clip of that size: of processes one with a hand-held camera, as people's are."""
        hole = DEFAULT_HOLE if self.hole is None else self.hole
        return SyntheticClip(size, self.frame_count, hole, self.seed, hand_held=self.mode == "process")

    @property
    def frame_count(self) -> int:
        """Of synthetic clips."""
        return DEFAULT_FRAMES if self.frames is None else self.frames

    def options(
        self,
        size: tuple[int, int] | None,
        files: tuple[Path, Path] | None,
        precision: str,
        devices: tuple[str, ...],
        *,
        released: bool = False,
        deform: str | None = None,
    ) -> InpaintOptions:
        """A run of the program. files: (video, masks) of a synthetic clip; None: the given clip, or none at all (frames
        in memory).

        deform: instead of what was asked for.
        """
        if self.video is not None and self.mask is not None:
            video, mask, masking = self.video, self.mask, MaskOptions()
        else:
            (video, mask), masking = files or (NOWHERE, NOWHERE), MaskOptions(dilation=Dilation(0))
        windows = WindowOptions.usual() if self.image_propagation else WindowOptions()
        windows = replace(windows, crops=CropOptions(enabled=not self.full_frame))
        return InpaintOptions(
            video=video,
            mask=mask,
            output=NOWHERE.with_suffix(".mp4"),
            weights=self.weights,
            device=devices[0] if len(devices) == 1 else "auto",
            devices=devices if len(devices) > 1 else (),
            deform=deform or self.deform,
            precision="auto" if released else precision,
            max_memory="auto" if released else self.max_memory,
            compile=self.compile and not released,
            threads=self.threads,
            windows=WindowOptions(max_references=None, released=True) if released else windows,
            masking=masking,
            encoding=OutputOptions(codec="h264", overwrite=True),
            size=size if self.video is not None and self.sizes else None,
            detect_cuts=not released,
        )

    def needs_check(self, precision: str) -> bool:
        """Whether a run in that (resolved) precision can differ from float32."""
        return precision != "fp32" or self.deform == "approximate"

    def wants_check(self, size: tuple[int, int], frames: int | None, device: str) -> bool:
        """Whether to make a float32 run to compare with."""
        if self.check is not None:
            return self.check
        limit = CHECKED_PIXELS["cuda" if device.startswith("cuda") else "cpu"]
        return frames is not None and frames * size[0] * size[1] <= limit

    def subjects(
        self, size: tuple[int, int], precisions: tuple[str, ...], devices: tuple[str, ...], *, files: bool
    ) -> list[Subject]:
        """What to measure of one size, in order. `files`: end to end is possible."""
        in_memory = self.video is None and self.mode != "end-to-end"
        modes: list[str] = [ENGINE] * in_memory + [END_TO_END] * (files and self.mode != "engine")
        if self.mode == "process":
            modes = [PROCESS]
        found = []
        for mode in modes:
            groups = [devices[:1]] + [devices] * (mode != ENGINE and len(devices) > 1)
            found += [Subject(mode, OURS, size, precision, group) for group in groups for precision in precisions]
            if self.against is not None:
                found.append(Subject(mode, RELEASED, size, "fp32", devices[:1]))
        return found

    def as_record(self) -> dict[str, Any]:
        """For JSON: what was asked, with the defaults filled in."""
        record = asdict(self)
        record["sizes"] = [list(size) for size in self.clip_sizes(None)] if self.video is None or self.sizes else []
        record["frames"] = self.frame_count if self.video is None else None
        record["hole"] = self.clip(DEFAULT_SIZE).hole_share if self.video is None else None
        for name in ("video", "mask"):
            record[name] = None if record[name] is None else str(record[name])
        return record


@dataclass(frozen=True)
class Case:
    """One thing to measure. `clip` None: the given clip, which `options` name; in end-to-end mode they name the files
    of `clip`, too.

    filled: file with the pixels of the float32 run to compare with. analyse: count the arithmetic; stages: and time the
    stages, each for about `timed` seconds.
    """

    subject: Subject
    options: InpaintOptions
    repeats: int
    clip: SyntheticClip | None = None
    filled: Path | None = None
    analyse: bool = True
    stages: bool = True
    timed: float = 1.0
