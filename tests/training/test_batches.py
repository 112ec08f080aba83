"""Batches: windows that hold what they claim, holes that stand or drift, cameras that look where they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.training.batches import BatchMaker
from e2fgvi_cli.training.camera import CameraPath, camera_paths, jitter_colours, sample_photographs
from e2fgvi_cli.training.config import HoleConfig, TrainingConfig
from e2fgvi_cli.training.holes import CAPTION, HoleMaker
from e2fgvi_cli.training.sampling import doubled
from e2fgvi_cli.training.shapes import FIELD, Draw, blobs, bounce, boxes, place, sample_field, strokes

from .conftest import CPU, material, with_phase


def draw(seed: int = 0) -> Draw:
    return Draw(CPU, torch.Generator().manual_seed(seed))


def maker(config: TrainingConfig, seed: int = 0, **what: int) -> BatchMaker:
    return BatchMaker(material(**what), config, config.phase[0], draw(seed))


def test_a_batch_has_frames_in_range_and_binary_holes(config: TrainingConfig) -> None:
    batch = maker(with_phase(config, batch=6)).next()
    assert batch.frames.shape == (6, 4, 3, 36, 36)
    assert batch.holes.shape == (6, 4, 1, 36, 36)
    assert -1 <= float(batch.frames.min()) < float(batch.frames.max()) <= 1
    assert set(batch.holes.unique().tolist()) == {0.0, 1.0}
    assert float(batch.frames.std()) > 0.1
    assert float((batch.masked * batch.holes).abs().max()) == 0.0
    assert bool((batch.masked == batch.frames)[batch.holes.expand_as(batch.frames) == 0].all())
    assert float(batch.holes[:, 0].mean(dim=(1, 2, 3)).min()) > 0


@pytest.mark.parametrize("what", [{"photos": 0}, {"clips": 0}, {"outlines": 0}], ids=str)
def test_any_kind_of_material_may_be_missing(config: TrainingConfig, what: dict[str, int]) -> None:
    batch = maker(with_phase(config, batch=4), **what).next()
    assert bool(torch.isfinite(batch.frames).all())
    assert float(batch.frames.std()) > 0.1


def test_the_same_seed_gives_the_same_batches_and_state_resumes_between_them(config: TrainingConfig) -> None:
    config = replace(config, speed=replace(config.speed, batches_per_draw=3))
    first, second = maker(config), maker(config)
    expected = [first.next() for _ in range(7)]
    for batch in expected[:4]:
        assert torch.equal(batch.frames, second.next().frames)
    third = maker(config, seed=99)
    third.restore(*second.state())
    for batch in expected[4:]:
        other = third.next()
        assert torch.equal(batch.frames, other.frames)
        assert torch.equal(batch.holes, other.holes)
    assert not torch.equal(expected[0].frames, expected[1].frames)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    frames=st.integers(10, 40),
    local=st.integers(2, 12),
    reference=st.integers(0, 4),
    stride=st.integers(1, 3),
)
def test_windows_stay_in_their_clip_and_references_outside_the_window(
    seed: int, frames: int, local: int, reference: int, stride: int
) -> None:
    from e2fgvi_cli.training.config import DataConfig, PhaseConfig

    config = TrainingConfig(
        data=DataConfig(clips=("x",), max_stride=stride, reference_reach=8),
        phase=(PhaseConfig(local=local, reference=reference),),
    )
    stored = material(clips=3, frames=frames)
    windows = BatchMaker(stored, config, config.phase[0], draw(seed))._windows(16)
    clip = windows.indices // frames
    assert bool((clip == clip[:, :1]).all())
    assert int(windows.indices.min()) >= 0
    assert int(windows.indices.max()) < 3 * frames
    own = windows.indices[:, :local]
    steps = own.diff(dim=1)
    if frames >= local:
        assert bool((steps == steps[:, :1]).all())
        assert int(steps.abs().min()) >= 1
        assert int(steps.abs().max()) <= stride
    if frames >= 3 * local * stride:  # surely room for references outside
        span = (own.amin(1, keepdim=True), own.amax(1, keepdim=True))
        others = windows.indices[:, local:]
        assert bool(((others < span[0]) | (others > span[1])).all())


def test_half_of_the_clips_run_backwards(config: TrainingConfig) -> None:
    windows = maker(config)._windows(400)
    backwards = (windows.indices[:, 1] < windows.indices[:, 0]).float().mean()
    assert float(backwards) == pytest.approx(0.5, abs=0.1)


def test_a_camera_that_stands_still_shows_the_picture() -> None:
    picture = torch.rand(1, 3, 24, 40)
    zero, one = torch.zeros(1), torch.ones(1)
    path = CameraPath(
        zoom=torch.ones(1, 2),
        centre=torch.zeros(1, 2),
        drift=torch.zeros(1, 2),
        sway=torch.zeros(1, 2),
        closer=zero,
        turn=zero,
        tilt=torch.zeros(1, 2),
        rhythm=one,
        phase=zero,
    )
    grid = path.grid(torch.tensor([[0.0, 7.0]]), doubled((24, 40)))
    seen = sample_photographs(picture, grid)
    assert seen.shape == (1, 2, 3, 24, 40)
    # Supersampling blurs a little; the mean of each neighbourhood stays.
    coarse = [torch.nn.functional.avg_pool2d(x, 4) for x in (seen[0, 0], seen[0, 1], picture[0])]
    assert torch.allclose(coarse[0], coarse[2], atol=0.06)
    assert torch.equal(seen[0, 0], seen[0, 1])
    # And a drift of 2 source units a frame-width moves it by a known number of pixels.
    moved = replace(path, drift=torch.tensor([[2 * 5 / 40, 0.0]]))
    shifted = sample_photographs(picture, moved.grid(torch.tensor([[0.0, 1.0]]), doubled((24, 40))))
    assert torch.allclose(shifted[0, 1, :, :, :-5], shifted[0, 0, :, :, 5:], atol=1e-4)


def test_clips_are_cropped_without_distortion() -> None:
    path = camera_paths(200, draw(), (240, 432), (120, 216), moving=torch.zeros(200, dtype=torch.bool))
    assert float(path.drift.abs().max()) == 0
    width, height = path.zoom[:, 0].abs() * 432, path.zoom[:, 1] * 240
    assert torch.allclose(width / height, torch.full_like(width, 216 / 120), rtol=1e-4)
    reach = path.centre.abs() + path.zoom.abs()
    assert float(reach.max()) <= 1 + 1e-5


def test_colour_jitter_keeps_black_and_the_range() -> None:
    frames = torch.rand(8, 3, 3, 10, 10)
    out = jitter_colours(frames, torch.arange(3.0).expand(8, 3), draw())
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert float((out - frames).abs().mean()) > 0.01
    assert float(jitter_colours(torch.zeros(2, 2, 3, 4, 4), torch.zeros(2, 2), draw()).max()) < 0.01


@settings(deadline=None)
@given(st.floats(-1000, 1000))
def test_bouncing_stays_inside_and_is_continuous(position: float) -> None:
    here, near = (
        bounce(torch.tensor(position, dtype=torch.float64)),
        bounce(torch.tensor(position + 1e-3, dtype=torch.float64)),
    )
    assert abs(float(here)) <= 0.9 + 1e-9
    assert abs(float(here - near)) <= 1e-3 + 1e-9


@pytest.mark.parametrize("outline", [blobs, strokes, boxes])
def test_outlines_fill_a_good_part_of_their_field(outline: object) -> None:
    field = outline(64, draw())  # type: ignore[operator]
    assert field.shape == (64, 1, FIELD, FIELD)
    assert float(field.min()) >= 0
    assert float(field.max()) <= 1
    inside = (field > 0.5).float().mean(dim=(1, 2, 3))
    assert float(inside.min()) > 0.01
    assert float(inside.max()) < 0.95


def holes(still: float, **kinds: float) -> torch.Tensor:
    shares = dict.fromkeys(("blob", "stroke", "box", "caption", "silhouette"), 0.0) | kinds
    hole_maker = HoleMaker(HoleConfig(still_share=still, second_share=0.0, **shares), material().silhouettes, CPU)
    return hole_maker.draw(torch.arange(0.0, 12.0, 3.0).expand(24, 4), (60, 108), draw(3))


def test_still_holes_stand_and_drifting_ones_move() -> None:
    standing = holes(1.0, blob=1.0, box=1.0)
    assert torch.equal(standing[:, 0], standing[:, -1])
    drifting = holes(0.0, blob=1.0, box=1.0)
    changed = (drifting[:, 0] != drifting[:, -1]).flatten(1).any(1)
    assert float(changed.float().mean()) > 0.9
    assert torch.equal(holes(0.0, caption=1.0)[:, 0], holes(0.0, caption=1.0)[:, -1])


def test_holes_cover_what_was_asked_for() -> None:
    area = holes(1.0, blob=1.0, silhouette=1.0)[:, 0].mean(dim=(1, 2, 3))
    # Parts outside the frame do not count, so some holes are smaller than asked for.
    assert 0.02 * 0.9 <= float(area.median()) <= 0.18
    assert float(area.max()) <= 0.18 * 1.15
    assert float(area.min()) > 0


def test_captions_are_wide_and_near_an_edge() -> None:
    hole = holes(0.0, caption=1.0)[:, 0, 0] > 0
    centre = []
    for one in hole:
        rows, columns = one.any(1).nonzero().flatten(), one.any(0).nonzero().flatten()
        assert len(columns) > 1.5 * len(rows)
        centre.append(abs(float(rows.float().mean()) / 59 - 0.5))
    assert min(centre) > 0.15


def test_kinds_are_drawn_in_their_shares() -> None:
    hole_maker = HoleMaker(HoleConfig(blob=1, stroke=0, box=0, caption=1, silhouette=0), material().silhouettes, CPU)
    _, kind = hole_maker.outlines(100, draw())
    assert set(kind.tolist()) == {0, CAPTION}
    assert float((kind == 0).float().mean()) == pytest.approx(0.5, abs=0.15)


def test_an_outline_keeps_its_area_as_it_moves() -> None:
    field = boxes(16, draw(1))
    never = torch.zeros(16, dtype=torch.bool)
    placed = place(field, draw(2), size=(120, 216), area=(0.05, 0.05), max_speed=1.0, still=never, wide=never)
    placed = replace(placed, x=torch.zeros(16), y=torch.zeros(16), swell=torch.zeros(16))
    inside = sample_field(field, placed.local_coordinates(torch.arange(6.0).expand(16, 6), (120, 216)))
    area = inside.mean(dim=(2, 3, 4))
    assert torch.allclose(area, torch.full_like(area, 0.05), rtol=0.06)
