"""The example clip keeps its promises, its generator is right about geometry, and the scripts beside it work."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.quality.metrics import psnr_from_mse

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GARAGE = EXAMPLES / "garage"
FRAMES, SIZE, RATE = 48, (240, 432), 25


def read_video(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return psnr_from_mse(float(np.mean((first.astype(np.float64) - second) ** 2)), 255.0)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ (0.299, 0.587, 0.114)


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    return read_video(GARAGE / "video.mp4")


@pytest.fixture(scope="module")
def background() -> np.ndarray:
    return read_video(GARAGE / "background.mp4")


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    paths = sorted((GARAGE / "masks").iterdir())
    return np.stack([np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in paths])


def load_script(name: str) -> ModuleType:
    """A module of examples/, which is no package: its scripts import each other as neighbours."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


# -- the files


def test_the_clip_is_small_and_complete(video: np.ndarray, background: np.ndarray, masks: np.ndarray) -> None:
    assert video.shape == background.shape == (FRAMES, *SIZE, 3)
    assert masks.shape == (FRAMES, *SIZE)
    assert set(np.unique(masks)) == {0, 255}
    assert sum(path.stat().st_size for path in GARAGE.rglob("*") if path.is_file()) < 3_000_000
    assert (GARAGE / "LICENSE.md").is_file()


def test_the_video_has_its_rate_its_colours_named_and_sound() -> None:
    with av.open(str(GARAGE / "video.mp4")) as container:
        stream, sound = container.streams.video[0], container.streams.audio[0]
        assert stream.average_rate == Fraction(RATE)
        assert stream.codec_context.name == "h264"
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (6, 1)  # BT.601, studio range
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(sound)])
    assert 0.01 < np.abs(samples).max() < 0.5
    assert len(samples) / sound.rate == pytest.approx(FRAMES / RATE, abs=0.05)


def test_outside_the_masks_both_videos_show_the_same(
    video: np.ndarray, background: np.ndarray, masks: np.ndarray
) -> None:
    outside = masks == 0
    by_frame = [psnr(video[i][outside[i]], background[i][outside[i]]) for i in range(FRAMES)]
    assert min(by_frame) > 38
    # Masks six pixels smaller would leave the walker's edge: the measure sees it.
    smaller = [cv2.erode(mask, np.ones((13, 13), np.uint8)) == 0 for mask in masks]
    assert max(psnr(video[i][smaller[i]], background[i][smaller[i]]) for i in range(FRAMES)) < 34


def test_inside_the_masks_the_walker_hides_what_other_frames_show(
    video: np.ndarray, background: np.ndarray, masks: np.ndarray
) -> None:
    hole = masks != 0
    assert all(0.08 < share < 0.2 for share in hole.mean(axis=(1, 2)))
    assert max(psnr(video[i][hole[i]], background[i][hole[i]]) for i in range(FRAMES)) < 13
    assert hole.mean(axis=0).max() <= 0.5


def test_the_camera_moves_and_near_things_move_otherwise_than_far_ones(background: np.ndarray) -> None:
    first, later = (cv2.cvtColor(background[index], cv2.COLOR_RGB2GRAY) for index in (10, 30))
    flow = cv2.calcOpticalFlowFarneback(first, later, np.zeros((*SIZE, 2), np.float32), 0.5, 4, 31, 5, 5, 1.1, 0)
    low, high = np.percentile(flow[..., 0], [5, 95])
    assert high - low > 6


# -- the generator


@pytest.fixture(scope="module")
def garage() -> Any:
    pytest.importorskip("skimage")
    return load_script("garage_scene").Garage()


def test_the_scene_seen_from_the_right_camera_is_the_right_photograph(garage: Any) -> None:
    scene = load_script("garage_scene")
    height, width = garage.left.inverse_depth.shape
    # The right camera's principal point lies further right: look at a point that much further left.
    centre = (width / 2 - scene.PRINCIPAL_POINT_SHIFT, height / 2)

    def seen_from(x: float) -> np.ndarray:
        pose = scene.Pose(x=x, y=0.0, z=0.0, yaw=0.0, roll=0.0, zoom=1.0)
        picture: np.ndarray = garage.render(pose, (height, width), width, centre)
        return picture[20:-20, 20:-120]

    truth = garage.right.rgb[20:-20, 20:-120]
    assert psnr(seen_from(scene.BASELINE), truth) > 26  # 27.6 here: highlights move, and edges are resampled
    assert psnr(seen_from(0.9 * scene.BASELINE), truth) < 18  # 15.0: a tenth of the way off


def test_the_left_camera_sees_the_left_photograph(garage: Any) -> None:
    scene = load_script("garage_scene")
    height, width = garage.left.inverse_depth.shape
    pose = scene.Pose(x=0.0, y=0.0, z=0.0, yaw=0.0, roll=0.0, zoom=1.0)
    picture = garage.render(pose, (height, width), width, (width / 2, height / 2))
    assert psnr(picture[4:-4, 4:-4], garage.left.rgb[4:-4, 4:-4]) > 40


