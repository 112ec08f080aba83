"""`--explain` on files of any platform, and the one line the program prints when it cannot start."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from e2fgvi_cli.commands.check_env import check_env
from e2fgvi_cli.doctor import cli, startup_diagnosis
from e2fgvi_cli.doctor.startup import file_of

from .factory import ElfFactory


def explained(*arguments: object) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    request = cli.parse(["--lang", "en", "--no-redact", *map(str, arguments)])
    code = cli.main_with(request, out, err)
    return code, out.getvalue() + err.getvalue()


def test_explain_a_windows_file_on_any_platform(pe: dict[str, Path]) -> None:
    code, text = explained("--explain", pe["procedure"])
    assert code == 1
    assert "2 functions that _ext.cp311-win_amd64.pyd needs are missing, first caffe2::TypeMeta::toScalarType" in text
    assert "[?toScalarType@TypeMeta@caffe2@@QEAA?AW4ScalarType@c10@@XZ]" in text
    assert "ordinal 7  [#7]" in text
    assert "built for: x86_64, Python 3.11, torch<2.8" in text
    assert "built for another torch than the one c10.dll is of" in text


def test_explain_searches_where_told(pe: dict[str, Path]) -> None:
    code, text = explained("--explain", pe["module"])
    assert (code, "needs c10.dll, which is not there" in text) == (1, True)
    code, text = explained("--explain", pe["module"], "--search", pe["procedure"].parent)
    assert (code, "caffe2::TypeMeta::toScalarType, which c10.dll does not have" in text) == (1, True)


def test_explain_a_mac_file(macho: dict[str, Path]) -> None:
    assert explained("--explain", macho["good"])[0] == 0
    code, text = explained("--explain", macho["symbol"])
    assert (code, "_dep_new, which libc10.dylib does not have" in text) == (1, True)


def test_explain_elf_and_json(elf: ElfFactory) -> None:
    code, text = explained("--explain", elf.undefined_symbol(), "--json")
    tree = json.loads(text)
    assert (code, tree["sound"], tree["file"]) == (1, False, str(elf.undefined_symbol()))
    assert "dep_new" in tree["lines"][0]
    assert explained("--explain", elf.good())[0] == 0


def test_advice_for_a_file_of_no_package_is_of_that_file(elf: ElfFactory) -> None:
    """A library of the file's own in an older version is no old C++ runtime, and no wheel of torch mends it."""
    code, text = explained("--explain", elf.missing_version())
    fixes = [line for line in text.splitlines() if line.startswith("fix ")]
    assert (code, len(fixes)) == (1, 1)
    assert "was built against another version of libc10_fake.so" in fixes[0]
    assert "pip install" not in text


def test_a_file_for_another_machine_is_said_to_be_one(elf: ElfFactory) -> None:
    _, text = explained("--explain", elf.wrong_machine())
    assert f"this machine ({platform.machine().lower()}) cannot load a file for arm64" in text
    assert "cannot load a file" not in explained("--explain", elf.good())[1]


def test_explain_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_text("hello")
    code, text = explained("--explain", tmp_path / "x.so")
    assert (code, "neither a PE, an ELF nor a Mach-O file" in text) == (1, True)
    assert explained("--explain", tmp_path / "y.so")[0] == 2
    os.mkfifo(tmp_path / "pipe.so")
    for path in (tmp_path / "pipe.so", tmp_path, "/dev/zero"):
        assert explained("--explain", path) == (2, f"error: --explain {path} cannot be opened: not a regular file\n")
    assert explained("--explain", tmp_path / "x.so", "--search", tmp_path / "none")[0] == 2


def import_error(path: Path) -> ImportError:
    """The exception CPython really raises for an extension file."""
    code = (
        "import importlib.util as u, json\n"
        f"s = u.spec_from_file_location('_ext', {str(path)!r})\n"
        "try: u.module_from_spec(s)\n"
        "except ImportError as e: print(json.dumps([str(e), e.name, e.path]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, name, where = json.loads(done.stdout)
    return ImportError(message, name=name, path=where)


def test_startup_names_file_and_symbol(elf: ElfFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    line = startup_diagnosis(import_error(elf.undefined_symbol()))
    assert line is not None
    assert line.endswith("run `e2fgvi check-env`")
    assert "dep_new" in line
    assert "\n" not in line
    line = startup_diagnosis(import_error(elf.missing_library()))
    assert line is not None
    assert "needs libc10_fake.so, which is not there" in line


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch is not installed"),
        (ModuleNotFoundError("No module named 'torchvision._C'", name="torchvision._C"), "torchvision"),
        (RuntimeError("operator torchvision::nms does not exist"), "operator torchvision::nms does not exist"),
        (RuntimeError("Numpy is not available"), "Numpy is not available"),
        (ImportError("libGL.so.1: cannot open shared object file: No such file", name="cv2"), "libGL.so.1"),
        (
            OSError('[WinError 127] The specified procedure could not be found. Error loading "C:\\x\\lib\\c10.dll"'),
            "c10.dll",
        ),
        (
            RuntimeError("modulated_deformable_im2col_impl: implementation for device cuda:0 not found"),
            "no code for the GPU",
        ),
        (AttributeError("partially initialized module 'cv2' has no attribute 'mat_wrapper'"), "cv2"),
    ],
)
def test_startup_lines(error: BaseException, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    start = time.monotonic()
    line = startup_diagnosis(error)
    assert line is not None
    assert word in line
    assert line.endswith("run `e2fgvi check-env`")
    assert time.monotonic() - start < 5


def test_startup_follows_the_chain_and_leaves_the_rest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    outer = RuntimeError("could not build the network")
    outer.__cause__ = RuntimeError("operator torchvision::nms does not exist")
    assert "torchvision::nms" in (startup_diagnosis(outer) or "")
    for other in (ValueError("width 7"), FileNotFoundError(2, "No such file", "a.mp4"), KeyError("x")):
        assert startup_diagnosis(other) is None
    assert startup_diagnosis(ModuleNotFoundError("No module named 'mine'", name="mine")) is None


def test_startup_speaks_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    line = startup_diagnosis(RuntimeError("Numpy is not available"))
    assert line == "RuntimeError: Numpy is not available；请运行 `e2fgvi check-env`"


def test_file_named_in_the_text() -> None:
    assert file_of(OSError('[WinError 126] x Error loading "C:\\t\\fbgemm.dll" or one of its dependencies.')) == Path(
        "C:\\t\\fbgemm.dll"
    )
    assert file_of(ImportError("dlopen(/a/b/_C.so, 0x0002): Symbol not found")) == Path("/a/b/_C.so")
    assert file_of(ImportError("/a/_ext.cpython-311-x86_64-linux-gnu.so: undefined symbol: x")) is not None
    assert file_of(ImportError("no file here")) is None


def test_command_of_the_program_uses_the_same_code() -> None:
    """`e2fgvi check-env` prints the table with rich and keeps the exit codes."""
    app = typer.Typer()
    app.command()(check_env)
    runner = CliRunner()
    result = runner.invoke(app, ["--only", "sys.python", "--lang", "en"])
    assert result.exit_code == 0, result.output
    assert "Result: READY" in result.output
    assert "detected" in result.output
    assert runner.invoke(app, ["--only", "nothing"]).exit_code == 2
    assert runner.invoke(app, ["--lang", "fr"]).exit_code == 2
    assert json.loads(runner.invoke(app, ["--json", "--only", "sys.python"]).stdout)["verdict"] == "ready"
