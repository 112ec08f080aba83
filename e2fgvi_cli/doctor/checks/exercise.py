"""The program's own work, done for real: deformable convolution, one window of the network, video in and out."""

from __future__ import annotations

from typing import Any

from .. import remedies
from ..check import Check
from ..host import PACKAGE_ROOT, Host
from ..model import Outcome, Remedy, Severity, Status, say, skipped
from .weights import default_weights

TOLERANCE = 1e-3
MAIN_CODEC = "libx264"


def _network(host: Host, kind: str) -> Outcome:
    """Every device with every backend, against plain PyTorch on the CPU."""
    family = {"deform": "deform.op", "window": "model.window"}[kind]
    weights = default_weights() if kind == "window" else None
    result = host.probe("exercise_network", kind, host.options.device, str(PACKAGE_ROOT), str(weights or ""))
    answer = result.answer
    if result.died or not answer.get("runs"):
        details = [say("ext.load.output", text=result.last_lines(2))] if result.output.strip() else []
        summary = say("exercise.died", what=family, reason=result.reason())
        fix = [Remedy(say("remedy.timeout"), "e2fgvi check-env --timeout 180")] if result.timed_out else []
        slow = result.timed_out and bool(
            answer.get("runs")
        )  # a slow machine, not a broken one: some runs were finished
        evidence = {"returncode": result.returncode, **answer}
        return Outcome(Status.WARN if slow else Status.FAIL, summary, evidence, "exercise", details, fix)
    bad = [
        run for run in answer["runs"] if "error" in run or not run["finite"] or run.get("difference", 0.0) > TOLERANCE
    ]
    if bad:
        return _wrong(host, family, bad, answer)
    answer["worst"] = max((run.get("difference", 0.0) for run in answer["runs"]), default=0.0)
    works = [f"{run['device']}/{run['backend']} {run['seconds']}s" for run in answer["runs"]]
    summary = say(f"{family}.ok", works=works, worst=f"{answer['worst']:.0e}")
    return Outcome(Status.PASS, summary, answer)


def _wrong(host: Host, family: str, bad: list[dict[str, Any]], answer: dict[str, Any]) -> Outcome:
    """Backends that fail or disagree. While another backend works on each device, that is a warning."""
    first = bad[0]
    why = first.get("error") or (
        say("exercise.nan") if not first["finite"] else say("exercise.differs", difference=f"{first['difference']:.1e}")
    )
    good = {run["device"] for run in answer["runs"] if run not in bad}
    status = Status.WARN if all(run["device"] in good for run in bad) else Status.FAIL
    summary = say("exercise.wrong", what=family, device=first["device"], backend=first["backend"], why=why)
    fix = [Remedy(say("remedy.deform_torch"), "--deform torch")] if status is Status.WARN else remedies.cuda_torch(host)
    return Outcome(status, summary, answer, "exercise", [], fix)


def _media(host: Host, kind: str) -> Outcome:
    """Eight frames through each writer and back."""
    result = host.probe("media_round_trip", kind)
    rows = result.answer.get("results")
    fix = [Remedy(say("remedy.reinstall", package="av"), remedies.reinstall(host, "av"))]
    if not rows:
        details = [say("ext.load.output", text=result.last_lines(2))] if result.output.strip() else []
        summary = say("exercise.died", what=f"io.{kind}", reason=result.reason())
        return Outcome(Status.FAIL, summary, {"returncode": result.returncode}, "codec", details, fix)
    broken = [row for row in rows if not row["ok"]]
    names = [f"{row['name']} ({row.get('error') or say('exercise.pixels').key})" for row in broken]
    if not broken:
        return Outcome(Status.PASS, say(f"io.{kind}.ok", names=[row["name"] for row in rows]), result.answer)
    main_works = any(row["ok"] for row in rows if row["codec"] == MAIN_CODEC)
    status = Status.FAIL if len(broken) == len(rows) or (kind == "decode" and not main_works) else Status.WARN
    return Outcome(status, say(f"io.{kind}.bad", names=names), result.answer, "codec", [], fix)


def check_mps(host: Host) -> Outcome:
    """Apple's GPU: exercised by the window check; here only whether torch can have it."""
    if host.platform != "darwin":
        return skipped("skip.macos_only")
    key = "mps.ok" if host.machine == "arm64" else "mps.intel"
    return Outcome(Status.PASS, say(key), {"machine": host.machine})


TORCH = ("ext.load:torch", "ext.load:torchvision")
CHECKS = [
    Check("gpu.mps", "gpu", Severity.INFO, check_mps),
    Check(
        "deform.op",
        "exercise",
        Severity.REQUIRED,
        lambda host: _network(host, "deform"),
        TORCH,
        ("gpu.kernel", "gpu.arch:ext"),
        True,
    ),
    Check(
        "model.window",
        "exercise",
        Severity.REQUIRED,
        lambda host: _network(host, "window"),
        TORCH,
        ("deform.op", "cudnn.conv", "weights:open"),
        True,
    ),
    Check("io.decode", "exercise", Severity.REQUIRED, lambda host: _media(host, "decode"), ("ext.load:av",), (), True),
    Check(
        "io.encode",
        "exercise",
        Severity.ADVICE,
        lambda host: _media(host, "encode"),
        ("ext.load:av",),
        ("io.decode",),
        True,
    ),
]
