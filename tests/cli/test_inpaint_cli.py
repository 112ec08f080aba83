"""`e2fgvi inpaint` as a user types it: exit codes and messages, and that nothing half-written stays behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ..conftest import ROOT, Done
from ..factories import clip, holes, read_folder, texture, write_folder

SIZE = (24, 32)
FAST = ("--device", "cpu", "--neighbor-stride", 2, "--max-references", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """frames/ and masks/: six small frames with a walking hole."""
    write_folder(tmp_path / "frames", clip(6, *SIZE))
    write_folder(tmp_path / "masks", holes(6, *SIZE))
    return tmp_path


def error_of(done: Done) -> str:
    """The one line that explains a failure; there is no traceback and nothing else that looks like an error."""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("error: ")


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if "partial" in p.name or p.name.endswith(".old"))


def test_fills_the_hole_and_nothing_else(e2fgvi: Any, scene: Path) -> None:
    done = e2fgvi(
        "inpaint", "--video", "frames", "--mask", "masks", "--output", "out", "--mask-dilation", 0, "--json", *FAST
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames"], summary["filled"], summary["size"]) == (6, 6, [24, 32])
    assert summary["deform_backend"] == "torch"
    assert summary["weights"].endswith("e2fgvi-hq-open.safetensors")
    assert summary["seconds_per_frame"] > 0
    assert "weights: e2fgvi-hq-open.safetensors (SPyNet inside); device: cpu" in done.stderr
    assert "6 of 6 frames" in done.stderr
    source, result, hole = read_folder(scene / "frames"), read_folder(scene / "out"), holes(6, *SIZE) > 0
    assert np.array_equal(result[~hole], source[~hole])
    assert (result[hole] != source[hole]).mean() > 0.5


def test_two_devices_give_the_frames_of_one(e2fgvi: Any, scene: Path) -> None:
    one = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "one", "--threads", 1, *FAST)
    fast = [str(x) for x in FAST if x not in ("--device", "cpu")]
    two = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "two", "--threads", 1, "--devices", "cpu,cpu", *fast)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert np.array_equal(read_folder(scene / "one"), read_folder(scene / "two"))


def test_a_frame_is_previewed_as_the_whole_run_fills_it(e2fgvi: Any, tmp_path: Path) -> None:
    """Also behind a cut, and further from the shot's start than the network looks back from it: frame 10 is shown
    frames 7 to 11."""
    fast = (*FAST, "--reference-stride", 2, "--full-frame")
    frames, masks = np.concatenate([clip(3, *SIZE), 255 - clip(9, *SIZE)]), holes(12, *SIZE)
    write_folder(tmp_path / "frames", frames)
    write_folder(tmp_path / "masks", masks)
    whole = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "out", "--threads", 1, *fast)
    assert whole.returncode == 0, whole.stderr
    result = read_folder(tmp_path / "out")
    for number in (3, 10):
        one = ("inpaint", "-v", "frames", "-m", "masks", "--preview-frame", number, "--threads", 1)
        done = e2fgvi(*one, "--json", *fast)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        picture = cv2.imread(str(tmp_path / said["output"]))[..., ::-1]
        assert Path(said["output"]).name == f"{tmp_path.name}_frame_{number:06d}.png"
        assert np.array_equal(picture[:, : SIZE[1]], frames[number])
        assert np.array_equal(picture[:, -SIZE[1] :], result[number])


@pytest.mark.parametrize(
    ("number", "output", "code", "said"),
    [
        (6, "one.png", 3, "--preview-frame 6: there is no such frame in frames, which has frames 0 to 5"),
        (2, "one.mp4", 2, "--preview-frame writes a picture: give --output a name that ends in .png, not one.mp4"),
    ],
)
def test_a_preview_that_cannot_be(e2fgvi: Any, scene: Path, number: int, output: str, code: int, said: str) -> None:
    done = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "--preview-frame", number, "-o", output, *FAST)
    assert (done.returncode, error_of(done)) == (code, said)
    assert not (scene / output).exists()


def test_plan_is_printed_and_nothing_is_written(e2fgvi: Any, scene: Path) -> None:
    done = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "out", "--plan", "--max-memory", "4GiB", *FAST)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("device: cpu")
    assert "frame: 60x108 pixels, padded" in done.stdout
    assert "limit 4.00 GiB" in done.stdout
    assert re.search(
        r"time: the network takes about [\d.]+ s a whole frame, \d+ s for 6 frames, less where", done.stdout
    )
    assert not (scene / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--max-memory", "lots"), 2, "lots"),
        (("--max-memory", "100MiB"), 2, "raise --max-memory"),
        (("--precision", "fp8"), 2, "--precision fp8 is unknown: use auto, fp32, tf32, fp16, bf16"),
        (("--precision", "fp16"), 5, "precision fp16 is for GPUs: on a CPU use fp32 or bf16"),
        (("--full-frame", "--crop-margin", 8), 2, "drop --crop-margin"),
        (("--crop-margin", -1), 2, "give 0 or more"),
        (("--threads", 0), 2, "--threads 0 is too small: use 1 or more"),
        (("--devices", "cpu,,cpu"), 2, "--devices 'cpu,,cpu' has an empty name"),
    ],
)
def test_engine_options_are_checked(
    arguments: tuple[Any, ...], code: int, sentence: str, e2fgvi: Any, scene: Path
) -> None:
    device = () if "--devices" in arguments else ("--device", "cpu")
    done = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "out", *device, *arguments)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert not (scene / "out").exists()


def test_the_default_output_is_named_after_the_clip(e2fgvi: Any, scene: Path) -> None:
    assert e2fgvi("inpaint", "-v", "frames", "-m", "masks", "--quiet", *FAST).returncode == 0
    assert (scene / "results" / f"{scene.name}_inpainted.mp4").is_file()


def test_names_of_the_published_program_work(e2fgvi: Any, scene: Path) -> None:
    weights = ROOT / "release_model" / "e2fgvi-hq-open.safetensors"
    done = e2fgvi(
        "inpaint", "--model", "e2fgvi_hq", "--video", "frames", "--mask", "masks", "--ckpt", weights, "--step", 3, "--num_ref", -1,
        "--neighbor_stride", 2, "--savefps", "30000/1001", "--set_size", "--width", 32, "--height", 24, "-o", "out.mp4", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import av

    with av.open(str(scene / "out.mp4")) as container:
        assert str(container.streams.video[0].average_rate) == "30000/1001"


def test_quiet_is_silent(e2fgvi_process: Any, scene: Path) -> None:
    done = e2fgvi_process("inpaint", "-v", "frames", "-m", "masks", "-o", "out", "--quiet", *FAST)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_video_and_frames_at_once_and_a_score(e2fgvi: Any, scene: Path) -> None:
    done = e2fgvi(
        "inpaint",
        "-v",
        "frames",
        "-m",
        "masks",
        "-o",
        "out.mp4",
        "--save-frames",
        "shots",
        "--reference",
        "frames",
        "--json",
        *FAST,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((scene / "shots").iterdir())) == 6
    scores = json.loads(done.stdout)["scores"]
    assert 0 < scores["hole_psnr"] < scores["composite_psnr"]
    assert "PSNR in the hole" in done.stderr


def test_no_hole_returns_the_input_and_says_so(e2fgvi: Any, scene: Path) -> None:
    write_folder(scene / "empty", holes(6, *SIZE) * 0)
    done = e2fgvi("inpaint", "-v", "frames", "-m", "empty", "-o", "out", *FAST)
    assert done.returncode == 0
    assert "no frame has a hole" in done.stderr
    assert np.array_equal(read_folder(scene / "out"), read_folder(scene / "frames"))


def test_a_hole_everywhere_is_filled(e2fgvi: Any, scene: Path) -> None:
    write_folder(scene / "full", np.full((6, *SIZE), 255, np.uint8))
    assert e2fgvi("inpaint", "-v", "frames", "-m", "full", "-o", "out", *FAST).returncode == 0
    assert read_folder(scene / "out").shape == (6, *SIZE, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (59, 3), (61, 109)])
def test_every_size_works_down_to_one_pixel(e2fgvi: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    write_folder(tmp_path / "frames", clip(1, *size))
    write_folder(tmp_path / "masks", np.full((1, *size), 255, np.uint8))
    done = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "out", *FAST)
    assert done.returncode == 0, done.stderr
    assert read_folder(tmp_path / "out").shape == (1, *size, 3)


def test_size_resizes_only_when_asked(e2fgvi: Any, scene: Path) -> None:
    assert e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "out", "--size", "40x30", *FAST).returncode == 0
    assert read_folder(scene / "out").shape == (6, 30, 40, 3)


def test_deform_backends_by_name(e2fgvi: Any, scene: Path) -> None:
    exact = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "exact", "--deform", "torch", *FAST)
    assert re.search(r"precision: (fp32|bf16); deformable convolution: torch\n", exact.stderr), (
        "bf16 where the CPU multiplies it"
    )
    rough = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "rough", "--deform", "approximate", *FAST)
    assert rough.returncode == 0
    assert "not that of the network" in rough.stderr
    found = read_folder(scene / "exact").astype(int)
    assert np.abs(read_folder(scene / "rough") - found).max() > 1


def test_comparison_pictures_and_verification(e2fgvi: Any, scene: Path) -> None:
    done = e2fgvi(
        "inpaint", "-v", "frames", "-m", "masks", "-o", "out.mkv", "--codec", "ffv1", "--verify",
        "--compare", "split", "--sheet", "sheet.png", "--gif", "loop.gif", *FAST,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "verified: 6 frames" in done.stderr
    assert "largest difference outside the hole: 0" in done.stderr
    assert (scene / "out_compare.mp4").is_file()
    assert (scene / "loop.gif").read_bytes()[:4] == b"GIF8"
    assert (scene / "sheet.png").read_bytes()[1:4] == b"PNG"
    again = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "other.mkv", "--sheet", "sheet.png", *FAST)
    assert again.returncode == 3
    assert "sheet.png exists" in error_of(again)
    assert not (scene / "other.mkv").exists()


BAD = [
    (("--video", "nowhere", "--mask", "masks"), 3, "nowhere"),
    (("--video", "frames", "--mask", "nowhere"), 3, "nowhere"),
    (("--video", "frames"), 2, "--mask"),
    (("--video", "frames", "--mask", "five"), 3, "5"),
    (("--video", "empty", "--mask", "masks"), 3, "empty"),
    (("--video", "mixed", "--mask", "masks"), 3, "00003.png"),
    (("--video", "broken", "--mask", "masks"), 3, "00002.png"),
    (("--video", "text.mp4", "--mask", "masks"), 3, "text.mp4"),
    (("--video", "frames", "--mask", "masks", "--output", "frames"), 3, "input"),
    (("--video", "frames", "--mask", "masks", "--output", "text.mp4/out.mp4"), 3, "text.mp4"),
    (("--video", "frames", "--mask", "masks", "--device", "tpu"), 2, "'tpu'"),
    (("--video", "frames", "--mask", "masks", "--device", "cuda:77"), 5, "'cuda:77'"),
    (("--video", "frames", "--mask", "masks", "--deform", "cudnn"), 2, "'cudnn'"),
    (("--video", "frames", "--mask", "masks", "--weights", "nowhere.pth"), 4, "nowhere.pth"),
    (("--video", "frames", "--mask", "masks", "--weights", "text.mp4"), 4, "text.mp4"),
    (("--video", "frames", "--mask", "masks", "--model", "e2fgvi"), 2, "432x240"),
    (("--video", "frames", "--mask", "masks", "--size", "big"), 2, "'big'"),
    (("--video", "frames", "--mask", "masks", "--num_ref", "-7"), 2, "'-7'"),
    (("--video", "frames", "--mask", "masks", "--neighbor-stride", "0"), 2, "--neighbor-stride 0"),
    (("--video", "frames", "--mask", "masks", "--compat", "old"), 2, "'old'"),
    (("--video", "frames", "--mask", "masks", "--compat", "released", "--mask-dilation", "2"), 2, "--mask-dilation"),
    (("--video", "frames", "--mask", "masks", "--savefps", "fast"), 2, "'fast'"),
    (("--video", "frames", "--mask", "masks", "--mask-box", "1,2,3"), 2, "1,2,3"),
    (("--video", "frames", "--mask", "masks", "--reference", "three"), 3, "three"),
    (("--video", "frames", "--mask", "masks", "--output", "taken.mp4"), 3, "taken.mp4"),
]


@pytest.fixture
def bad_scene(scene: Path) -> Path:
    write_folder(scene / "five", holes(5, *SIZE))
    for path, letter in zip(sorted((scene / "five").iterdir()), "abcde", strict=True):
        path.rename(path.with_name(f"{letter}.png"))  # names without numbers: only the order could pair them
    write_folder(scene / "three", clip(3, *SIZE))
    (scene / "empty").mkdir()
    shutil.copytree(scene / "frames", scene / "mixed")
    write_folder(scene / "other", texture(30, 40)[None])
    shutil.copy(scene / "other" / "00000.png", scene / "mixed" / "00003.png")
    shutil.copytree(scene / "frames", scene / "broken")
    (scene / "broken" / "00002.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (scene / "text.mp4").write_text("this is no video")
    (scene / "taken.mp4").write_text("precious")
    return scene


@pytest.mark.parametrize(
    ("arguments", "code", "named"), BAD, ids=lambda v: " ".join(v) if isinstance(v, tuple) else None
)
def test_bad_input_has_its_code_and_names_the_thing(
    e2fgvi: Any, bad_scene: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    output = () if "--output" in arguments else ("--output", "out.mp4")
    device = () if "--device" in arguments else ("--device", "cpu")
    done = e2fgvi("inpaint", *arguments, *output, *device)
    assert named in error_of(done)
    assert done.returncode == code, done.stderr
    assert not (bad_scene / "out.mp4").exists()
    assert (bad_scene / "taken.mp4").read_text() == "precious"
    assert leftovers(bad_scene) == []


def test_unknown_options_are_usage_errors(e2fgvi: Any) -> None:
    done = e2fgvi("inpaint", "--vidoe", "x")
    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_overwrite_replaces(e2fgvi: Any, bad_scene: Path) -> None:
    done = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", "taken.mp4", "--overwrite", *FAST)
    assert done.returncode == 0, done.stderr
    assert (bad_scene / "taken.mp4").read_bytes()[4:8] == b"ftyp"


def test_masks_of_another_size_are_resized_with_a_notice(e2fgvi: Any, scene: Path) -> None:
    write_folder(scene / "large", holes(6, 48, 64))
    done = e2fgvi("inpaint", "-v", "frames", "-m", "large", "-o", "out", *FAST)
    assert done.returncode == 0
    assert "64x48" in done.stderr
    assert "nearest" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_run_leaves_the_old_file(scene: Path, sent: signal.Signals, code: int) -> None:
    (scene / "out.mp4").write_text("precious")
    write_folder(scene / "long", clip(300, *SIZE))
    command = [
        sys.executable,
        "-m",
        "e2fgvi_cli",
        "inpaint",
        "-v",
        "long",
        "-m",
        "masks/00000.png",
        "-o",
        "out.mp4",
        "--overwrite",
        *map(str, FAST),
    ]
    process = subprocess.Popen(
        command, cwd=scene, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    deadline = time.monotonic() + 240
    while not leftovers(scene):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert (scene / "out.mp4").read_text() == "precious"
    assert leftovers(scene) == []


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="needs root and tmpfs on Linux")
def test_a_full_disk_is_named_and_leaves_nothing(e2fgvi: Any, scene: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        done = e2fgvi("inpaint", "-v", "frames", "-m", "masks", "-o", small / "out.mp4", *FAST)
        assert done.returncode == 3, done.stderr
        assert "space" in error_of(done)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
