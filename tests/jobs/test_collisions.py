"""No job writes over what any job of its batch reads or writes, nor over the batch's own files; by identity, not by
spelling."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from e2fgvi_cli.comparison.options import ComparisonOptions
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.jobs import BatchSettings, Job
from e2fgvi_cli.jobs.selection import check_paths
from e2fgvi_cli.options import InpaintOptions
from tests.conftest import Run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Inputs, a link to the folder of masks, and a hard link of a clip."""
    for name in ("a.mp4", "b.mp4", "m.png", "jobs.csv", "w.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    for folder in ("masks", "frames", "state"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0000.png").write_bytes(b"picture")
    (tmp_path / "linked").symlink_to("masks")
    os.link(tmp_path / "b.mp4", tmp_path / "same.mp4")
    return tmp_path


def job(folder: Path, name: str, video: str, mask: str, output: str, **more: object) -> Job:
    options = InpaintOptions(folder / video, folder / mask, folder / output)
    options = replace(options, encoding=replace(options.encoding, overwrite=True), **more)
    return Job(name, options)


def settings(folder: Path) -> BatchSettings:
    return BatchSettings(folder / "state", manifest=folder / "jobs.csv")


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (("b.mp4", "c.mp4"), "job 'x': the output .*b.mp4 is the input of job 'y' itself"),
        (("c.mp4", "a.mp4"), "job 'y': the output .*a.mp4 is the input of job 'x' itself"),
        (("same.mp4", "c.mp4"), "is the input of job 'y' itself"),
        (("masks", "c.mp4"), "is the mask of job 'y' itself"),
        (("linked", "c.mp4"), "is the mask of job 'y' itself"),
        (("../{root}/b.mp4", "c.mp4"), "is the input of job 'y' itself"),
        (("jobs.csv", "c.mp4"), "is the manifest itself"),
        (("c.mp4", "c.mp4"), "job 'x': the output and job 'y': the output are both"),
        (("out", "out/c.mp4"), "lies in job 'x': the output .*out, which is written as a whole"),
        (("out/c.mp4", "out"), "lies in job 'y': the output"),
        (("state/journal.sqlite", "c.mp4"), "the journal of the batch and job 'x': the output are both"),
        (("state/segments", "c.mp4"), "the segments of the batch and job 'x': the output are both"),
        (("state/segments/c.mp4", "c.mp4"), "lies in the segments of the batch"),
        (("state", "c.mp4"), "the journal of the batch .* lies in job 'x': the output"),
        (("state/report.html", "c.mp4"), "the report of the batch"),
    ],
)
def test_outputs_against_everything_of_all_jobs(files: Path, outputs: tuple[str, str], words: str) -> None:
    first, second = (output.format(root=files.name) for output in outputs)
    jobs = [job(files, "x", "a.mp4", "m.png", first), job(files, "y", "b.mp4", "masks", second)]
    with pytest.raises(UsageError, match=words):
        check_paths(jobs, settings(files))


@pytest.mark.parametrize(
    "more",
    [
        {"comparison": ComparisonOptions(sheet=Path("masks/0000.png"), overwrite=True)},
        {"comparison": ComparisonOptions(gif=Path("b.mp4"), overwrite=True)},
        {"frames_dir": Path("masks")},
        {"frames_dir": Path("frames")},
    ],
)
def test_side_outputs_too(files: Path, more: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    others = [job(files, "y", "b.mp4", "masks", "d.mp4"), job(files, "z", "frames", "m.png", "e.mp4")]
    check_paths([job(files, "x", "a.mp4", "m.png", "c.mp4"), *others], settings(files))
    with pytest.raises(UsageError, match=r"job 'x': the (sheet|GIF|folder of --save-frames) .* of job '[yz]'"):
        check_paths([job(files, "x", "a.mp4", "m.png", "c.mp4", **more), *others], settings(files))


def test_the_state_may_lie_among_the_clips(files: Path) -> None:
    """Only what a batch writes there is its own, not the whole folder."""
    chosen = BatchSettings(files, manifest=files / "jobs.csv")
    check_paths([job(files, "x", "a.mp4", "m.png", "c.mp4")], chosen)


def test_a_batch_that_would_lose_inputs_ends_before_it_begins(e2fgvi: Run, files: Path) -> None:
    (files / "jobs.csv").write_text("video,mask,output,overwrite\na.mp4,m.png,b.mp4,true\nb.mp4,masks,masks,true\n")
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    for dry in ([], ["--dry-run"]):
        done = e2fgvi("batch", files / "jobs.csv", "--state", files / "elsewhere", "--device", "cpu", *dry)
        assert done.returncode == 2
        assert "job 'a': the output" in done.stderr
        assert "is the input of job 'b' itself; give another name" in done.stderr
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before
