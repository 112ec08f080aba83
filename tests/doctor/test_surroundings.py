"""check-env where the shell, the terminal or the environment is odd; remedies that have to fit what is really at
fault."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from e2fgvi_cli.doctor import cli
from e2fgvi_cli.doctor.checks import all_checks, extensions, system
from e2fgvi_cli.doctor.facts import owner_of
from e2fgvi_cli.doctor.host import Host
from e2fgvi_cli.doctor.loader.explain import explain
from e2fgvi_cli.doctor.loader.model import Library
from e2fgvi_cli.doctor.loader.variable import find_intruder
from e2fgvi_cli.doctor.model import Status, passed
from e2fgvi_cli.doctor.runner import run_checks, select
from e2fgvi_cli.doctor.texts import choose_language, render

from ..conftest import ROOT
from .factory import ElfFactory
from .hosts import install, machine


def doctor(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, "-m", "e2fgvi_cli.doctor", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "0", "1e300"])
def test_time_limits_that_are_none(value: str) -> None:
    err = io.StringIO()
    code = cli.main_with(cli.parse([f"--timeout={value}", "--only", "sys.python"]), io.StringIO(), err)
    assert code == 2
    assert "is no time limit: give seconds above 0, up to 86400" in err.getvalue()


def test_chinese_on_a_terminal_without_it(tmp_path: Path) -> None:
    """English with a reason; as JSON, whose escapes are ASCII, Chinese all the same."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = doctor("--lang", "zh", "--only", "sys.python", cwd=tmp_path, **ascii_only)
    assert done.returncode == 0
    assert b"Result: READY" in done.stdout
    assert b"this terminal cannot show Chinese (encoding ascii)" in done.stderr
    assert b"?" not in done.stdout
    done = doctor("--lang", "zh", "--json", "--only", "sys.python", cwd=tmp_path, **ascii_only)
    assert (done.returncode, done.stderr, b'"language": "zh"' in done.stdout) == (0, b"", True)
    assert choose_language("zh", {}, "ascii") == "en"
    assert b"DLL load failed while importing _ext" in doctor("--help", cwd=tmp_path, **ascii_only).stdout


def test_a_deleted_working_folder(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && {sys.executable} -m e2fgvi_cli.doctor --only system --lang en"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"[warn]  sys.folder             the working folder {gone} was deleted" in done.stdout
    assert "Traceback" not in done.stderr
    assert system.check_folder(machine(tmp_path)).status is Status.PASS


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A limit of memory leaves none: the checks run one after the other."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    checks = [replace(c, run=lambda _: passed("sys.path.ok")) for c in select(all_checks(), ["sys.path", "deform.op"])]
    report = run_checks(checks, machine(tmp_path))
    assert [entry.status for entry in report.results] == [Status.PASS, Status.PASS]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_a_limit_of_the_process_is_no_damaged_file(
    number: int, elf: ElfFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("e2fgvi_cli.doctor.loader.model.read_binary", refuse)
    host = Host.detect()
    check = replace(
        select(all_checks(), ["ext.static:av"])[0], run=lambda h: explain(elf.good(), h.setting(), h.library)
    )
    (result,) = run_checks([check], host, probes=False).results
    assert (result.status, result.outcome.cause) == (Status.CRASH, "sys.limits")
    assert os.strerror(number) in render(result.outcome.summary, "en")
    assert "ulimit -n" in render(result.outcome.remedies[0].why, "en")


def test_a_fault_of_the_doctor_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "guard", lambda: None)
    monkeypatch.setattr(cli, "main_with", lambda *_: 1 // 0)
    assert cli.main([]) == 1
    assert capsys.readouterr().err == (
        "error: the check itself failed, please report it: ZeroDivisionError: integer division or modulo by zero\n"
    )


def test_the_bare_file_without_site(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-I", str(ROOT / "e2fgvi_cli/doctor/__main__.py"), "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "sys.python" in done.stdout) == (0, True), done.stderr


def intruded(elf: ElfFactory, host: Host) -> tuple[Path, Host]:
    """An extension that is sound, and the host with a variable that puts another library of that soname first."""
    good = elf.good()
    name = next(p.name for p in explain(good, host.setting(), host.library).closure if "c10" in p.name)
    folder = host.cwd / "old"
    folder.mkdir()
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / name), f"-Wl,-soname,{name}"],
        input=b"int old_thing;",
        check=True,
    )
    return good, replace(host, environ={"LD_LIBRARY_PATH": f"/nowhere:{folder}"})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="replays this machine's loader")
