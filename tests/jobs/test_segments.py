"""Pieces of a clip: identical whatever the split, stored without loss, and damage is found."""

from __future__ import annotations

import random
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import SmoothingOptions, WindowOptions
from e2fgvi_cli.fill.pieces import context_range, fill_range
from e2fgvi_cli.fill.sharing import fill_shot_on
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.frames.stages import FinishedFrame, HoledFrame
from e2fgvi_cli.jobs.engines import arithmetic
from e2fgvi_cli.jobs.model import ClipPlan, Segment
from e2fgvi_cli.jobs.segments import (
    ClipSource,
    DamagedSegmentError,
    SegmentWriter,
    StoredFills,
    fill_part,
    is_stored,
    segment_grid,
    segment_path,
)
from e2fgvi_cli.jobs.work import consecutive, prepare
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.threads.later import Later
from e2fgvi_cli.types import Frame
from tests.factories import clip, holes

from .clips import expected, make_job
from .fake_engine import FakeEngine, stream


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_piece_of_a_shot_is_what_the_whole_shot_gives(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 70))
    options = WindowOptions(
        data.draw(st.integers(1, 6)),
        data.draw(st.integers(1, 9)),
        data.draw(st.none() | st.integers(0, 4)),
        data.draw(st.booleans()),
        CropOptions(margin=4, overhead=0, block_windows=data.draw(st.integers(1, 4))),
    )
    holed = data.draw(st.lists(st.booleans() | st.just(True), min_size=count, max_size=count))
    items = stream(count, holed)
    whole = [f.rgb for f in fill_shot(items, FakeEngine(), options)]
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    read: list[tuple[int, int]] = []

    def reader(first: int, end: int) -> Iterable[HoledFrame]:
        read.append((first, end))
        return items[first:end]

    part = list(fill_range(reader, count, start, stop, FakeEngine(), options))
    assert [f.source.frame.index for f in part] == list(range(start, stop))
    assert all(np.array_equal(f.rgb, w) for f, w in zip(part, whole[start:stop], strict=True))
    if not options.released and options.max_references is not None:
        block = options.neighbor_stride * options.crops.block_windows
        reach = 2 * options.neighbor_stride + options.reference_stride * (options.max_references + 1) + block
        assert read[0][0] >= start - reach - block * options.reference_stride
        assert read[0][1] <= stop + reach + options.neighbor_stride


