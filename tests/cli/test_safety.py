"""Whatever happens to a command: a sentence, the right exit code, nothing half-written, nothing of anybody else's touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from e2fgvi_cli import app, pipeline
from e2fgvi_cli.fill.blending import Prediction, WeightedBlender

from ..conftest import ROOT
from ..factories import clip, holes, write_folder

SIZE = (24, 32)
RUN = ("inpaint", "-v", "frames", "-m", "masks", "--no-image-propagation", "--no-cuts")


class GrayEngine:
    """Fills with grey; calls `during` before each window."""

    size_multiple, max_pixels, notices = (8, 8), None, ()

    def __init__(self, during: Any) -> None:
        self._during = during

    def blender(self) -> WeightedBlender:
        return WeightedBlender()

    def lookup(self) -> None:
        return None

    def start_shot(self) -> None:
        pass

    def forget(self, before: int, keep: Any) -> None:
        pass

    def use_crops(self, crops: Any) -> None:
        pass

    def fill(self, window: Any, frame: Any, crop: Any, wanted: Any) -> list[tuple[int, Prediction[Any]]]:
        self._during()
        grey = [(b[2] - b[0], b[3] - b[1], 3) for _, b in wanted]
        return [(i, Prediction(b, np.full(s, 0.5, np.float32))) for (i, b), s in zip(wanted, grey, strict=True)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """frames/ and masks/, and an engine of no weight: `place.during = function` is called while it works."""
    write_folder(tmp_path / "frames", clip(6, *SIZE))
    write_folder(tmp_path / "masks", holes(6, *SIZE))
    found = SimpleNamespace(path=tmp_path, during=lambda: None)

    def assemble(options: Any, *_: Any) -> Any:
        import torch

        return SimpleNamespace(
            engine=GrayEngine(lambda: found.during()),  # noqa: PLW0108 (looked up when called)
            notices=[],
            device=torch.device("cpu"),
            description="cpu",
            deform="none",
            precision="fp32",
            weights=options.weights,
        )

    monkeypatch.setattr(pipeline, "assemble", assemble)
    return found


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def once(action: Any) -> Any:
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        if len(calls) == 1:
            action()

    return act


def send(number: int) -> Any:
    def act() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.02)

    return act


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("output", ["o.mkv", "o"])
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 130), ("SIGHUP", 129)])
def test_a_signal_leaves_nothing(e2fgvi: Any, place: Any, output: str, number: str, code: int) -> None:
    place.during = once(send(getattr(signal, number)))
    sides = ("--sheet", "s.png", "--gif", "g.gif", "--save-frames", "sf", "--compare", "side")
    done = e2fgvi(*RUN, "-o", output, *sides)
    assert done.returncode == code
    assert done.stderr.endswith("error: interrupted: nothing was left under the name of the output\n")
    assert names(place.path) == ["frames", "masks"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_while_publishing_finds_the_output_whole(
    e2fgvi: Any, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from e2fgvi_cli.system import publication

    publish = publication._publish

    def interrupted(entry: Any) -> None:
        publish(entry)
        send(signal.SIGTERM)()

    monkeypatch.setattr(publication, "_publish", interrupted)
    done = e2fgvi(*RUN, "-o", "o", "--sheet", "s.png")
    assert done.returncode == 130
    assert done.stderr.endswith("error: interrupted after o, s.png was written: that is whole\n")
    assert names(place.path / "o") == names(place.path / "frames")
    assert names(place.path) == ["frames", "masks", "o", "s.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_error_that_a_signal_caused_is_the_signal(e2fgvi: Any, place: Any) -> None:
    def act() -> None:
        try:
            send(signal.SIGINT)()
        except KeyboardInterrupt:
            raise SystemError("a library was interrupted") from None

    place.during = once(act)
    done = e2fgvi(*RUN, "-o", "o")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        130,
        "error: interrupted: nothing was left under the name of the output",
    )


def test_what_appears_at_the_output_is_not_replaced(e2fgvi: Any, place: Any) -> None:
    place.during = once(lambda: (place.path / "o.mkv").write_bytes(b"somebody else's"))
    done = e2fgvi(*RUN, "-o", "o.mkv")
    assert done.returncode == 3
    assert done.stderr.endswith(
        "error: the output o.mkv appeared while this ran and was not replaced: the finished result is o-1.mkv\n"
    )
    assert (place.path / "o.mkv").read_bytes() == b"somebody else's"
    assert (place.path / "o-1.mkv").stat().st_size > 1000


class PanicError(BaseException):
    """As Rust libraries raise them."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (lambda: __import__("cv2").error("OpenCV(5.0)\n bad depth"), 1, "unexpected failure, please report it: error: OpenCV(5.0) bad depth"),
        (lambda: PanicError("index out of bounds"), 1, "unexpected failure, please report it: PanicError: index out of bounds"),
        (lambda: RecursionError("too deep"), 1, "unexpected failure, please report it: RecursionError: too deep"),
        (StopAsyncIteration, 1, "unexpected failure, please report it: StopAsyncIteration"),
        (lambda: OSError(12, "Cannot allocate memory"), 5, "out of memory: [Errno 12] Cannot allocate memory"),
        (MemoryError, 5, "out of memory: no more could be had"),
    ],
)  # fmt: skip
def test_every_error_is_a_sentence(e2fgvi: Any, place: Any, error: Any, code: int, message: str) -> None:
    def act() -> None:
        raise error()

    place.during = act
    done = e2fgvi(*RUN, "-o", "o")
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in done.stderr
    assert names(place.path) == ["frames", "masks"]


