"""Training on the clip itself, with a network of a tenth of the size on frames of 24 x 24 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.checkpoint import save_checkpoint
from e2fgvi_cli._model.network import E2FGVIHQ

from e2fgvi_cli.adaptation import kept, learning, windows
from e2fgvi_cli.adaptation.adapt import adapted, key_of
from e2fgvi_cli.adaptation.learning import Adaptation, Settings, on_grid, settings_for
from e2fgvi_cli.adaptation.sample import ClipSample, crop, place, sample_clip
from e2fgvi_cli.adaptation.windows import ClipWindows
from e2fgvi_cli.api import InpaintOptions, inpaint
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.training.config import PhaseConfig
from e2fgvi_cli.training.shapes import Draw
from e2fgvi_cli.types import Frame
from e2fgvi_cli.video.options import OutputOptions

from ..factories import clip, holes, read_folder, write_folder
from ..training.conftest import CPU, SMALL, _one_thread  # noqa: F401 (a fixture)

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
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept goes; judging is quick."""
    monkeypatch.setattr(windows, "WindowOptions", lambda: WindowOptions(2, 4, 1))
    monkeypatch.setattr(learning, "CHECKS", 1)
    monkeypatch.setenv("E2FGVI_CACHE_DIR", str(tmp_path / "cache"))


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
    return adaptation.state()["learner"]["network"]


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
    assert (adaptation.course.best, adaptation.best_state, adaptation.gain) == (0, None, 0.0)


def test_an_interrupted_run_goes_on_to_the_same_weights(weights: Path) -> None:
    whole = trained(weights, sample(), 2)
    first = Adaptation(sample(), weights, SETTINGS, CPU)
    first.course.planned = 2

    def stop() -> None:
        if first.course.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(check=stop)
    store = kept.Kept("key")
    assert store.interrupt(first.state())
    second = Adaptation(sample(), weights, SETTINGS, CPU)
    state = store.unfinished(CPU)
    assert state is not None
    second.restore(state)
    assert second.course.step == 1
    second.run()
    ours, theirs = learned(second), learned(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert second.course.scores == whole.course.scores


@pytest.fixture
def options(tmp_path: Path, weights: Path) -> InpaintOptions:
    video = write_folder(tmp_path / "clip", clip(8, SIDE, SIDE))
    mask = write_folder(tmp_path / "clip_mask", holes(8, SIDE, SIDE))
    return InpaintOptions(
        video,
        mask,
        tmp_path / "out",
        weights=str(weights),
        device="cpu",
        adapt=5.0,
        encoding=OutputOptions(codec="png"),
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps, each judged better than the one before."""
    monkeypatch.setattr(learning, "on_grid", lambda steps: 2)
    monkeypatch.setattr(learning, "MEASURED", 1)
    monkeypatch.setattr(learning, "settings_for", lambda *_, **__: SETTINGS)
    monkeypatch.setattr("e2fgvi_cli.adaptation.adapt.settings_for", lambda *_, **__: SETTINGS)
    monkeypatch.setattr(learning, "psnr_of", lambda squared, scores=count(): float(next(scores)))


def test_what_was_learned_is_found_again(options: InpaintOptions, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = adapted(options, say=said.append)
    assert Path(first.weights).parent == kept.Kept("").folder
    assert "weights adapted to the clip: held-out pixels" in said[0]

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("e2fgvi_cli.adaptation.adapt.Adaptation", never)
    assert adapted(options, say=said.append) == first
    assert said[1] == said[0]
    # Another mask is another clip.
    write_folder(options.video.parent / "clip_mask", np.roll(holes(8, SIDE, SIDE), 3, axis=1))
    with pytest.raises(AssertionError, match="trained again"):
        adapted(options)


def test_a_run_fills_with_what_it_learned_and_without_the_switch_as_ever(options: InpaintOptions, quick: None) -> None:
    plain = replace(options, adapt=None)
    inpaint(plain).finish()
    before = read_folder(options.output)
    run = inpaint(replace(options, output=options.output.parent / "adapted"))
    summary = run.finish()
    after = read_folder(options.output.parent / "adapted")
    assert not np.array_equal(before, after)
    assert Path(summary.weights).parent.name == "adapted"
    assert any("weights adapted to the clip" in notice for notice in summary.notices)
    inpaint(replace(plain, output=options.output.parent / "again")).finish()
    assert np.array_equal(read_folder(options.output.parent / "again"), before)


def test_ctrl_c_keeps_the_state_and_the_next_run_goes_on(options: InpaintOptions, quick: None) -> None:
    from threading import Event

    from e2fgvi_cli.pipeline import CancelledError

    cancel, told = Event(), list[str]()

    def hear(sentence: str) -> None:
        told.append(sentence)
        if sentence.startswith("training on the clip: 2 steps"):
            cancel.set()

    with pytest.raises(CancelledError, match="what was learned of the clip is kept"):
        inpaint(options, on_notice=hear, cancel=cancel).finish()
    assert not options.output.exists()
    (state,) = kept.Kept("").folder.glob("*.unfinished/state.pt")
    told.clear()
    inpaint(options, on_notice=told.append).finish()
    assert any(sentence == "training on the clip goes on at step 1 of 2" for sentence in told)
    assert not state.exists()


def test_where_nothing_can_be_kept_the_reason_is_said(
    options: InpaintOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("E2FGVI_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set E2FGVI_CACHE_DIR"):
        adapted(options)


def test_the_oldest_go_first(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(kept, "MOST_BYTES", int(2.5 * weights.stat().st_size))
    state = torch.nn.ParameterDict().state_dict()
    from e2fgvi_cli.engine import read_weights

    state = read_weights(weights).state_dict
    for age, key in enumerate("abc"):
        store = kept.Kept(key)
        made = store.keep(state, weights, {"best": 1, "scores": {"0": 1.0}})
        assert made.weights is not None
        monkeypatch.setattr(kept, "MOST_BYTES", int(2.5 * made.weights.stat().st_size))
        for path in store.folder.glob(f"{key}.*"):
            os.utime(path, (1000 * age, 1000 * age))
    assert kept.Kept("a").find() is None
    assert kept.Kept("c").find() is not None


def test_settings_and_keys() -> None:
    cpu = settings_for(10, CPU, (240, 432), (60, 108))
    assert (cpu.size, cpu.batch, cpu.optimizer) == ((120, 216), 1, "adam")
    assert settings_for(10, CPU, (50, 432), (60, 108)).size == (60, 216)
    of = sample()
    assert key_of(of, "start", cpu) == key_of(sample(), "start", cpu)
    others = {key_of(of, "other", cpu), key_of(of, "start", replace(cpu, minutes=11)), key_of(of, "start", cpu)}
    assert len(others) == 3
    assert [on_grid(steps) for steps in (3, 24, 31, 40, 63, 300)] == [3, 24, 28, 40, 56, 256]


def test_usage_error_is_what_the_api_raises(options: InpaintOptions) -> None:
    with pytest.raises(UsageError, match="give minutes, above 0"):
        replace(options, adapt=-1.0)