def test_the_shipped_frames_are_what_the_script_draws(
    garage: Any, video: np.ndarray, background: np.ndarray, masks: np.ndarray
) -> None:
    make_example, walker = load_script("make_example"), load_script("walking_figure").Figure()
    index = 29
    frame, again = (make_example.render(garage, walker, index) for _ in range(2))
    np.testing.assert_array_equal(frame.video, again.video)
    # In luma: chroma at half size alone costs the red tank 9 dB.
    assert psnr(luma(frame.video), luma(video[index])) > 38
    assert psnr(luma(frame.background), luma(background[index])) > 38
    assert psnr(luma(frame.background), luma(background[index + 1])) < 32
    assert np.mean(frame.mask != masks[index]) < 0.002  # another OpenCV may cut an edge otherwise
    changed = (frame.video != frame.background).any(axis=2)
    assert not (changed & (frame.mask == 0)).any()


# -- the scripts


@pytest.fixture
def fake_command(tmp_path: Path) -> dict[str, str]:
    """An environment where `e2fgvi` notes its arguments, fails for a clip named bad and else writes its output."""
    program = tmp_path / "bin" / "e2fgvi"
    program.parent.mkdir()
    program.write_text(
        f'#!/usr/bin/env bash\necho "$@" >> \'{tmp_path}/calls\'\ncase "$3" in *bad*) exit 3;; esac\ntouch "$7"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def run_folder_script(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(EXAMPLES / "inpaint_folder.sh"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


needs_bash = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="a shell script")


@needs_bash
def test_the_folder_script_fills_each_clip_and_passes_options_on(tmp_path: Path, fake_command: dict[str, str]) -> None:
    for name, video_name in (("a clip", "video.mp4"), ("b", "frames")):
        (tmp_path / "clips" / name / "masks").mkdir(parents=True)
        (tmp_path / "clips" / name / video_name).mkdir()
    (tmp_path / "clips" / "notes").mkdir()
    done = run_folder_script(fake_command, tmp_path / "clips", tmp_path / "out", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    expected = [
        f"inpaint --video {tmp_path}/clips/{name}/{video_name} --mask {tmp_path}/clips/{name}/masks "
        f"--output {tmp_path}/out/{name}.mp4 --device cpu"
        for name, video_name in (("a clip", "video.mp4"), ("b", "frames"))
    ]
    assert (tmp_path / "calls").read_text().splitlines() == expected
    again = run_folder_script(fake_command, tmp_path / "clips", tmp_path / "out")
    assert again.returncode == 0
    assert again.stderr.count("skipped") == 2
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


@needs_bash
def test_the_folder_script_goes_on_after_a_failure_and_says_so(tmp_path: Path, fake_command: dict[str, str]) -> None:
    for name in ("bad", "good"):
        (tmp_path / "clips" / name / "masks").mkdir(parents=True)
        (tmp_path / "clips" / name / "video.mkv").touch()
    done = run_folder_script(fake_command, tmp_path / "clips", tmp_path / "out")
    assert done.returncode == 6
    assert "bad: failed with code 3" in done.stderr
    assert "1 of 2 clips failed" in done.stderr
    assert (tmp_path / "out" / "good.mp4").exists()


@needs_bash
def test_the_folder_script_refuses_what_is_no_folder_of_clips(tmp_path: Path, fake_command: dict[str, str]) -> None:
    assert run_folder_script(fake_command).returncode == 2
    assert run_folder_script(fake_command, tmp_path / "absent", tmp_path / "out").returncode == 3
    (tmp_path / "empty").mkdir()
    nothing = run_folder_script(fake_command, tmp_path / "empty", tmp_path / "out")
    assert nothing.returncode == 3
    assert "holds no clip" in nothing.stderr
    assert not (tmp_path / "calls").exists()


def write_small_clip(folder: Path) -> None:
    """Four frames of a ramp, 64x48, with a black square that hides part of it."""
    (folder / "masks").mkdir(parents=True)
    truth = np.clip(np.linspace(40, 200, 64)[None, :, None] + np.zeros((48, 64, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[16:32, 24:40] = 255
    spoiled = np.where(mask[..., None] != 0, np.uint8(0), truth)
    for name, picture in (("background.mp4", truth), ("video.mp4", spoiled)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    for index in range(4):
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), mask)


def test_the_score_script_prints_every_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("score_clip")
    write_small_clip(tmp_path / "clip")

    def inpaint_perfectly(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[-3:] == ["--json", "--device", "cpu"]
        shutil.copy(tmp_path / "clip" / "background.mp4", command[command.index("--output") + 1])
        summary = '{"seconds_per_frame": 1.5, "device": "cpu", "weights": "open"}\n'
        return subprocess.CompletedProcess(command, 0, stdout=summary)

    monkeypatch.setattr(script.subprocess, "run", inpaint_perfectly)
    assert script.main([str(tmp_path / "clip"), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = {line[:20].strip(): float(line[20:].split()[0]) for line in lines[1:4]}
    assert scores["e2fgvi inpaint"] == 100.0
    assert scores["e2fgvi inpaint"] > scores["Telea"] > 15
    assert scores["temporal median"] == scores["Telea"]  # a hole that stays
    assert lines[4].startswith("1.50 s a frame on cpu")


def test_the_score_script_ends_with_the_commands_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("score_clip")
    write_small_clip(tmp_path / "clip")

    def fail(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(5, command)

    monkeypatch.setattr(script.subprocess, "run", fail)
    assert script.main([str(tmp_path / "clip")]) == 5