def test_a_library_that_a_variable_brings_in(elf: ElfFactory, tmp_path: Path) -> None:
    """An old libstdc++ on LD_LIBRARY_PATH: the advice is to unset it, nothing to install."""
    good, host = intruded(elf, replace(Host.detect(), cwd=tmp_path))
    found = explain(good, host.setting(), host.library)
    intruder = find_intruder(found, host.setting(), host.library)
    assert intruder is not None
    assert (intruder.variable, intruder.library.parent) == ("LD_LIBRARY_PATH", tmp_path / "old")
    clean = replace(host, environ={}, library=Library())
    assert find_intruder(explain(good, clean.setting(), clean.library), clean.setting(), clean.library) is None
    lines, fixes, sound = cli.explain_file(good, [], host)
    assert not sound
    assert "LD_LIBRARY_PATH brings in" in render(lines[1], "en")
    assert [command for _, command in fixes] == ["unset LD_LIBRARY_PATH"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="replays this machine's loader")
def test_the_check_of_the_variable(elf: ElfFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, host = intruded(elf, replace(Host.detect(), cwd=tmp_path))
    monkeypatch.setattr(extensions, "extension_files", lambda _host, package: [good] if package == "av" else [])
    monkeypatch.setattr(extensions, "_fits", lambda *_: True)
    outcome = extensions.check_library_path(host)
    assert (outcome.status, outcome.cause) == (Status.FAIL, "env.library_path")
    assert [remedy.command for remedy in outcome.remedies] == ["unset LD_LIBRARY_PATH"]
    assert f"load {tmp_path}/old/" in render(outcome.summary, "en")
    assert extensions.check_library_path(replace(host, environ={})).status is Status.PASS


def explained(host: Host, path: Path) -> list[tuple[str, str]]:
    _, fixes, sound = cli.explain_file(path, [], host)
    assert not sound
    return [(render(why, "en"), command) for why, command in fixes]


def test_a_cut_file_of_nobody_and_of_a_package(elf: ElfFactory, tmp_path: Path) -> None:
    package = install(machine(tmp_path), "their-ops", "1.2", package="their_ops", files={"_ops.so": "placeholder"})
    host = replace(Host.detect(), path=[str(tmp_path / "site-packages")], executable=Path("python"))
    whole = elf.good().read_bytes()
    lone = tmp_path / "lone.so"
    lone.write_bytes(whole[: len(whole) // 2])
    ((why, command),) = explained(host, lone)
    assert (why.startswith("lone.so belongs to no package"), command) == (True, "")
    for content in (whole[: len(whole) // 2], b"hello"):
        (package / "_ops.so").write_bytes(content)
        ((why, command),) = explained(host, package / "_ops.so")
        assert "replace the damaged files" in why
        assert command.endswith("--no-cache-dir their-ops==1.2")


def test_a_missing_symbol_of_a_stranger_has_a_fix(elf: ElfFactory) -> None:
    ((why, command),) = explained(Host.detect(), elf.undefined_symbol())
    assert "built" in why
    assert "another" in why
    assert command == ""
    ((why, command),) = explained(Host.detect(), elf.missing_library())
    assert (why.startswith("install what brings libc10_fake.so"), command) == (True, "")


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("libtorch_cuda.so", "torch_cuda"),
        ("libc10_cuda.so", "torch_cuda"),
        ("libtorch_cpu.so", "torch"),
        ("libc10.so", "torch"),
        ("libtorch_cuda_cu.so", "torch_1_8"),
        ("libstdc++.so.6", "libstdcxx"),
        ("libcudart.so.12", "cuda"),
    ],
)
def test_owners_of_linux_libraries(library: str, owner: str) -> None:
    assert owner_of(library) == owner
