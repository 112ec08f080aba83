"""`e2fgvi batch` from outside: exit codes, dry run, JSON lines, reports. The network runs once, on a tiny clip."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.jobs.manifest import Entry
from e2fgvi_cli.jobs.model import BatchResult, BatchSettings, JobRecord
from e2fgvi_cli.jobs.report import write_reports
from e2fgvi_cli.jobs.thumbnails import thumbnail_of
from tests.conftest import ROOT, Run
from tests.factories import clip, holes, write_folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips of six tiny frames in a folder, with masks beside them."""
    for name in ("one", "two"):
        write_folder(tmp_path / "in" / name, clip(6, 24, 32, seed=len(name)))
        write_folder(tmp_path / "in" / f"{name}_mask", holes(6, 24, 32))
    return tmp_path / "in"


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / f"{'jobs' if not (folder / 'jobs.csv').exists() else len(list(folder.iterdir()))}.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_usage_mistakes_are_2_and_unreadable_manifests_3(e2fgvi: Run, clips: Path, tmp_path: Path) -> None:
    good = manifest(clips, "video,mask", "one,one_mask")
    for arguments, code, words in [
        ((tmp_path / "nowhere.csv",), 3, "there is no manifest"),
        ((good, "--devices", "tpu"), 2, "--devices 'tpu'"),
        ((good, "--devices", "cpu,cuda:0"), 2, "mixes kinds"),
        ((good, "--device", "tpu"), 2, "--device 'tpu' is no list of devices"),
        ((good, "--device", "cuda:0,cuda:1"), 2, "names several: use --devices cuda:0,cuda:1"),
        ((good, "--device", "cpu", "--devices", "cpu"), 2, "--device cpu and --devices cpu: give one of them"),
        ((good, "--state", good), 3, "jobs.csv is no folder: choose another with --state"),
        ((good, "--state", good, "--dry-run"), 3, "jobs.csv is no folder: choose another with --state"),
        ((good, "--shard", f"1/{'9' * 5000}"), 2, "is no part of the whole"),
        ((good, "--split", "9" * 5000), 2, "is unknown: use auto, off"),
        ((good, "--split", "half"), 2, "--split 'half'"),
        ((good, "--shard", "3/2"), 2, "--shard 3/2"),
        ((good, "--jobs", "0"), 2, "--jobs 0"),
        ((good, "--jobs", "9" * 9), 2, "--jobs 999999999 is too large: use at most 1024"),
        ((good, "--threads", "9" * 30), 2, "is too large: use at most 1024"),
        ((manifest(clips, "video,mask,threads", f"one,one_mask,{'9' * 30}"),), 2, "is too large: use at most 1024"),
        ((good, "--engine", "dask"), 2, "--engine 'dask'"),
        ((good, "--address", "auto"), 2, "--address is for --engine ray"),
        ((manifest(clips, "video,mask_dilution", "one,1"),), 2, "did you mean 'mask_dilation'"),
        ((manifest(clips, "video,mask,crf", "one,one_mask,good"),), 2, "line 2 (one)"),
        ((manifest(clips, "video,mask,mask_dilation", "one,one_mask,x"),), 2, "--mask-dilation 'x'"),
        ((manifest(clips, "video,mask,output", "one,m,o.mkv", "two,m,o.mkv"),), 2, "are both"),
    ]:
        done = e2fgvi("batch", *arguments, *([] if {"--device", "--devices"} & {*arguments} else ["--devices", "cpu"]))
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_every_option_of_inpaint_may_be_in_a_manifest() -> None:
    from e2fgvi_cli.commands.batch import _make_jobs

    values = {
        "video": "v",
        "mask": "m",
        "mask_invert": "yes",
        "cuts": False,
        "mask_box": ["1,2,3,4", "5,6,7,8@2-9"],
        "mask_polygon": "1,1 9,1 5,9",
        "mask_union": 2,
        "neighbor_stride": 3,
        "savefps": "30000/1001",
        "size": "64x48",
        "lossless": "false",
        "bitrate": "match",
    }
    (job,) = _make_jobs([Entry("v", values, "line 1")], Path("results"))
    options = job.options
    assert (options.masking.invert, options.detect_cuts, len(options.masking.boxes)) == (True, False, 2)
    assert (options.size, options.windows.neighbor_stride, options.masking.union) == ((48, 64), 3, 2)
    assert (options.encoding.lossless, options.encoding.bitrate) == (False, "match")
    assert options.output == Path("results/v_inpainted.mp4")
    with pytest.raises(UsageError, match=r"line 1 \(v\): option 'json' is unknown"):
        _make_jobs([Entry("v", {"video": "v", "json": True}, "line 1")], Path("results"))
    cell = Entry("v", {"video": "v", "mask_box": "1,2,3,4@-5; 5,6,7,8@6-"}, "line 1")
    (in_one_cell,) = _make_jobs([cell], Path("results"))
    assert [box.x for box in in_one_cell.options.masking.boxes] == [1, 5]
    for key, value, words in [
        ("crf", [1, 2], "option 'crf' takes one value, and 2 are given"),
        ("crf", True, "option 'crf' is no switch"),
        ("mask_threshold", "9" * 5000, "line 1"),
    ]:
        with pytest.raises(UsageError, match=words):
            _make_jobs([Entry("v", {"video": "v", "mask": "m", key: value}, "line 1")], Path("results"))
    (released,) = _make_jobs([Entry("v", {"video": "v", "mask": "m", "compat": "released"}, "line 1")], Path("r"))
    assert released.options.windows.released
    assert bool(released.environment) == (os.uname().machine in ("x86_64", "amd64"))


