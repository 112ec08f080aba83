"""Training on the clip itself, with a network of a tenth of the size on frames of 24 x 24 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.checkpoint import save_checkpoint
from e2fgvi_cli._model.network import E2FGVIHQ

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.training.config import PhaseConfig
from e2fgvi_cli.training.shapes import Draw
from e2fgvi_cli.types import Frame
from measurements.adaptation import learning, windows
from measurements.adaptation.learning import Adaptation, Settings, on_grid, settings_for
from measurements.adaptation.sample import ClipSample, crop, place, sample_clip
from measurements.adaptation.windows import ClipWindows

from ..factories import clip, holes
from .conftest import CPU, SMALL

SIDE = 24
TINY = replace(SMALL, window=(2, 2))
SETTINGS = Settings(
    60.0,
    (SIDE, SIDE),
    batch=1,
    local=2,
    reference=1,
    optimizer="adam",
    rate=2e-3,
    deform="torch",
    judged_holes=1,
    judged_windows=1,
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Untrained."""
    torch.manual_seed(0)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, E2FGVIHQ(TINY).state_dict(), TINY, eight_bit=False, licence="test")
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging is."""
    monkeypatch.setattr(windows, "WindowOptions", lambda: WindowOptions(2, 4, 1))
    monkeypatch.setattr(learning, "CHECKS", 1)


def frames_of(count: int = 12, cuts: tuple[int, ...] = ()) -> Iterator[tuple[Frame, np.ndarray, bool]]:
    pictures, masks = clip(count, SIDE, SIDE), holes(count, SIDE, SIDE) // 255
    for i, (rgb, hole) in enumerate(zip(pictures, masks, strict=True)):
        yield Frame(i, rgb, Fraction(i)), hole, i in cuts


def sample() -> ClipSample:
    found = sample_clip(frames_of(), (SIDE, SIDE))
    assert found is not None
    return found


def trained(start: Path, of: ClipSample, steps: int, **changes: object) -> Adaptation:
    adaptation = Adaptation(of, start, replace(SETTINGS, **changes), CPU)  # type: ignore[arg-type]
    adaptation.course.planned = steps
    adaptation.run()
    return adaptation


def learned(adaptation: Adaptation) -> dict[str, torch.Tensor]:
    return adaptation._learner.network.state_dict()


def test_what_lies_in_the_clips_holes_changes_nothing(weights: Path) -> None:
    clean = sample()
    noise = np.random.default_rng(0).integers(0, 256, clean.frames.shape, np.uint8)
    other = replace(clean, frames=np.where(clean.holes[..., None] != 0, noise, clean.frames))
    assert not np.array_equal(other.frames, clean.frames)
    one, two = (Adaptation(which, weights, SETTINGS, CPU) for which in (clean, other))
    start = {name: value.clone() for name, value in learned(one).items()}
    for _ in range(2):
        one.step()
        two.step()
    first, second = learned(one), learned(two)
    assert all(torch.equal(first[name], second[name]) for name in first)
    moved = {name for name, value in start.items() if not torch.equal(first[name], value)}
    assert {name.split(".")[0] for name in moved} == set(learning.LEARNED)


def test_a_sample_has_nothing_in_its_holes() -> None:
    found = sample()
    assert found.lengths == (12,)
    assert not found.frames[found.holes != 0].any()
    assert found.frames[found.holes == 0].any()
    assert found.hole_share == pytest.approx(1 / 9)
    assert not found.stands_still


def test_shots_and_long_clips_are_runs_of_bounded_number() -> None:
    found = sample_clip(frames_of(12, cuts=(5,)), (SIDE, SIDE))
    assert found is not None
    assert found.lengths == (5, 7)
    long = sample_clip(frames_of(40, cuts=tuple(range(4, 40, 4))), (SIDE, SIDE), max_runs=3)
    assert long is not None
    assert long.lengths == (4, 4, 4)
    # Every fourth run, from the first on.
    assert all(np.array_equal(long.holes[4 * n], holes(40, SIDE, SIDE)[16 * n] // 255) for n in range(3))
    whole = ((frame, np.zeros_like(hole), cut) for frame, hole, cut in frames_of())
    assert sample_clip(whole, (SIDE, SIDE)) is None


def test_a_crop_lies_at_the_hole_and_shows_half() -> None:
    hole = np.zeros((200, 300), np.uint8)
    hole[120:140, 200:240] = 1
    assert place(hole, (60, 80)) == (100, 180)
    hole[:] = 0
    hole[50:170, 100:240] = 1  # larger than the crop
    top, left = place(hole, (60, 80))
    seen = 1 - hole[top : top + 60, left : left + 80].mean()
    assert 0.5 <= seen < 0.8
    assert crop(hole[:10, :10], (0, 0), (36, 36)).shape == (36, 36)


def test_windows_hide_the_clips_holes_and_learn_nothing_of_the_judged_ones() -> None:
    of = sample()
    phase = PhaseConfig(size=(SIDE, SIDE), batch=3, local=3, reference=2)
    drawn = ClipWindows(of, phase, Draw(CPU, torch.Generator().manual_seed(1)), judged=1)
    (fixed,) = drawn._judged
    (judged, *_) = drawn.judged(1)
    assert judged.local == 5
    hidden, visible = judged.batch.marked(judged.local)
    assert hidden.sum() > 0
    assert not visible.any()
    for _ in range(5):
        batch = drawn.next()
        assert batch.frames.shape == (3, 5, 3, SIDE, SIDE)
        assert batch.counted is not None
        for picture, hole, counts in zip(
            batch.frames.flatten(0, 1), batch.holes.flatten(0, 1), batch.counted.flatten(0, 1), strict=True
        ):
            shown = ((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
            (i,) = [n for n, frame in enumerate(of.frames) if np.array_equal(frame, shown)]
            own = of.holes[i]
            assert hole[0].numpy()[own != 0].all()
            expected = (own == 0) & (fixed[i, 0].numpy() == 0)
            assert np.array_equal(counts[0].numpy() != 0, expected)


def test_the_start_is_kept_where_training_does_harm(weights: Path) -> None:
    adaptation = trained(weights, sample(), 2, rate=3.0)
    scores = adaptation.course.scores
    assert max(scores[step] for step in scores if step) < scores[0]
    assert (adaptation.course.best, adaptation.best_state) == (0, None)


def test_settings_and_too_few_minutes(weights: Path) -> None:
    hopeless = Adaptation(sample(), weights, replace(SETTINGS, minutes=1e-6), CPU)
    with pytest.raises(UsageError, match=r"1e-06 minutes are too few: a step takes about .* s on cpu"):
        hopeless.run()
    assert hopeless.course.step == 1
    cpu = settings_for(10, CPU, (240, 432), (60, 108))
    assert (cpu.size, cpu.batch, cpu.optimizer) == ((120, 216), 1, "adam")
    assert settings_for(10, CPU, (50, 432), (60, 108)).size == (60, 216)
    assert [on_grid(steps) for steps in (3, 24, 31, 40, 63, 300)] == [3, 24, 28, 40, 56, 256]