@pytest.mark.parametrize("smoothing", [None, SmoothingOptions(reach=4)])
def test_what_is_propagated_is_the_same_in_pieces(smoothing: SmoothingOptions | None) -> None:
    """Pixels come from further away than windows reach; the engine's answers depend on every pixel and hole it is
    shown."""
    pictures = clip(60, 48, 64)
    items = [
        HoledFrame.of(Frame(i, rgb, Fraction(i)), hole // 255, (hole // 255).astype(np.float32))
        for i, (rgb, hole) in enumerate(zip(pictures, holes(60, 48, 64), strict=True))
    ]
    options = WindowOptions(3, 4, 2, crops=CropOptions(margin=4, overhead=0), propagation=PropagationOptions(reach=9))
    options = replace(options, smoothing=smoothing)
    whole = [f.rgb for f in fill_shot(items, FakeEngine(), options)]
    without = [f.rgb for f in fill_shot(items, FakeEngine(), replace(options, propagation=None))]
    assert not any(np.array_equal(a, b) for a, b in zip(whole, without, strict=True)), "something was propagated"
    for start, stop in ((0, 7), (7, 31), (31, 60)):
        part = fill_range(lambda a, b: items[a:b], 60, start, stop, FakeEngine(), options)
        assert all(np.array_equal(f.rgb, w) for f, w in zip(part, whole[start:stop], strict=True))
    shared = fill_shot_on([FakeEngine(), FakeEngine()], items, options, shortest=12)
    assert all(np.array_equal(f.rgb, w) for f, w in zip(shared, whole, strict=True))


@pytest.mark.parametrize("depth", [8, 16])
def test_the_plan_says_how_deep_the_frames_are(depth: int, tmp_path: Path) -> None:
    """A worker's `--precision auto` follows it."""
    job = make_job(tmp_path, "clip", 4)
    for i in range(4):
        picture = np.full((24, 32, 3), 1000 * i, np.uint16) if depth == 16 else np.full((24, 32, 3), i, np.uint8)
        assert cv2.imwrite(str(sorted(job.options.video.iterdir())[i]), picture)
    assert prepare(job.options, lambda kind, value: None).plan.bit_depth == depth


def test_workers_that_differ_in_bf16_do_not_share_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for multiplies in (True, False):
        monkeypatch.setattr("e2fgvi_cli.engine.cpu_multiplies_bf16", lambda multiplies=multiplies: multiplies)
        said.append(arithmetic("cpu", None))
    assert said[0] != said[1]


def test_a_piece_without_its_context_would_differ() -> None:
    """The control: the property above is not true of any stream of frames."""
    items = stream(30, [True] * 30)
    whole = [f.rgb for f in fill_shot(items, FakeEngine(), WindowOptions(3, 4, 2))]
    alone = [f.rgb for f in fill_shot(items[9:18], FakeEngine(), WindowOptions(3, 4, 2))]
    assert not any(np.array_equal(a, w) for a, w in zip(alone, whole[9:18], strict=True))


def test_a_piece_computes_only_the_windows_that_touch_it() -> None:
    engine = FakeEngine()
    options = WindowOptions(5, 10, 2)
    assert context_range(50, 60, 200, options) == (20, 86)
    items = stream(200, [True] * 200)
    assert len(list(fill_range(lambda a, b: items[a:b], 200, 50, 60, engine, options))) == 10
    assert [w.center + 20 for w in engine.windows] == [45, 50, 55, 60]


def test_the_grid_covers_every_frame_once_and_never_crosses_a_shot() -> None:
    plan = ClipPlan(23, (4, 4), ((0, 6), (7, 22)), ((0, 22),), True)
    grid = segment_grid(plan, 5, 3)
    assert [(s.start, s.stop, s.shot) for s in grid] == [(0, 6, 0), (6, 7, 0), (7, 13, 7), (13, 19, 7), (19, 23, 7)]
    runs = [[s.start for s in run] for run in consecutive([grid[0], grid[1], grid[2], grid[4]])]
    assert runs == [[0, 6], [7], [19]]


def store(folder: Path, job: object, plan: ClipPlan, parts: Iterator[tuple[Segment, ...]]) -> None:
    for segments in parts:
        frames = fill_part(job.options, plan, segments, FakeEngine())  # type: ignore[attr-defined]
        for segment in segments:
            with SegmentWriter(folder, segment) as writer:
                for _ in range(segment.start, segment.stop):
                    writer.add(next(frames))


def read_back(folder: Path, job: object, grid: tuple[Segment, ...]) -> np.ndarray:
    with ClipSource(job.options) as source, StoredFills(folder, grid) as fills:  # type: ignore[attr-defined]
        return np.stack([fills.finish(item).rgb for item in source.read()])


@pytest.mark.parametrize("size", [1, 2, 9])
def test_stored_pieces_join_into_what_one_run_gives(tmp_path: Path, size: int) -> None:
    job = make_job(tmp_path, "clip", 26)
    plan = prepare(job.options, lambda kind, value: None).plan
    assert (plan.frames, plan.filled, plan.seekable) == (26, 26, True)
    grid = segment_grid(plan, 3, 3)
    store(tmp_path / "s", job, plan, (grid[n : n + size] for n in range(0, len(grid), size)))
    assert np.array_equal(read_back(tmp_path / "s", job, grid), expected(job))
    assert all(is_stored(tmp_path / "s", s, plan) for s in grid)


def test_sixteen_bit_frames_and_feathered_holes_survive_storage(tmp_path: Path) -> None:
    import cv2

    job = make_job(tmp_path, "deep", 8)
    for i, file in enumerate(sorted(job.options.video.iterdir())):
        deep = np.random.default_rng(i).integers(0, 65536, (24, 32, 3), dtype=np.uint16)
        assert cv2.imwrite(str(file), deep)
    job = replace(job, options=replace(job.options, masking=replace(job.options.masking, feather=3.0)))
    plan = prepare(job.options, lambda kind, value: None).plan
    grid = segment_grid(plan, 3, 3)
    store(tmp_path / "s", job, plan, iter([grid]))
    joined = read_back(tmp_path / "s", job, grid)
    assert joined.dtype == np.uint16
    assert np.array_equal(joined, expected(job))


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))