def test_dry_run_finds_every_problem_and_writes_nothing(e2fgvi: Run, clips: Path, tmp_path: Path) -> None:
    (clips / "bad").mkdir()
    path = manifest(clips, "video,mask", "one,one_mask", "two,nowhere", "bad,one_mask")
    before = sorted(tmp_path.rglob("*"))
    done = e2fgvi("batch", path, "--dry-run", "--devices", "cpu", "--json")
    assert done.returncode == 6
    *jobs, whole = events(done.stdout)
    assert [(j["name"], j["exit_code"], j["frames"]) for j in jobs] == [
        ("one", 0, 6),
        ("two", 3, None),
        ("bad", 3, None),
    ]
    assert "nowhere" in str(jobs[1]["problem"])
    assert (whole["ok"], whole["workers"], whole["measured"]) == (False, 1, False)
    assert sorted(tmp_path.rglob("*")) == before
    shown = e2fgvi("batch", clips, "--dry-run", "--devices", "cpu")
    assert shown.returncode == 0
    assert "2 jobs to do (0 done before), 1 workers on cpu" in shown.stdout
    assert e2fgvi("batch", clips, "--dry-run", "--device", "cpu").stdout == shown.stdout


@pytest.mark.slow
def test_a_batch_runs_resumes_and_reports(e2fgvi_process: Run, clips: Path, tmp_path: Path) -> None:
    path = manifest(
        clips, "# lossless: true", "video,mask,output", "one,one_mask,../o/{stem}.mkv", "two,gone,../o/t.mkv"
    )
    done = e2fgvi_process("batch", path, "--devices", "cpu", "--threads", 1, "--json", "-q")
    assert done.returncode == 6
    assert [e["event"] for e in events(done.stdout) if e["event"] != "progress"] == [
        "batch_started",
        "job_started",
        "job_planned",
        "segment",
        "job_done",
        "job_failed",
        "batch_finished",
    ]
    assert "two: failed: there is no file or folder" in done.stderr
    with (clips / "jobs.csv.e2fgvi" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["job"], r["outcome"], r["frames"]) for r in rows] == [("one", "done", "6"), ("two", "failed", "")]
    page = (clips / "jobs.csv.e2fgvi" / "report.html").read_text(encoding="utf-8")
    assert "1 done, 1 failed" in page
    assert "gone" in page
    (clips / "gone").symlink_to(clips / "two_mask")
    again = e2fgvi_process("batch", path, "--devices", "cpu", "--threads", 1)
    assert again.returncode == 0
    assert "one: done before, skipped" in again.stderr
    assert "1 done, 1 skipped" in again.stderr


