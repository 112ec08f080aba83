"""Little jobs for the batch tests: clips of noise-like texture with walking holes, and what an undisturbed run makes of
them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.jobs import BatchSettings, Job
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.pipeline import finished_frames
from e2fgvi_cli.video import open_holes, open_reader
from e2fgvi_cli.video.options import OutputOptions
from tests.factories import clip, holes, write_folder

from .fake_engine import FakeEngine

FAKE = "tests.jobs.fake_engine"
WINDOWS = WindowOptions(neighbor_stride=3, reference_stride=4, max_references=2)


def make_job(
    folder: Path,
    name: str,
    count: int = 20,
    size: tuple[int, int] = (24, 32),
    output: str = "",
    seed: int | None = None,
) -> Job:
    """A folder of frames with its masks, and a job that writes PNG frames (or a file, by `output`'s suffix)."""
    seed = sum(map(ord, name)) if seed is None else seed
    video = write_folder(folder / name, clip(count, *size, seed=seed))
    mask = write_folder(folder / f"{name}_mask", holes(count, *size))
    target = folder / "out" / (output or name)
    encoding = OutputOptions(codec="ffv1" if target.suffix else "png")
    return Job(name, InpaintOptions(video, mask, target, windows=WINDOWS, encoding=encoding, detect_cuts=False))


def settings(folder: Path, **values: object) -> BatchSettings:
    """Two-hop segments, the fake engine, and nothing to wait for."""
    chosen = {"workers": 1, "devices": ("cpu",), "threads": 1, "segment_frames": 6, "engine_module": FAKE, **values}
    return BatchSettings(folder / "state", **chosen)  # type: ignore[arg-type]


def expected(job: Job) -> np.ndarray:
    """What `e2fgvi inpaint` would make of a job with the fake engine: (count, H, W, 3), from the pipeline itself."""
    options = job.options
    with (
        open_reader(options.video, span=options.span) as reader,
        open_holes(options.mask, reader.info, options.masking) as masks,
    ):
        return np.stack([f.rgb for f in finished_frames(reader, masks.hole_at, [FakeEngine()], options)])


def leftovers(folder: Path) -> list[str]:
    """Whatever an unfinished run may have left: partial files and stored segments."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if ".partial" in p.name or p.suffix == ".zip")
