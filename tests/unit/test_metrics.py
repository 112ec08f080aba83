"""Quality measures against scikit-image and against values worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.quality import metrics

SCENE_SIZE = (90, 121)


def textured(seed: int, size: tuple[int, int] = SCENE_SIZE, dtype: type = np.uint8) -> np.ndarray:
    """(H, W, 3) with structure at several scales, so that SSIM is neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    base = 110 + 60 * np.sin(rows / 9.0 + seed)[..., None] * np.cos(columns[..., None] / np.array([7.0, 11.0, 17.0]))
    picture = np.clip(base + rng.normal(0, 12, (*size, 3)), 0, 255)
    return np.rint(picture * (257 if dtype is np.uint16 else 1)).astype(dtype)


def disturbed(picture: np.ndarray, seed: int = 5) -> np.ndarray:
    scale = 257 if picture.dtype == np.uint16 else 1
    noise = np.random.default_rng(seed).normal(6, 18, picture.shape) * scale
    return np.clip(np.rint(picture + noise), 0, 255 * scale).astype(picture.dtype)


def box_hole(
    size: tuple[int, int] = SCENE_SIZE, rows: slice = slice(20, 50), columns: slice = slice(30, 80)
) -> np.ndarray:
    hole = np.zeros(size, np.uint8)
    hole[rows, columns] = 1
    return hole


# -- PSNR


def test_a_known_error_has_its_known_psnr() -> None:
    reference = np.full((20, 30, 3), 100, np.uint8)
    hole = box_hole((20, 30), slice(5, 10), slice(5, 15))
    result = reference.copy()
    result[hole != 0] += 10  # MSE 100 inside
    result[0, 0] = 255  # outside: must not count
    assert metrics.hole_mse(result, reference, hole) == 100.0
    assert metrics.hole_psnr(result, reference, hole) == pytest.approx(20 * np.log10(255 / 10))
    share = 50 / 600
    assert metrics.composite_psnr(result, reference, hole) == pytest.approx(10 * np.log10(255**2 / (100 * share)))


def test_errors_of_unsigned_pixels_do_not_wrap() -> None:
    reference, hole = np.full((4, 4, 3), 250, np.uint8), np.ones((4, 4), np.uint8)
    assert metrics.hole_mse(np.zeros_like(reference), reference, hole) == 250.0**2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_psnr_agrees_with_scikit_image(dtype: type) -> None:
    oracle = pytest.importorskip("skimage.metrics")
    reference = textured(1, dtype=dtype)
    result, hole = disturbed(reference), box_hole()
    inside = hole != 0
    scale = np.iinfo(dtype).max
    expected = oracle.peak_signal_noise_ratio(reference[inside], result[inside], data_range=scale)
    assert metrics.hole_psnr(result, reference, hole) == pytest.approx(expected, abs=1e-9)
    pasted = metrics.composite(result, reference, hole)
    whole = oracle.peak_signal_noise_ratio(reference, pasted, data_range=scale)
    assert metrics.composite_psnr(result, reference, hole) == pytest.approx(whole, abs=1e-9)


def test_an_exact_match_has_a_finite_number_and_no_hole_has_none() -> None:
    picture = textured(2)
    assert metrics.hole_psnr(picture, picture, box_hole()) == metrics.PSNR_LIMIT
    nothing = np.zeros(SCENE_SIZE, np.uint8)
    assert metrics.hole_psnr(picture, picture, nothing) is None
    assert metrics.hole_ssim(picture, picture, nothing) is None
    assert metrics.composite_psnr(disturbed(picture), picture, nothing) == metrics.PSNR_LIMIT