@pytest.mark.skipif(os.name != "posix", reason="a bash script")
def test_the_slurm_script_gives_each_task_its_share(clips: Path, tmp_path: Path) -> None:
    """Run as Slurm would run it, without Slurm: the array's variables are all it needs."""
    program = Path(sys.executable).with_name("e2fgvi")
    if not program.exists():
        pytest.skip("the e2fgvi command is not installed beside this Python")
    names = []
    for task in (4, 5):
        environment = {
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_MIN": "4",
            "SLURM_ARRAY_TASK_COUNT": "2",
            "SLURM_CPUS_PER_TASK": "1",
        }
        script = ROOT / "examples" / "batch" / "slurm_array.sh"
        arguments = [str(script), str(clips), "--devices", "cpu", "--dry-run", "--json"]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        names.append([e["name"] for e in events(done.stdout) if e["event"] == "job_checked"])
    assert names == [["one"], ["two"]]


def test_the_example_manifest_is_good(e2fgvi: Run) -> None:
    done = e2fgvi("batch", ROOT / "examples" / "batch" / "jobs.csv", "--dry-run", "--devices", "cpu", "--json")
    assert done.returncode == 0, done.stdout
    assert [(e["name"], e["frames"]) for e in events(done.stdout)[:-1]] == [("garage", 48), ("garage-quick", 48)]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_leaves_nothing_half(clips: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [
        sys.executable,
        "-m",
        "e2fgvi_cli",
        "batch",
        str(clips),
        "--devices",
        "cpu",
        "--threads",
        "1",
        "--json",
    ]
    run = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    assert run.stdout is not None
    for line in run.stdout:
        if '"job_planned"' in line:
            run.send_signal(signal.SIGINT)
            break
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors, errors
    assert not (tmp_path / "results").exists() or list((tmp_path / "results").iterdir()) == []


def test_reports_escape_what_users_name_things(tmp_path: Path) -> None:
    good = JobRecord("<b>&.mp4", str(tmp_path / "a b.mp4"), "done", frames=4, filled=2, seconds=2.0)
    bad = replace(good, name="x", outcome="failed", message="=1+1 <script>", output=os.fsdecode(b"/out/\xe9.mp4"))
    chosen = BatchSettings(tmp_path / "state", shard=(1, 2))
    table, page = write_reports(BatchResult((good, bad), 3.0, 2), chosen)
    assert (table.name, page.name) == ("results-1-of-2.csv", "report-1-of-2.html")
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;.mp4" in text
    assert "<script>" not in text
    assert "a%20b.mp4" in text
    assert "0.500" in text
    (tmp_path / "state" / "results-1-of-2.csv").unlink()
    (tmp_path / "state" / "results-1-of-2.csv").mkdir()
    with pytest.raises(InputError, match=r"the report .*results-1-of-2\.csv cannot be written: Is a directory"):
        write_reports(BatchResult((good,), 3.0, 2), chosen)


def test_the_report_shows_failures_first_and_keeps_times_and_pictures(tmp_path: Path) -> None:
    """Readable on a window of 1100 pixels: what happened has its own table, in which long words break."""
    output = str(tmp_path / "out" / "a.mp4")
    done = JobRecord(
        "a", output, "skipped", frames=40, filled=30, seconds=123.4, resumed=10, finished=1.7e9, device="cpu"
    )
    words = "a very long reason " * 30
    failed = JobRecord("b", "/o/b.mp4", "failed", attempts=3, message=words, exit_code=3)
    chosen = BatchSettings(tmp_path / "state")
    picture = thumbnail_of(chosen.thumbnails, output)
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"jpeg")
    table, page = write_reports(BatchResult((done, failed), 0.2, 1), chosen)
    text = page.read_text(encoding="utf-8")
    assert text.index("1 without output") < text.index(words.strip()) < text.index("1 with output")
    assert "max-width: 1060px" in text
    assert "overflow-wrap: anywhere" in text
    assert f'<img src="thumbnails/{picture.name}"' in text
    finished = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1.7e9))
    assert all(shown in text for shown in ("123.4 s", "3.085", finished, "40 frames, 123.4 s of work in all"))
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seconds"], row["finished"]) for row in rows] == [("123.4", finished), ("", "")]
