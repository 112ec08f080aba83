"""Everything `inpaint` can be asked, as one frozen value. Cheap to import: neither torch nor PyAV."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError
from .fill.options import WindowOptions
from .masks import MaskOptions
from .planner import parse_memory
from .system.paths import Read, Written, check_all, is_pipe
from .video.images.sequences import is_pattern
from .video.options import OutputOptions
from .video.span import Span
from .weights.known import file_of as weights_file

if TYPE_CHECKING:
    from .comparison import ComparisonOptions


MAX_THREADS = 1024
PRECISIONS = ("auto", "fp32", "tf32", "fp16", "bf16")


@dataclass(frozen=True)
class InpaintOptions:
    """One job. Cross-field rules are checked here, once, before anything is opened.

    video: folder of frames or video file. mask: folder, single image or video; None only if `masking` draws boxes or
    polygons.
    output: video file or, without a suffix, a folder of frames. frames_dir: also write every frame there as an image.
    weights: a known name or a path. device: auto, cpu, cuda, cuda:N, mps. deform: auto or a backend's name.
    precision: auto, fp32, tf32, fp16, bf16. max_memory: auto, or a size such as 8GiB. compile: torch.compile the
    network's parts.
    devices: several, each fills its share of the windows; empty: `device` alone. threads: of the CPU; None: torch's
    choice.
    size: (height, width) to resize the frames to; None keeps the source's. span: the part of the clip that is read and
    written, as a clip of its own. detect_cuts: windows never cross a shot's
    end.
    reference: clip of the true background to score the fill against. comparison: before/after film, sheet, GIF.
    verify: re-read the output and compare it with the source. report: HTML page of the run; `jobs` write none.
    """

    video: Path
    mask: Path | None
    output: Path
    frames_dir: Path | None = None
    weights: str = "open"
    device: str = "auto"
    deform: str = "auto"
    precision: str = "auto"
    max_memory: str = "auto"
    compile: bool = False
    devices: tuple[str, ...] = ()
    threads: int | None = None
    windows: WindowOptions = field(default_factory=WindowOptions.usual)
    masking: MaskOptions = field(default_factory=MaskOptions)
    encoding: OutputOptions = field(default_factory=OutputOptions)
    size: tuple[int, int] | None = None
    span: Span = field(default_factory=Span)
    detect_cuts: bool = True
    reference: Path | None = None
    comparison: ComparisonOptions | None = None
    verify: bool = False
    report: Path | None = None

    def __post_init__(self) -> None:
        if self.windows.neighbor_stride < 1:
            raise UsageError(f"--neighbor-stride {self.windows.neighbor_stride} is too small: use 1 or more")
        if self.windows.reference_stride < 1:
            raise UsageError(f"--reference-stride {self.windows.reference_stride} is too small: use 1 or more")
        if self.windows.max_references is not None and self.windows.max_references < 0:
            raise UsageError(f"--max-references {self.windows.max_references} is too small: use 0 or more, or all")
        if self.size is not None and min(self.size) < 1:
            raise UsageError(f"--size {self.size[1]}x{self.size[0]} is too small: use at least 1x1")
        if self.span.empty:
            raise UsageError(f"{self.span}: the end is not after the start, nothing is left of the clip")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads {self.threads} is too small: use 1 or more")
        if self.threads is not None and self.threads > MAX_THREADS:
            raise UsageError(f"--threads {self.threads} is too large: use at most {MAX_THREADS}")
        if self.devices and self.device != "auto":
            raise UsageError(f"--device {self.device} and --devices {','.join(self.devices)}: give one of them")
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision {self.precision} is unknown: use {', '.join(PRECISIONS)}")
        if self.verify and is_pipe(self.output):
            raise UsageError("--verify reads the output again, which standard output cannot be: give --output a file")
        parse_memory(self.max_memory)
        if self.frames_dir is not None and self.frames_dir == self.output:
            raise UsageError(f"--output and --save-frames are both {self.output}: give two names, or only one of them")

    def described(self) -> dict[str, str]:
        """What was asked for, in words, for a page."""
        windows, masking = self.windows, self.masking
        references = "all" if windows.max_references is None else str(windows.max_references)
        return {
            "input": f"{self.video} {self.span}".strip(),
            "mask": "" if self.mask is None else str(self.mask),
            "windows": f"hop {windows.neighbor_stride}, every {windows.reference_stride}th frame as reference, "
            f"{references} references" + (", as published" if windows.released else ""),
            "image propagation": "off" if windows.propagation is None else "on",
            "smoothing along time": "off" if windows.smoothing is None else "on",
            "mask dilation and feather": f"{masking.dilation.text}, {masking.feather:g} px",
            "cuts": "looked for" if self.detect_cuts else "not looked for",
        }

    def reads(self) -> tuple[Read, ...]:
        """Every file and folder the job reads, for `paths.check_paths`."""
        named = [("the input", self.video), ("the mask", self.mask), ("the reference", self.reference)]
        given = [Read(name, path) for name, path in named if path is not None]
        weights = weights_file(self.weights)
        return (*given, *([] if weights is None else [Read("the weights file", weights)]))

    def writes(self) -> tuple[Written, ...]:
        """Every file and folder the job writes, for `paths.check_paths` and `paths.check_free`."""
        allowed = self.encoding.overwrite
        found = []
        if not is_pipe(self.output):
            found.append(Written("the output", self.output, self.encoding.writes_folder(self.output), allowed))
        if self.frames_dir is not None:
            found.append(Written("the folder of --save-frames", self.frames_dir, True, allowed))
        if self.comparison is not None:
            found += self.comparison.writes()
        if self.report is not None:
            found.append(Written("the report", self.report, False, allowed))
        return tuple(found)

    def check_paths(self) -> None:
        """Raise `InputError` or `UsageError` where the job would write over what it reads or over what is there. Opens
        nothing."""
        check_all(self.writes(), self.reads())


def default_output(video: Path) -> Path:
    """results/NAME_inpainted.mp4, where NAME is the clip's (the parent's for a folder called "frames" or "images").

    A pattern such as seq/frame_%05d.png is named like its folder.
    """
    video = video.parent if is_pattern(video) else video
    name = video.name if video.is_dir() else video.stem
    if video.is_dir() and name.lower() in ("frames", "images", "rgb") and video.resolve().parent.name:
        name = video.resolve().parent.name
    return Path("results") / f"{name}_inpainted.mp4"