# -- SSIM


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ssim_map_is_scikit_images(dtype: type) -> None:
    oracle = pytest.importorskip("skimage.metrics")
    reference = textured(3, dtype=dtype)
    result = disturbed(reference)
    _, expected = oracle.structural_similarity(
        result, reference, data_range=np.iinfo(dtype).max, channel_axis=-1, full=True,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    found = metrics.ssim_map(result, reference)
    assert 0.1 < found.mean() < 0.95
    np.testing.assert_allclose(found, expected.mean(axis=-1), atol=1e-7)


@pytest.mark.parametrize(
    "hole",
    [box_hole(), box_hole(rows=slice(0, 9), columns=slice(100, 121)), np.ones(SCENE_SIZE, np.uint8)],
    ids=["inside", "corner", "everything"],
)
def test_hole_ssim_of_the_neighbourhood_is_that_of_the_whole_frame(hole: np.ndarray) -> None:
    reference = textured(4)
    result = disturbed(reference)
    whole = metrics.ssim_map(metrics.composite(result, reference, hole), reference)
    assert metrics.hole_ssim(result, reference, hole) == pytest.approx(whole[hole != 0].mean(), abs=1e-12)


def test_published_ssim_is_scikit_images_with_window_65() -> None:
    oracle = pytest.importorskip("skimage.metrics")
    reference = textured(6)
    result = disturbed(reference)
    expected = oracle.structural_similarity(result, reference, data_range=255, channel_axis=-1, win_size=65)
    assert metrics.published_ssim(result, reference) == pytest.approx(expected, abs=1e-9)


def test_published_ssim_needs_a_frame_as_large_as_its_window() -> None:
    small = textured(7, (64, 200))
    assert metrics.published_ssim(small, small) is None
    assert metrics.published_ssim(textured(7, (65, 65)), textured(7, (65, 65))) == pytest.approx(1.0)


# -- a clip


def test_clip_psnr_averages_errors_before_the_logarithm_each_frame_alike() -> None:
    reference = np.full((10, 10, 3), 100, np.uint8)
    large, small, none = np.ones((10, 10), np.uint8), np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    small[0, 0] = 1
    score = metrics.ClipScore()
    score.add(reference + np.uint8(2), reference, large)  # MSE 4 over 100 pixels
    score.add(reference + np.uint8(20), reference, small)  # MSE 400 over one pixel
    score.add(reference + np.uint8(90), reference, none)  # no hole: nothing to score inside
    summary = score.summary()
    assert (summary.frames, summary.hole_frames) == (3, 2)
    assert summary.hole_psnr == pytest.approx(10 * np.log10(255**2 / 202))
    assert summary.hole_psnr_frame_mean == pytest.approx(5 * np.log10(255**2 / 4) + 5 * np.log10(255**2 / 400))
    assert summary.composite_psnr == pytest.approx(
        (10 * np.log10(255**2 / 4) + 10 * np.log10(255**2 / 4) + metrics.PSNR_LIMIT) / 3
    )
    assert summary.composite_ssim is None  # smaller than 65 pixels


def test_every_fifth_frame_measures_those_frames_only() -> None:
    reference = [np.full((8, 8, 3), 50, np.uint8)] * 11
    results = [frame + np.uint8(3 if index % 5 == 0 else 80) for index, frame in enumerate(reference)]
    summary = metrics.score_clip(results, reference, [np.ones((8, 8), np.uint8)] * 11, every=5)
    assert summary.frames == 3
    assert summary.hole_psnr == pytest.approx(20 * np.log10(255 / 3))


def test_flicker_is_the_change_of_the_error() -> None:
    scene = [textured(seed) for seed in range(4)]  # changes completely from frame to frame
    hole = box_hole()
    darker = [np.maximum(frame, 30) for frame in scene]
    offset = [frame - np.uint8(30) for frame in darker]
    assert metrics.score_clip(offset, darker, [hole] * 4).flicker == 0.0
    blinking = [frame - np.uint8(30 if index % 2 else 20) for index, frame in enumerate(darker)]
    assert metrics.score_clip(blinking, darker, [hole] * 4).flicker == pytest.approx(10.0)
    deep = [frame.astype(np.uint16) * 257 for frame in blinking]
    deep_reference = [frame.astype(np.uint16) * 257 for frame in darker]
    assert metrics.score_clip(deep, deep_reference, [hole] * 4).flicker == pytest.approx(10.0)


def test_flicker_counts_only_pixels_in_both_holes() -> None:
    reference = np.full((8, 8, 3), 100, np.uint8)
    left, right = box_hole((8, 8), slice(0, 8), slice(0, 4)), box_hole((8, 8), slice(0, 8), slice(4, 8))
    results = [reference + np.uint8(50), reference.copy()]
    assert metrics.score_clip(results, [reference] * 2, [left, right]).flicker is None
    assert metrics.score_clip(results, [reference] * 2, [left, left]).flicker == pytest.approx(50.0)


def test_better_fills_score_better_on_every_measure() -> None:
    frames = [textured(seed) for seed in range(3)]
    holes = [box_hole()] * 3
    near = metrics.score_clip(
        [np.clip(f.astype(int) + 3 * i, 0, 255).astype(np.uint8) for i, f in enumerate(frames)], frames, holes
    )
    far = metrics.score_clip([disturbed(f, i) for i, f in enumerate(frames)], frames, holes)
    for name in ("hole_psnr", "hole_psnr_frame_mean", "hole_ssim", "composite_psnr", "composite_ssim"):
        assert getattr(near, name) > getattr(far, name), name
    assert near.flicker is not None
    assert far.flicker is not None
    assert near.flicker < far.flicker
    assert json.loads(json.dumps(near.as_dict()))["hole_psnr"] == near.hole_psnr


def test_an_empty_score_says_nothing() -> None:
    assert set(metrics.ClipScore().summary().as_dict().values()) == {0, None}


# -- a caller's mistakes


def test_pictures_that_do_not_fit_are_refused_by_name() -> None:
    picture, hole = textured(8), box_hole()
    with pytest.raises(InputError, match=r"result is 120x90 and the reference 121x90"):
        metrics.hole_psnr(picture[:, :-1], picture, hole)
    with pytest.raises(InputError, match=r"uint8 and the reference uint16"):
        metrics.ssim_map(picture, picture.astype(np.uint16))
    with pytest.raises(InputError, match=r"hole is 121x89 and the picture 121x90"):
        metrics.composite_psnr(picture, picture, hole[:-1])


def test_clips_of_different_length_or_size_are_refused() -> None:
    picture, hole = textured(9), box_hole()
    with pytest.raises(InputError, match="one of them ends after 2"):
        metrics.score_clip([picture] * 2, [picture] * 3, [hole] * 3)
    score = metrics.ClipScore()
    score.add(picture, picture, hole)
    with pytest.raises(InputError, match="Frame 1 is 64x64"):
        score.add(picture[:64, :64], picture[:64, :64], hole[:64, :64])
    with pytest.raises(InputError, match="Every 0th"):
        metrics.ClipScore(every=0)