def test_the_traceback_is_there_on_request(e2fgvi: Any, place: Any) -> None:
    def act() -> None:
        raise ArithmeticError("seven")

    place.during = act
    assert "Traceback" in e2fgvi(*RUN, "-o", "o", env={"E2FGVI_DEBUG": "1"}).stderr
    said = e2fgvi(*RUN, "-o", "o", env={"E2FGVI_DEBUG": "log.txt"}).stderr
    assert "Traceback" not in said
    log = (place.path / "log.txt").read_text(encoding="utf-8")
    assert log.startswith("e2fgvi 0.")
    assert "ArithmeticError: seven" in log
    assert "Traceback" not in e2fgvi(*RUN, "-o", "o", env={"E2FGVI_DEBUG": "0"}).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="names of POSIX")
def test_a_name_that_is_too_long_is_a_sentence(e2fgvi: Any, place: Any) -> None:
    name = "y" * 256 + ".mkv"
    done = e2fgvi(*RUN, "-o", name)
    assert (done.returncode, done.stderr) == (3, f"error: cannot use {name}: File name too long\n")


@pytest.mark.parametrize("arguments", [("--plan",), ()])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("masks", "the output masks is the mask itself; give another name"),
        ("frames", "the output frames is the input itself; give another name"),
    ],
)
def test_inputs_are_never_outputs(
    e2fgvi: Any, place: Any, output: str, message: str, arguments: tuple[str, ...]
) -> None:
    before = {p: p.read_bytes() for p in place.path.rglob("*") if p.is_file()}
    done = e2fgvi(*RUN, "-o", output, "--overwrite", *arguments)
    assert (done.returncode, done.stderr) == (3, f"error: {message}\n")
    assert {p: p.read_bytes() for p in place.path.rglob("*") if p.is_file()} == before


def test_keyframes_and_masks_are_never_written_over(e2fgvi: Any, place: Any) -> None:
    track = e2fgvi(
        "mask", "track", "--video", "frames", "--keyframe", "0=masks/00000.png", "-o", "masks", "--overwrite"
    )
    assert track.returncode == 3
    assert track.stderr == (
        "error: the output masks would be replaced as a whole, and the mask of frame 0 masks/00000.png lies in it; "
        "give another folder\n"
    )
    preview = e2fgvi("mask", "preview", "--video", "frames", "--mask", "masks", "-o", "masks/00000.png", "--overwrite")
    assert (preview.returncode, preview.stderr) == (
        3,
        "error: the sheet masks/00000.png lies among the files of the mask; give another folder\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("inpaint", "-v", "frames", "-m", "masks", "-o", "there.mp4"),
        ("mask", "track", "--video", "frames", "--box", "1,1,9,9@0", "-o", "there.mp4"),
        ("train", "average", "there.mp4", "b", "-o", "there.mp4"),
        ("benchmark", "--video", "there.mp4", "--mask", "masks", "--json", "there.mp4"),
    ],
)
def test_outputs_are_looked_at_before_torch_is_imported(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write_folder(tmp_path / "frames", clip(1, *SIZE))
    write_folder(tmp_path / "masks", holes(1, *SIZE))
    (tmp_path / "there.mp4").write_bytes(b"old")
    code = (
        "import sys\nfrom e2fgvi_cli.app import app\ntry:\n    app(sys.argv[1:])\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout == "3 False\n", done.stderr
    assert (tmp_path / "there.mp4").read_bytes() == b"old"


@pytest.mark.parametrize(("arguments", "code"), [(["inpaint"], 1), (["check-env", "--list"], 0)])
def test_without_typer_a_line_says_so(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n")
    done = subprocess.run(
        [sys.executable, "-m", "e2fgvi_cli", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        check=False,
    )
    assert done.returncode == code
    if code:
        assert done.stderr == (
            f"error: the package typer is not installed: install it with `{sys.executable} -m pip install typer`, "
            f"or see what else is missing with `{sys.executable} -m e2fgvi_cli.doctor`\n"
        )


def test_the_framework_keeps_its_own_errors() -> None:
    import typer

    assert app._is_of_the_framework(typer.Exit(3))
    assert app._is_of_the_framework(typer.BadParameter("x"))
    assert not app._is_of_the_framework(RuntimeError("x"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_bare_doctor_answers_ctrl_c() -> None:
    code = (
        "import runpy, sys\nimport e2fgvi_cli.doctor.cli as cli\n"
        "def slow(*_):\n    raise KeyboardInterrupt\ncli.main = slow\nrunpy.run_module('e2fgvi_cli.doctor', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_in_the_last_moment_finds_the_output_whole(
    e2fgvi: Any, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = app.interrupts.leave_at_once

    def late(code: int) -> None:
        if app.interrupts.received() is None:
            send(signal.SIGHUP)()
        leave(code)

    monkeypatch.setattr(app.interrupts, "leave_at_once", late)
    done = e2fgvi(*RUN, "-o", "o")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        129,
        "error: interrupted after o was written: that is whole",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_a_working_folder_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, sys\nos.rmdir(os.getcwd())\nfrom e2fgvi_cli.app import main\n"
        "sys.argv = ['e2fgvi', 'inpaint', '-v', 'x.mp4', '-m', 'm.png']\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        3,
        "error: the folder in which this was started is not there any more: change to one that is\n",
    )
