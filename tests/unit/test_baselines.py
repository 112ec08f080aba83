"""The baselines on scenes where the right answer is known, the clips' folders, and the project's own table."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.quality import baselines, clips, metrics

EVAL = Path(__file__).resolve().parents[3] / "shared" / "eval"
# The eval folder's README: PSNR inside the hole (Telea, temporal median) on the drifting holes.
PUBLISHED_TABLE = {"car-shadow": (15.68, 15.95), "chair": (26.71, 39.79), "scooter-black": (12.78, 8.23)}


def still_scene(count: int = 7, size: tuple[int, int] = (40, 56)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A camera that does not move, with noise; a hole that does. Frames and holes."""
    rng = np.random.default_rng(0)
    scene = rng.integers(20, 230, (*size, 3))
    frames = [np.clip(scene + rng.integers(-3, 4, scene.shape), 0, 255).astype(np.uint8) for _ in range(count)]
    holes = []
    for index in range(count):
        hole = np.zeros(size, np.uint8)
        hole[10:20, 4 * index : 4 * index + 12] = 255
        holes.append(hole)
    return frames, holes


def test_telea_touches_only_the_hole_and_continues_a_ramp() -> None:
    ramp = np.repeat(np.linspace(20, 230, 64).astype(np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)
    hole = np.zeros((32, 64), np.uint8)
    hole[12:20, 28:36] = 1
    spoiled = np.where(hole[..., None] != 0, np.uint8(0), ramp)
    filled = baselines.telea(spoiled, hole)
    outside = hole == 0
    np.testing.assert_array_equal(filled[outside], ramp[outside])
    assert np.abs(filled.astype(int) - ramp)[hole != 0].max() < 16
    np.testing.assert_array_equal(filled, baselines.telea(ramp, hole))  # what lies under the hole plays no part


def test_telea_without_and_with_nothing_but_hole() -> None:
    frame = still_scene()[0][0]
    nothing = np.zeros(frame.shape[:2], np.uint8)
    np.testing.assert_array_equal(baselines.telea(frame, nothing), frame)
    assert not baselines.telea(frame, nothing + 1).any()


def test_telea_does_not_peek_under_a_hole_at_the_border() -> None:
    frame = still_scene()[0][0]
    hole = np.zeros(frame.shape[:2], np.uint8)
    hole[10:20, :12] = 1
    other = np.where(hole[..., None] != 0, 255 - frame, frame)
    np.testing.assert_array_equal(baselines.telea(frame, hole), baselines.telea(other, hole))


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_plate_is_the_median_of_what_is_seen(count: int) -> None:
    frames, holes = still_scene(count)
    plate, seen = baselines.median_plate(frames, holes)
    visible = np.where(np.stack(holes)[..., None] != 0, np.nan, np.stack(frames).astype(float))
    expected_seen = (np.stack(holes) == 0).any(axis=0)
    np.testing.assert_array_equal(seen, expected_seen)
    expected = np.rint(np.nanmedian(visible[:, seen], axis=0))
    np.testing.assert_array_equal(plate[seen], expected)
    assert not plate[~seen].any()


def test_the_median_fill_beats_telea_where_the_camera_stands_still() -> None:
    frames, holes = still_scene()
    filled = list(baselines.median_clip(frames, holes))
    for frame, hole, result in zip(frames, holes, filled, strict=True):
        np.testing.assert_array_equal(result[hole == 0], frame[hole == 0])
    by_median = metrics.score_clip(filled, frames, holes).hole_psnr
    by_telea = metrics.score_clip(baselines.telea_clip(frames, holes), frames, holes).hole_psnr
    assert by_median is not None
    assert by_telea is not None
    assert by_median > 38
    assert by_telea < 16


def test_a_hole_that_never_moves_is_teleas_alone() -> None:
    frames, holes = still_scene()
    fixed = [holes[0]] * len(frames)
    for result, expected in zip(baselines.median_clip(frames, fixed), baselines.telea_clip(frames, fixed), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_clips_that_do_not_fit_are_refused() -> None:
    frames, holes = still_scene(3)
    with pytest.raises(InputError, match="2 holes for 3 frames"):
        baselines.median_plate(frames, holes[:2])
    with pytest.raises(InputError, match=r"Frame 1 is 50x40 and frame 0 is 56x40"):
        baselines.median_plate([frames[0], frames[1][:, :50]], [holes[0], holes[1][:, :50]])
    with pytest.raises(InputError, match="8-bit"):
        baselines.telea(frames[0].astype(np.uint16), holes[0])
    with pytest.raises(InputError, match="one hole pixel"):
        baselines.telea(frames[0], holes[0][:-1])


# -- the folders


def write_clip(folder: Path, frames: list[np.ndarray], holes: list[np.ndarray]) -> None:
    for kind, pictures in (("frames", frames), ("still", holes)):
        (folder / kind).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            assert cv2.imwrite(
                str(folder / kind / f"{index:05d}.png"), picture[..., ::-1] if picture.ndim == 3 else picture
            )


def test_a_clip_is_read_back_as_rgb_and_binary_holes(tmp_path: Path) -> None:
    frames, holes = still_scene(3)
    holes[1] = np.where(holes[1] > 0, 128, 127).astype(np.uint8)  # the threshold lies between
    write_clip(tmp_path / "b-clip", frames, holes)
    write_clip(tmp_path / "a-clip", frames, holes)
    (tmp_path / "notes").mkdir()
    found = clips.find_clips(tmp_path)
    assert [clip.name for clip in found] == ["a-clip", "b-clip"]
    np.testing.assert_array_equal(found[0].frames(), np.stack(frames))
    read = found[0].holes("still")
    assert set(np.unique(read)) == {0, 1}
    np.testing.assert_array_equal(read[1], (holes[1] == 128).astype(np.uint8))


def test_broken_clips_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no clip"):
        clips.find_clips(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        clips.find_clips(tmp_path / "absent")
    frames, holes = still_scene(3)
    write_clip(tmp_path / "clip", frames, holes[:2])
    clip = clips.MeasuredClip(tmp_path / "clip")
    with pytest.raises(InputError, match="2 masks for 3 frames"):
        clip.holes("still")
    with pytest.raises(InputError, match="drifting holds no pictures"):
        clip.holes("drifting")
    (tmp_path / "clip" / "frames" / "00001.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"00001\.png is not a picture"):
        clip.frames()
    cv2.imwrite(str(tmp_path / "clip" / "frames" / "00001.png"), frames[0][:20])
    with pytest.raises(InputError, match="mixes pictures of the sizes"):
        clip.frames()


@pytest.mark.skipif(not EVAL.is_dir(), reason="the project's eval clips are not beside this checkout")
@pytest.mark.parametrize("name", PUBLISHED_TABLE)
def test_the_projects_baseline_table_is_reproduced(name: str) -> None:
    clip = clips.MeasuredClip(EVAL / name)
    frames, holes = clip.frames(), clip.holes("drifting")
    # Every scored frame stands alone for Telea, so the others need not be filled.
    scored = slice(None, None, clips.EVAL_STRIDE)
    by_telea = metrics.score_clip(baselines.telea_clip(frames[scored], holes[scored]), frames[scored], holes[scored])
    filled = list(baselines.median_clip(frames, holes))
    by_median = metrics.score_clip(filled, frames, holes, every=clips.EVAL_STRIDE)
    assert (by_telea.hole_psnr, by_median.hole_psnr) == pytest.approx(PUBLISHED_TABLE[name], abs=0.03)