def damage_by_removing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_a_byte, damage_by_removing])
def test_a_damaged_segment_is_found_and_removed(tmp_path: Path, damage: object) -> None:
    job = make_job(tmp_path, "clip", 9)
    plan = prepare(job.options, lambda kind, value: None).plan
    grid = segment_grid(plan, 3, 3)
    store(tmp_path / "s", job, plan, iter([grid]))
    damage(segment_path(tmp_path / "s", grid[1]))  # type: ignore[operator]
    with pytest.raises(DamagedSegmentError, match=r"00000003-00000006\.zip is damaged: it was removed"):
        read_back(tmp_path / "s", job, grid)
    assert [is_stored(tmp_path / "s", s, plan) for s in grid] == [True, False, True]


def stored_fills(folder: Path, frames: list[HoledFrame], segment: Segment) -> list[np.ndarray]:
    """The fills of all frames, read back from a segment."""
    with StoredFills(folder, (segment,)) as fills:
        stored = [fills.finish(frame).inside for frame in frames]
        return [one.get() for one in stored if one is not None]


def test_flipped_bits_of_a_segment_never_become_pixels(tmp_path: Path) -> None:
    """They ask for encryption, other compressions, places outside the file: whatever it is, the segment is removed."""
    frames, segment = stream(6, [True] * 6), Segment(0, 6, 0)
    with SegmentWriter(tmp_path, segment) as writer:
        for frame in frames:
            top, left, bottom, right = frame.box or (0, 0, 0, 0)
            pixels = np.full((bottom - top, right - left, 3), frame.frame.index + 1, np.uint8)
            writer.add(FinishedFrame(frame, Later(partial(np.array, pixels))))
    path, rng = segment_path(tmp_path, segment), random.Random(1)
    good, want = path.read_bytes(), stored_fills(tmp_path, frames, segment)
    damaged = 0
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 3, 20])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            got = stored_fills(tmp_path, frames, segment)
        except DamagedSegmentError:
            damaged += 1
            continue
        assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
    assert damaged > 300


def test_a_segment_that_claims_more_than_its_frame_has_is_not_unpacked(tmp_path: Path) -> None:
    frames, segment = stream(1, [True]), Segment(0, 1, 0)
    top, left, _, _ = frames[0].box or (0, 0, 0, 0)
    with zipfile.ZipFile(segment_path(tmp_path, segment), "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr(f"0_{top}_{left}.npy", bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(DamagedSegmentError, match="is damaged: it was removed"):
        stored_fills(tmp_path, frames, segment)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_an_unfinished_segment_has_no_name(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 6)
    plan = prepare(job.options, lambda kind, value: None).plan
    grid = segment_grid(plan, 3, 3)
    frames = fill_part(job.options, plan, grid, FakeEngine())

    def fail_halfway() -> None:
        with SegmentWriter(tmp_path / "s", grid[0]) as writer:
            writer.add(next(frames))
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fail_halfway()
    assert list((tmp_path / "s").iterdir()) == []
