"""Weights at fault end with 4, in every command that takes them; what `weights` itself reads and writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from e2fgvi_cli.errors import WeightsError
from e2fgvi_cli.weights import known as weights

from ..conftest import ROOT, Run
from ..factories import clip, holes, write_folder

OPEN = ROOT / "release_model" / "e2fgvi-hq-open.safetensors"


def commands(weights: str, folder: Path) -> dict[str, tuple[object, ...]]:
    """Every command line that takes weights, with these."""
    write_folder(folder / "one", clip(12, 24, 32))
    write_folder(folder / "mask", holes(12, 24, 32))
    (folder / "jobs.jsonl").write_text(json.dumps({"video": "one", "mask": "mask", "weights": weights}))
    (folder / "run.toml").write_text(
        f"start = {json.dumps(weights)}\nminutes = 0.01\n[data]\nclips = ['one']\nclip_size = [60, 108]\n"
        "[[phase]]\nsize = [60, 108]\nbatch = 1\nlocal = 2\nreference = 1\n"
    )
    return {
        "inpaint": ("inpaint", "-v", "one", "-m", "mask", "-o", "out.mkv", "--device", "cpu", "--weights", weights),
        "plan": ("inpaint", "-v", "one", "-m", "mask", "--plan", "--device", "cpu", "--weights", weights),
        "benchmark": ("benchmark", "--sizes", "108x60", "--frames", "2", "--device", "cpu", "--weights", weights),
        "train": ("train", "run.toml", "--device", "cpu"),
        "evaluate": ("train", "evaluate", ".", "--device", "cpu", "--weights", weights),
        "average": ("train", "average", weights, weights, "-o", "mean.safetensors"),
        "verify": ("weights", "verify", weights),
        "import": ("weights", "import", weights),
        "dry run": ("batch", "jobs.jsonl", "--dry-run", "--devices", "cpu", "--json"),
    }


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(OPEN.read_bytes()[:100_000])
    return path


@pytest.mark.slow
def test_weights_at_fault_are_4_everywhere(
    e2fgvi: Run, tmp_path: Path, cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2FGVI_WEIGHTS_DIR", str(tmp_path / "mine"))
    for name, arguments in commands(str(cut), tmp_path).items():
        done = e2fgvi(*arguments)
        said = done.stdout if name == "dry run" else done.stderr
        assert done.returncode == 4, (name, done.stderr, done.stdout)
        assert "cut.safetensors is damaged or truncated" in said, name
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.mkv").exists()
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pipe.pth", "is a pipe or a device"),
        ("/dev/zero", "is a pipe or a device"),
        ("a.pth", "is a folder"),
        ("sparse.pth", f"more than the {weights.LARGEST_FILE}"),
        ("loop.pth", "cannot be used: Too many levels"),
        ("x" * 5000, "cannot be used: File name too long"),
        ("a\0b", "cannot be used"),
        ("~nobody-of-this-name/w.pth", "cannot be used"),
        ("", "no weights are called ''"),
        ("absent.pth", "does not exist"),
    ],
)
def test_what_is_no_file_is_not_waited_for(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.pth")
    Path("a.pth").mkdir()
    Path("loop.pth").symlink_to("loop.pth")
    with open("sparse.pth", "wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(WeightsError) as caught:
        weights.resolve(name)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_a_known_file_that_was_flipped_is_refused(e2fgvi: Run, tmp_path: Path) -> None:
    content = bytearray(OPEN.read_bytes())
    content[-1000] ^= 4
    (tmp_path / OPEN.name).write_bytes(content)
    done = e2fgvi("weights", "verify", tmp_path / OPEN.name)
    assert done.returncode == 4
    assert "is damaged: its SHA-256 is" in done.stderr
    assert "reinstall e2fgvi-cli" in done.stderr


def test_import_replaces_no_other_file_and_leaves_the_folder(
    e2fgvi: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    monkeypatch.setenv("E2FGVI_WEIGHTS_DIR", str(mine))
    assert e2fgvi("weights", "import", OPEN, "--name", "x.safetensors").returncode == 0
    assert e2fgvi("weights", "import", OPEN, "--name", "x.safetensors").returncode == 0
    (mine / "x.safetensors").write_bytes(b"of somebody else")
    done = e2fgvi("weights", "import", OPEN, "--name", "x.safetensors")
    assert (done.returncode, "is another file already" in done.stderr) == (4, True)
    assert (mine / "x.safetensors").read_bytes() == b"of somebody else"
    assert e2fgvi("weights", "import", OPEN, "--name", "x.safetensors", "--overwrite").returncode == 0
    for name in ("../x", "a/b", "..", ""):
        done = e2fgvi("weights", "import", OPEN, "--name", name)
        assert (done.returncode, "is no file name" in done.stderr) == (2, True), name
    assert [p.name for p in mine.iterdir()] == ["x.safetensors"]
