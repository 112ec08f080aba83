"""What `e2fgvi evaluate` measures: drawn masks, figures of a clip against independent ones, distances of features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError, WeightsError
from e2fgvi_cli.evaluation import self_check
from e2fgvi_cli.evaluation.differences import compare
from e2fgvi_cli.evaluation.means import means_of
from e2fgvi_cli.evaluation.scores import ClipFigures
from e2fgvi_cli.evaluation.seeded_masks import KINDS, SeededMasks, fingerprint
from e2fgvi_cli.evaluation.tables import latex, markdown
from e2fgvi_cli.quality import temporal
from e2fgvi_cli.quality.frechet import frechet_distance

from ..factories import clip, texture

SIZE = (72, 96)
PINNED = {
    "still": "bb79224d7b0584f0",
    "moving": "6a02f8edec9eab4e",
    "object": "970d844ebed35b41",
    "caption": "83a82e971c7f3404",
}


def square(size: tuple[int, int] = SIZE) -> np.ndarray:
    hole = np.zeros(size, np.uint8)
    hole[20:44, 30:60] = 1
    return hole


# -- drawn masks


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_masks_leave_most_of_a_frame_and_do_not_depend_on_who_asks(kind: str) -> None:
    holes = list(SeededMasks(2026).holes("dog", kind, SIZE, 60))
    assert len(holes) == 60
    covered = [float(hole.mean()) for hole in holes]
    assert max(covered) < 0.4
    assert sum(share > 0 for share in covered) > 20
    again = list(SeededMasks(2026, (kind,)).holes("dog", kind, SIZE, 60))
    assert all(np.array_equal(one, other) for one, other in zip(holes, again, strict=True))
    other_clip = list(SeededMasks(2026).holes("cows", kind, SIZE, 60))
    assert any(not np.array_equal(one, other) for one, other in zip(holes, other_clip, strict=True))


def test_version_1_of_the_generator_never_changes() -> None:
    """Integers alone make them: these are the hashes on every machine. A change here is a new version."""
    found = {kind: fingerprint(list(SeededMasks(2026).holes("dog", kind, (240, 432), 20))[15])[:16] for kind in KINDS}
    assert found == PINNED


def test_seeds_are_read_or_refused() -> None:
    assert SeededMasks.parse("seed:7") == SeededMasks(7)
    assert SeededMasks.parse("seed:7:object+still").kinds == ("object", "still")
    for text in ("seed:", "seed:x", "seed:1:round", "seed:1:still:2"):
        with pytest.raises(UsageError, match="is no seed"):
            SeededMasks.parse(text)


# -- along time and at the edge


def test_a_picture_that_pans_has_no_warping_error_and_one_that_blinks_has() -> None:
    frames, hole = clip(3, *SIZE), square() != 0
    moved = temporal.motion(frames[0], frames[1])
    assert moved is not None
    inner = moved.valid[8:-8, 8:-8]
    assert inner.mean() > 0.9
    # The texture pans by two pixels a frame.
    assert np.median((moved.x - np.mgrid[: SIZE[0], : SIZE[1]][1])[8:-8, 8:-8]) == pytest.approx(2, abs=0.2)
    whole, inside = temporal.warp_errors(frames[0], frames[1], moved, hole)
    assert whole is not None
    assert inside is not None
    assert inside < 1e-3
    blinking = frames[1].copy()
    blinking[hole] = np.clip(blinking[hole].astype(int) + 40, 0, 255)
    _, worse = temporal.warp_errors(frames[0], blinking, moved, hole)
    assert worse is not None
    assert worse > 10 * inside
    steady = temporal.flicker_excess(frames[0], frames[1], moved, hole, hole)
    flickering = temporal.flicker_excess(frames[0], blinking, moved, hole, hole)
    assert steady is not None
    assert abs(steady) < 1
    assert flickering is not None
    assert flickering > 20


def test_a_seam_is_the_step_across_the_edge_less_the_steps_beside_it() -> None:
    flat, hole = np.full((*SIZE, 3), 100, np.uint8), square() != 0
    assert temporal.seam(flat, hole) == 0.0
    raised = flat.copy()
    raised[hole] = 130
    assert temporal.seam(raised, hole) == 30.0
    stripes = flat.copy()
    stripes[:, ::2] = 120  # steps of 20 everywhere along one axis: half of all pairs, at the edge and beside it
    found = temporal.seam(stripes, hole)
    assert found is not None
    assert abs(found) < 2
    assert temporal.seam(flat, np.ones(SIZE, bool)) is None
    assert temporal.motion(flat[:20], flat[:20]) is None


# -- a clip's figures


def test_a_clips_figures_are_scikit_images() -> None:
    oracle = pytest.importorskip("skimage.metrics")
    frames, hole = clip(3, *SIZE, seed=4), square()
    inside = hole != 0
    results = [np.clip(f.astype(int) + 7 * (i + 1), 0, 255).astype(np.uint8) for i, f in enumerate(frames)]
    score = ClipFigures()
    for result, frame in zip(results, frames, strict=True):
        score.add(result, frame, hole)
    pasted = [np.where(inside[..., None], r, f) for r, f in zip(results, frames, strict=True)]
    found = score.figures()
    pairs = list(zip(pasted, frames, strict=True))
    psnr = np.mean([oracle.peak_signal_noise_ratio(f, p, data_range=255) for p, f in pairs])
    ssim = np.mean([oracle.structural_similarity(p, f, data_range=255, channel_axis=-1, win_size=65) for p, f in pairs])
    squared = np.mean([oracle.mean_squared_error(f[inside], p[inside]) for p, f in pairs])
    assert found["psnr"] == pytest.approx(psnr)
    assert found["ssim"] == pytest.approx(ssim)
    assert found["hole_psnr"] == pytest.approx(10 * np.log10(255**2 / squared))
    assert score.counts()["hole_psnr"] == 3


def test_what_is_perfect_has_no_psnr_and_is_counted() -> None:
    frame, hole, none = texture(*SIZE), square(), np.zeros(SIZE, np.uint8)
    score = ClipFigures()
    assert score.add(frame, frame, hole) == 0.0
    assert score.add(255 - frame, frame, none) is None  # outside of a hole nothing counts
    assert (score.frames, score.hole_frames, score.exact_frames) == (2, 1, 2)
    assert score.figures()["psnr"] is None
    assert score.figures()["hole_psnr"] is None
    assert score.figures()["ssim"] == pytest.approx(1.0)
    score.add(np.zeros_like(frame), np.full_like(frame, 255), np.ones(SIZE, np.uint8))
    assert score.figures()["psnr"] == 0.0
    assert score.exact_frames == 2
    empty = ClipFigures().figures()
    assert set(empty.values()) == {None}


def case(clip_name: str, psnr: float | None, frames: int, seam: float) -> dict[str, object]:
    figures = {"psnr": psnr, "seam": seam}
    counts = {"psnr": frames if psnr is not None else 0}
    return {
        "method": "a_b",
        "kind": "still",
        "clip": clip_name,
        "frames": frames,
        "exact_frames": 0,
        "figures": figures,
        "counts": counts,
    }


def test_means_are_over_clips_or_as_published_over_frames() -> None:
    cases = [case("one", 30.0, 10, 1.0), case("two", 20.0, 30, 3.0), case("three", None, 5, 5.0)]
    (own,), (published,) = means_of(cases, "own"), means_of(cases, "e2fgvi-432")
    assert own["figures"]["psnr"] == 25.0
    assert own["clips"]["psnr"] == 2
    assert published["figures"]["psnr"] == 22.5
    assert published["figures"]["seam"] == own["figures"]["seam"] == 3.0


def test_vfid_is_of_all_clips_or_not_there() -> None:
    cases = [case(name, 30.0, 5, 1.0) for name in ("one", "two", "three")]
    features = [([0.0, 1.0], [3.0, 1.0]), ([1.0, 2.0], [4.0, 2.0]), ([2.0, 0.0], [5.0, 0.0])]
    for one, (result, truth) in zip(cases, features, strict=True):
        one["i3d"] = {"result": result, "truth": truth}
    (row,) = means_of(cases, "own")
    assert row["figures"]["vfid"] == pytest.approx(9.0)  # the same spread, 3 away
    del cases[0]["i3d"]
    assert "vfid" not in means_of(cases, "own")[0]["figures"]


def test_tables_say_what_they_are_of_and_escape_latex() -> None:
    machine = {"program": "e2fgvi 1", "measured": "today", "weights": "", "weights_sha256": "", "gpus": [], "cpu": "C"}
    machine |= {"threads": 2, "packages": {"torch": "2"}, "flow": "DIS", "command": "e2fgvi evaluate"}
    settings = {"protocol": "own", "masks": ["seed:1"], "limit_frames": 5}
    other = {**case("one", 40.0, 5, -0.5), "method": "b"}
    record = {
        "settings": settings,
        "environment": machine,
        "notices": ["LPIPS was left out"],
        "means": means_of([case("one", 30.0, 10, 1.0), other], "own"),
    }
    text = markdown(record)
    assert "| still | b | 1 | 40.00 | -0.50 |" in text
    assert "first 5 frames" in text
    assert r"still & b & \textbf{40.00} & \textbf{-0.50} \\" in latex(record)
    assert r"still & a\_b & 30.00 & 1.00 \\" in latex(record)


# -- two evaluations


def record(values: dict[str, float], method: str = "network", seed: int = 1, protocol: str = "own") -> dict[str, Any]:
    cases = [
        {
            "method": method,
            "kind": "still",
            "clip": n,
            "frames": 4,
            "exact_frames": 0,
            "figures": {"psnr": v, "seam": -v},
        }
        for n, v in values.items()
    ]
    return {
        "cases": cases,
        "masks": {f"still/{name}": {"sha256": [f"{name}{seed}"]} for name in values},
        "settings": {"protocol": protocol, "precision": "auto"},
        "environment": {"flow": "DIS"},
    }


def test_a_bootstrap_of_clips_finds_what_is_there() -> None:
    rng = np.random.default_rng(0)
    one = {f"clip{i}": float(v) for i, v in enumerate(rng.normal(30, 4, 20))}
    gain = rng.normal(0.5, 0.4, 20)
    other = {name: value + float(g) for (name, value), g in zip(one.items(), gain, strict=True)}
    found = compare(record(one), record(other))
    psnr = found.differences[0]
    assert psnr.metric == "psnr"
    assert psnr.difference == pytest.approx(gain.mean())
    assert psnr.low is not None
    assert psnr.high is not None
    # Of many pairs the percentiles are those of the mean's normal distribution, whatever the clips' own spread.
    error = gain.std() / np.sqrt(20)
    assert (psnr.low, psnr.high) == pytest.approx((gain.mean() - 1.96 * error, gain.mean() + 1.96 * error), abs=0.03)
    assert psnr.clear
    assert psnr.better == pytest.approx(1.0, abs=0.01)
    assert compare(record(one), record(other)) == found
    same = compare(record(one), record(one)).differences[0]
    assert (same.difference, same.low, same.high, same.clear) == (0, 0, 0, False)
    seam = found.differences[-1]
    assert seam.better == pytest.approx(0.0, abs=0.01)  # nearer to 0 is better, B is further


def test_only_what_is_comparable_is_compared() -> None:
    one = record({"dog": 30.0, "cows": 20.0})
    shared = compare(one, record({"dog": 31.0, "goat": 9.0}))
    assert shared.clips == ("dog",)
    assert shared.differences[0].low is None
    assert "only 1 clips" in shared.notices[0]
    assert "protocol differs" in compare(one, record({"dog": 31.0}, protocol="e2fgvi-432")).notices[1]
    with pytest.raises(InputError, match="different masks still"):
        compare(one, record({"dog": 31.0}, seed=2))
    with pytest.raises(InputError, match="share no clip"):
        compare(one, record({"goat": 31.0}))
    with pytest.raises(UsageError, match="no method 'x': it has network"):
        compare(one, one, methods=("x", ""))
    with pytest.raises(UsageError, match="share still"):
        compare(one, one, kinds=["round"])


# -- features


def test_the_frechet_distance_is_scipys_also_with_few_clips() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(3)
    for count in (4, 40):
        one, other = rng.normal(size=(count, 6)), rng.normal(0.3, 2, (count, 6))
        root = linalg.sqrtm(np.cov(one, rowvar=False) @ np.cov(other, rowvar=False))
        apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
        traces = np.trace(np.cov(one, rowvar=False)) + np.trace(np.cov(other, rowvar=False))
        expected = apart + traces - 2 * np.trace(root).real
        assert frechet_distance(one.tolist(), other.tolist()) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert frechet_distance(one.tolist(), one.tolist()) == pytest.approx(0, abs=1e-6)


def test_i3d_takes_a_file_with_the_common_names_and_no_other(tmp_path: Path) -> None:
    import torch

    from e2fgvi_cli.evaluation.i3d import I3D, load_i3d

    made = I3D()
    assert sum(p.numel() for p in made.parameters()) == 12_697_264  # of the published architecture
    names = set(made.state_dict())
    assert {"Conv3d_1a_7x7.conv3d.weight", "Mixed_4f.b2b.bn.running_var", "logits.conv3d.bias"} <= names
    torch.save(made.state_dict(), tmp_path / "i3d.pt")
    read = load_i3d(tmp_path / "i3d.pt").state_dict()
    assert all(torch.equal(value, read[name]) for name, value in made.state_dict().items())
    with torch.device("meta"):
        assert made.to("meta").eval()(torch.zeros(1, 3, 10, 224, 224)).shape == (1, 400)
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no I3D"):
        load_i3d(tmp_path / "other.pt")


@pytest.mark.slow
def test_i3d_tells_clips_apart_and_takes_short_ones() -> None:
    import torch

    from e2fgvi_cli.evaluation.i3d import I3D, features

    torch.manual_seed(0)
    network = I3D().eval()
    one, other = (features(network, [texture(224, 224, seed)] * 3) for seed in (1, 2))
    assert len(one) == 400
    assert np.abs(np.subtract(one, other)).max() > 0


# -- the stored clip


def test_the_stored_clip_gives_its_numbers_here_and_in_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = pytest.importorskip("skimage.metrics")
    assert {one.name for one in self_check.self_check()} == set(self_check.EXPECTED)
    assert all(one.right for one in self_check.self_check())
    frames = list(self_check.check_frames())
    psnr = [oracle.peak_signal_noise_ratio(t, r, data_range=255) for r, t, _ in frames]
    ssim = [oracle.structural_similarity(r, t, data_range=255, channel_axis=-1, win_size=65) for r, t, _ in frames]
    local = [
        oracle.structural_similarity(
            r, t, data_range=255, channel_axis=-1, full=True,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )[1].mean(axis=2)[h != 0].mean()
        for r, t, h in frames
    ]  # fmt: skip
    squared = [((r[h != 0].astype(float) - t[h != 0]) ** 2).mean() for r, t, h in frames]
    expected = self_check.EXPECTED
    assert expected["psnr"] == pytest.approx(np.mean(psnr), rel=1e-6)
    assert expected["ssim"] == pytest.approx(np.mean(ssim), rel=1e-6)
    assert expected["hole_ssim"] == pytest.approx(np.mean(local), rel=1e-6)
    assert expected["hole_psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(squared)), rel=1e-6)
    # The control: frames that are off by a level give other numbers.
    shifted = [(np.clip(r.astype(int) + 1, 0, 255).astype(np.uint8), t, h) for r, t, h in frames]
    monkeypatch.setattr(self_check, "check_frames", lambda: iter(shifted))
    assert not all(one.right for one in self_check.self_check())


@pytest.mark.parametrize(
    ("result", "truth"),
    [(0, 255), (255, 0), (0, 0), (255, 255), (128, 129)],
    ids=["black-white", "white-black", "black", "white", "a-level"],
)
def test_flat_pictures_are_measured_as_scikit_image_does(result: int, truth: int) -> None:
    oracle = pytest.importorskip("skimage.metrics")
    one, other = (np.full((*SIZE, 3), value, np.uint8) for value in (result, truth))
    score = ClipFigures()
    score.add(one, other, np.ones(SIZE, np.uint8))
    found = score.figures()
    with np.errstate(divide="ignore"):
        psnr = oracle.peak_signal_noise_ratio(other, one, data_range=255)
    ssim = oracle.structural_similarity(one, other, data_range=255, channel_axis=-1, win_size=65)
    assert found["ssim"] == pytest.approx(ssim, abs=1e-7)
    if result == truth:
        assert np.isinf(psnr)
        assert (found["psnr"], score.exact_frames) == (None, 1)
    else:
        assert found["psnr"] == pytest.approx(psnr)
        assert found["hole_psnr"] == pytest.approx(psnr)


def test_a_hole_of_one_pixel_is_measured() -> None:
    frame, hole = texture(*SIZE), np.zeros(SIZE, np.uint8)
    hole[40, 50] = 1
    result = frame.copy()
    result[40, 50] = 255 - result[40, 50]
    score = ClipFigures()
    squared = score.add(result, frame, hole)
    assert squared == pytest.approx(((result[40, 50].astype(float) - frame[40, 50]) ** 2).mean())
    figures = score.figures()
    assert figures["psnr"] == pytest.approx(figures["hole_psnr"] + 10 * np.log10(SIZE[0] * SIZE[1]))
    assert figures["seam"] is not None
