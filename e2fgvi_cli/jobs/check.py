"""What can be known of a batch before any of it runs: `--dry-run`. Opens every clip and mask, decodes one frame, writes
nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import video
from ..errors import UserError, WeightsError
from ..options import InpaintOptions
from ..outputs import ClipOutput
from ..planner import NETWORK_MULTIPLE, Planner, padded_size, parse_memory
from ..types import VideoInfo
from ..weights.known import checked
from .model import Job, padded_megapixels

# Measured with the default weights (docs/scaling.md): seconds a megapixel filled. Only until the journal knows better.
_ROUGH_RATE = {"cpu": 38.0, "cuda": 0.3}


@dataclass(frozen=True)
class JobCheck:
    """One job's outlook. `problem` is empty if it can run. Bytes and seconds are upper bounds: every frame has a
    hole."""

    name: str
    problem: str = ""
    exit_code: int = 0
    frames: int | None = None
    size: tuple[int, int] = (0, 0)
    memory: int = 0
    output_bytes: int = 0
    segment_bytes: int = 0
    seconds: float | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchCheck:
    """All jobs' outlooks and what they add up to. `problems` concern the batch as a whole (disk, memory)."""

    jobs: tuple[JobCheck, ...]
    problems: tuple[str, ...]
    seconds: float | None
    measured: bool

    @property
    def ok(self) -> bool:
        """Whether everything can run."""
        return not self.problems and all(not job.problem for job in self.jobs)


def check_batch(
    jobs: Sequence[Job], state: Path, workers: int, device_kind: str, rates: dict[str, tuple[float, float]]
) -> BatchCheck:
    """Look at every job. `device_kind` cpu, cuda or mps; `rates` as `Journal.rates` gives them."""
    known = [(s, p) for device, (s, p) in rates.items() if device.startswith(device_kind)]
    measured = bool(known)
    rate = sum(s for s, _ in known) / sum(p for _, p in known) if measured else _ROUGH_RATE.get(device_kind)
    refused = _refused_weights(jobs)
    checks = tuple(_check_job(job, rate, refused) for job in jobs)
    fitting = [c for c in checks if not c.problem]
    problems = [*_disk_problems(jobs, checks, state, workers)]
    if device_kind == "cpu":
        problems += _memory_problems(fitting, workers)
    times = [c.seconds for c in fitting if c.seconds is not None]
    total = None
    if times and len(times) == len(fitting):
        total = max(sum(times) / workers, 0.0)
    return BatchCheck(checks, tuple(problems), total, measured)


def _check_job(job: Job, rate: float | None, refused: Mapping[str, WeightsError]) -> JobCheck:
    options = job.options
    try:
        if options.weights in refused:
            raise refused[options.weights]
        with video.open_reader(options.video, size=options.size, span=options.span) as reader:
            info = reader.info
            ClipOutput(options, info)
            with video.open_holes(options.mask, info, options.masking) as holes:
                frame = next(iter(reader))
                holes.hole_at(frame)
                notices = (*reader.notices, *holes.notices)
    except StopIteration:
        return JobCheck(job.name, f"{options.video} has no frame that can be decoded: check the file with a player", 3)
    except UserError as error:
        return JobCheck(job.name, str(error), error.exit_code)
    encoding = video_encoding(options, info)
    count = info.frame_count
    return JobCheck(
        job.name,
        frames=count,
        size=(info.height, info.width),
        memory=estimate_memory(options, (info.height, info.width), count),
        output_bytes=encoding or 0,
        segment_bytes=int((count or 0) * info.height * info.width * 3 * (2 if info.bit_depth > 8 else 1)),
        seconds=None if rate is None or count is None else rate * padded_megapixels((info.height, info.width)) * count,
        notices=notices,
    )


def _refused_weights(jobs: Sequence[Job]) -> dict[str, WeightsError]:
    """The weights of these jobs that cannot be used, each with the reason. A file is read once, a known one only
    hashed."""

    def read(path: Path) -> None:
        from ..engine import read_weights

        read_weights(path)

    refused = {}
    for name in dict.fromkeys(job.options.weights for job in jobs):
        try:
            checked(name, read)
        except WeightsError as error:
            refused[name] = error
    return refused


def video_encoding(options: InpaintOptions, info: VideoInfo) -> int | None:
    """Rough bytes of the output, None where the number of frames is unknown."""
    from ..video.writing.codecs import choose
    from ..video.writing.target import estimate_bytes

    return estimate_bytes(info, choose(options.output, info, options.encoding))


def estimate_memory(options: InpaintOptions, size: tuple[int, int], frames: int | None) -> int:
    """Bytes that a CPU worker will have resident at most, as the planner predicts: whole frames, the steps of no limit.

    With `max_memory` a worker plans smaller; what it cannot do with is said when it starts.
    """
    windows = options.windows
    planner = Planner(
        budget=parse_memory(options.max_memory),
        local=2 * windows.neighbor_stride + 1,
        references=windows.max_references,
        reference_stride=windows.reference_stride,
        frames=frames,
    )
    height, width = padded_size(size)
    most = planner.max_pixels(NETWORK_MULTIPLE, (height, width))
    if most is not None and height * width > most:
        assert planner.budget is not None, "only a limit makes tiles"
        return planner.budget
    return planner.plan((height, width)).predicted


def _disk_problems(jobs: Sequence[Job], checks: Sequence[JobCheck], state: Path, workers: int) -> list[str]:
    """Outputs all together, and the segments of the clips that run at a time, against what is free on each file
    system."""
    needed: dict[int, tuple[Path, int]] = {}

    def add(folder: Path, count: int) -> None:
        folder = folder.resolve()
        while not folder.exists():
            folder = folder.parent
        device = folder.stat().st_dev
        needed[device] = (folder, needed.get(device, (folder, 0))[1] + count)

    for job, check in zip(jobs, checks, strict=True):
        add(job.options.output.parent, check.output_bytes)
    for count in sorted((c.segment_bytes for c in checks), reverse=True)[:workers]:
        add(state, count)
    problems = []
    for folder, count in needed.values():
        free = shutil.disk_usage(folder).free
        if count > free:
            problems.append(
                f"about {count / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free in {folder}: free some, "
                "or choose another folder with --output-dir or --state"
            )
    return problems


def _memory_problems(checks: Sequence[JobCheck], workers: int) -> list[str]:
    free = free_memory()
    largest = sorted((c.memory for c in checks), reverse=True)[:workers]
    if free is None or sum(largest) <= free:
        return []
    return [
        f"{len(largest)} workers need about {sum(largest) / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB "
        "are free: use fewer --jobs, a smaller size, or fewer max_references"
    ]


def free_memory() -> int | None:
    """Bytes of memory that could be had now, or None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
