"""Compiled parts of packages: real broken ELF files inside made-up site-packages, looked at and imported for real."""

from __future__ import annotations

import importlib.machinery
import shutil
import sys
import time
from pathlib import Path

import pytest

from e2fgvi_cli.doctor.binary.fatbin import GpuCode
from e2fgvi_cli.doctor.checks import exercise, extensions, gpu
from e2fgvi_cli.doctor.checks.extensions import check_load, check_static, classify
from e2fgvi_cli.doctor.host import Host, Options
from e2fgvi_cli.doctor.loader.built_for import BuiltFor
from e2fgvi_cli.doctor.model import Outcome, Status
from e2fgvi_cli.doctor.probe import ProbeResult, decode_exit, run_probe
from e2fgvi_cli.doctor.texts import render

from .factory import SUFFIX, ElfFactory
from .hosts import RTX_3060, install, machine, torch
from .hosts import gpu as driver
from .test_checks import expect


def with_mmcv(tmp_path: Path, extension: Path | None, name: str = f"_ext{SUFFIX}") -> Host:
    """A machine like this one with mmcv 2.2.0 and this file as its extension."""
    host = machine(
        tmp_path,
        executable=Path(sys.executable),
        python=sys.version_info[:3],
        suffixes=tuple(importlib.machinery.EXTENSION_SUFFIXES),
        options=Options(timeout=20),
    )
    folder = install(host, "mmcv", "2.2.0")
    if extension is not None:
        shutil.copy(extension, folder / name)
    return host


def test_mmcv_absent_is_fine_and_required_packages_are_not(tmp_path: Path) -> None:
    assert check_static(machine(tmp_path), "mmcv").status is Status.SKIP
    expect(check_static(machine(tmp_path), "torch"), Status.FAIL, "ext.absent", "not installed")


def test_missing_symbol(elf: ElfFactory, tmp_path: Path) -> None:
    host = with_mmcv(tmp_path, elf.undefined_symbol())
    shutil.copy(elf.undefined_symbol().with_name("libc10_fake.so"), host.path[0] + "/mmcv")
    outcome = check_static(host, "mmcv")
    expect(outcome, Status.FAIL, "ext.symbol.linux", "dep_new", "does not need mmcv")
    assert outcome.evidence["faults"][0]["name"] == "dep_new"
    expect(check_load(with_path(host), "mmcv"), Status.FAIL, "ext.symbol.linux", "undefined symbol: dep_new")


def with_path(host: Host) -> Host:
    """Let the probe's Python see the made-up packages."""
    probe = lambda script, *arguments: run_probe(  # noqa: E731
        script,
        *arguments,
        executable=sys.executable,
        timeout=host.options.timeout,
        environ={"PYTHONPATH": host.path[0]},
    )
    host.probe = probe  # type: ignore[method-assign]
    return host


def test_missing_cuda_library(elf: ElfFactory, tmp_path: Path) -> None:
    host = with_mmcv(tmp_path, elf.wants_cudart(tmp_path / "x"))
    outcome = check_static(host, "mmcv")
    expect(outcome, Status.FAIL, "ext.lib.linux", "libcudart.so.11.0")
    assert "CUDA 11.0" in " ".join(render(line, "en") for line in outcome.details)
    expect(check_load(with_path(host), "mmcv"), Status.FAIL, "ext.lib.linux", "libcudart.so.11.0")


def test_missing_version(elf: ElfFactory, tmp_path: Path) -> None:
    host = with_mmcv(tmp_path, elf.missing_version())
    shutil.copy(elf.missing_version().with_name("libc10_fake.so"), host.path[0] + "/mmcv")
    expect(check_static(host, "mmcv"), Status.FAIL, "ext.version.linux", "DEP_2.0")


@pytest.mark.parametrize("case", ["truncated", "wrong_machine"])
def test_damaged_file(case: str, elf: ElfFactory, tmp_path: Path) -> None:
    expect(check_static(with_mmcv(tmp_path, getattr(elf, case)()), "mmcv"), Status.FAIL, "ext.file", "_ext")


def test_extension_of_another_python(elf: ElfFactory, tmp_path: Path) -> None:
    host = with_mmcv(tmp_path, elf.good(), "_ext.cpython-38-x86_64-linux-gnu.so")
    expect(check_static(host, "mmcv"), Status.FAIL, "ext.absent", "is for Python 3.8")
    expect(check_load(with_path(host), "mmcv"), Status.FAIL, "ext.absent", "No module named 'mmcv._ext'")


def test_mmcv_without_operators(tmp_path: Path) -> None:
    expect(check_static(with_mmcv(tmp_path, None), "mmcv"), Status.FAIL, "ext.absent", "without its compiled operators")


def test_extension_without_cuda_beside_a_gpu(elf: ElfFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E2FGVI#12: import succeeds, the first call fails."""
    host = with_mmcv(tmp_path, elf.good())
    shutil.copy(elf.good().with_name("libc10_fake.so"), host.path[0] + "/mmcv")
    assert check_static(host, "mmcv").status is Status.PASS
    host.gpu_report = driver("560.94", (12, 6), RTX_3060)
    del host.__dict__["gpu"]
    expect(check_static(host, "mmcv"), Status.WARN, "ext.nogpu", "without CUDA")


def test_window_libraries_of_opencv(elf: ElfFactory, tmp_path: Path) -> None:
    host = with_mmcv(tmp_path, None)
    folder = install(host, "opencv-python", "4.10.0", package="cv2")
    stub = elf.wants_cudart(tmp_path / "x", soname="libgthread-2.0.so.99")  # libGL.so.1 may well be installed here
    shutil.copy(stub, folder / "cv2.abi3.so")
    expect(
        check_static(host, "cv2"), Status.FAIL, "cv2.libgl", "libgthread-2.0.so.99", "opencv-python-headless", "libgl1"
    )


def test_segfault_is_survived_and_named(elf: ElfFactory, tmp_path: Path) -> None:
    host = with_path(with_mmcv(tmp_path, elf.segfault(tmp_path / "x")))
    outcome = check_load(host, "mmcv")
    expect(outcome, Status.FAIL, "ext.crash", "import mmcv._ext", "segmentation fault (SIGSEGV)")
    assert "Fatal Python error: Segmentation fault" in render(outcome.details[0], "en")


def test_hang_ends_at_the_limit(tmp_path: Path) -> None:
    host = with_path(with_mmcv(tmp_path, None))
    (Path(host.path[0]) / "mmcv" / "__init__.py").write_text("import time\ntime.sleep(60)\n")
    host.options.timeout = 1.5
    start = time.monotonic()
    expect(check_load(host, "mmcv"), Status.FAIL, "ext.timeout", "no answer within 2 s")
    assert time.monotonic() - start < 10


def test_noise_on_standard_output_does_not_matter(tmp_path: Path) -> None:
    host = with_path(with_mmcv(tmp_path, None))
    folder = Path(host.path[0]) / "mmcv"
    (folder / "__init__.py").write_text("print('{' * 100000)\n")
    (folder / "_ext.py").write_text("import warnings\nwarnings.warn('compiled using NumPy 1.x cannot be run')\n")
    expect(check_load(host, "mmcv"), Status.WARN, "numpy.abi", "another numpy")
    (folder / "_ext.py").write_text("")
    assert check_load(host, "mmcv").status is Status.PASS


@pytest.mark.parametrize(
    ("error", "platform", "cause"),
    [
        (
            {"winerror": 127, "message": "DLL load failed while importing _ext: 找不到指定的程序。"},
            "win32",
            "ext.symbol.win",
        ),
        ({"message": "DLL load failed while importing _ext: 找不到指定的程序。"}, "win32", "ext.symbol.win"),
        ({"message": "DLL load failed while importing _ext: 找不到指定的模块。"}, "win32", "ext.lib.win"),
        ({"winerror": 193, "message": "%1 不是有效的 Win32 应用程序"}, "win32", "ext.image.win"),
        ({"winerror": 1114, "message": "动态链接库(DLL)初始化例程失败"}, "win32", "ext.init.win"),
        ({"winerror": 1455, "message": "页面文件太小"}, "win32", "ext.other.win"),
        ({"message": "x.so: undefined symbol: _ZNK2at6Tensor7is_cudaEv"}, "linux", "ext.symbol.linux"),
        ({"message": "libGL.so.1: cannot open shared object file: No such file or directory"}, "linux", "cv2.libgl"),
        ({"message": "libcudart.so.11.0: cannot open shared object file"}, "linux", "ext.lib.linux"),
        ({"message": "/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found"}, "linux", "ext.version.linux"),
        ({"message": "symbol not found in flat namespace '__ZN2at3mps9MPSStream6commitEb'"}, "darwin", "ext.macos"),
        ({"message": "operator torchvision::nms does not exist"}, "linux", "tv.mismatch"),
        ({"message": "Numpy is not available"}, "linux", "numpy.abi"),
        ({"message": "partially initialized module 'cv2' has no attribute 'mat_wrapper'"}, "linux", "cv2.conflict"),
        ({"message": "module 'pkgutil' has no attribute 'ImpImporter'"}, "linux", "py.unsupported"),
        ({"type": "ModuleNotFoundError", "message": "No module named 'mmcv.runner'"}, "linux", "ext.absent"),
    ],
)
def test_real_error_texts_are_classified(error: dict[str, object], platform: str, cause: str) -> None:
    """Texts of public reports, in the languages they came in."""
    assert classify(error, platform) == cause


@pytest.mark.parametrize(
    ("code", "platform", "word"),
    [
        (-11, "linux", "segmentation fault"),
        (-7, "linux", "bus error"),
        (-6, "linux", "aborted"),
        (-4, "linux", "instruction"),
        (-9, "linux", "out of memory"),
        (0xC0000005, "win32", "access violation"),
        (0xC0000135, "win32", "DLL is missing"),
        (0xC0000139, "win32", "lacks a function"),
        (0xC000007B, "win32", "another machine"),
        (0xC06D007F, "win32", "delay-loaded DLL lacks"),
        (3, "win32", "aborted"),
        (3, "linux", "exit code 3"),
    ],
)
def test_exit_codes_are_decoded(code: int, platform: str, word: str) -> None:
    assert word in render(decode_exit(code, platform), "en")


class Answers:
    """A stand-in for `Host.probe` that answers what a device would."""

    def __init__(self, **answer: object) -> None:
        self.result = (
            ProbeResult(0, dict(answer)) if answer else ProbeResult(-6, output="Could not load library libcudnn")
        )

    def __call__(self, script: str, *arguments: str) -> ProbeResult:
        return self.result


def cuda_host(tmp_path: Path, **answer: object) -> Host:
    host = machine(tmp_path, gpu_report=driver("560.94", (12, 6), RTX_3060))
    torch(host)
    host.probe = Answers(**answer)  # type: ignore[method-assign]
    return host


def one(**entry: object) -> dict[str, object]:
    base = {"device": "cuda:0", "name": "RTX 3060", "error_max": 1e-6, "finite": True, "seconds": 0.2}
    return {"available": True, "devices": [{**base, **entry}]}


@pytest.mark.parametrize(
    ("answer", "status", "cause", "word"),
    [
        (one(), Status.PASS, "", "RTX 3060"),
        (one(seconds=42.0), Status.WARN, "gpu.slow", "42.0 s"),
        (one(error_max=0.5), Status.FAIL, "gpu.numbers", "something else"),
        (one(finite=False), Status.FAIL, "gpu.numbers", "something else"),
        (one(error="CUDA error: no kernel image is available"), Status.FAIL, "gpu.arch", "no kernel image"),
        ({"available": False, "devices": []}, Status.FAIL, "driver.old", "no usable GPU"),
        ({}, Status.FAIL, "gpu.arch", "aborted"),
    ],
)
def test_work_on_the_gpu(answer: dict[str, object], status: Status, cause: str, word: str, tmp_path: Path) -> None:
    expect(gpu.check_work(cuda_host(tmp_path, **answer), "kernel"), status, cause, word)
    conv = gpu.check_work(cuda_host(tmp_path, **answer), "conv")
    assert (conv.status, conv.cause) == (status, "cudnn" if cause == "gpu.arch" else cause)


def run(device: str, backend: str, **entry: object) -> dict[str, object]:
    return {"device": device, "backend": backend, "seconds": 0.1, "finite": True, "difference": 1e-6, **entry}


@pytest.mark.parametrize(
    ("runs", "status"),
    [
        ([run("cpu", "torch"), run("cuda:0", "torchvision")], Status.PASS),
        (
            [run("cpu", "torch"), run("cuda:0", "torch"), run("cuda:0", "torchvision", error="RuntimeError: x")],
            Status.WARN,
        ),
        ([run("cpu", "torch"), run("cuda:0", "torchvision", difference=0.1)], Status.FAIL),
        ([run("cpu", "torch"), run("cuda:0", "torchvision", finite=False)], Status.FAIL),
        ([], Status.FAIL),
    ],
)
@pytest.mark.parametrize("kind", ["deform", "window"])
def test_network_against_the_cpu(kind: str, runs: list[object], status: Status, tmp_path: Path) -> None:
    host = cuda_host(tmp_path, runs=runs, unavailable={})
    expect(exercise._network(host, kind), status, "" if status is Status.PASS else "exercise")


@pytest.mark.parametrize(
    ("runs", "timed_out", "status"),
    [([run("cpu", "torch")], True, Status.WARN), ([], True, Status.FAIL), ([run("cpu", "torch")], False, Status.FAIL)],
)
def test_network_probe_that_does_not_finish(
    runs: list[object], timed_out: bool, status: Status, tmp_path: Path
) -> None:
    """Too slow after a good run is a warning; a crash, or nothing at all within the limit, is a failure."""
    host = cuda_host(tmp_path, runs=runs, unavailable={})
    answers = Answers(runs=runs, unavailable={})
    answers.result.timed_out, answers.result.returncode = timed_out, -9
    host.probe = answers  # type: ignore[method-assign]
    expect(exercise._network(host, "window"), status, "exercise", "--timeout 180" if timed_out else "out of memory")


def row(codec: str, ok: bool) -> dict[str, object]:
    return {"name": codec, "codec": codec, "ok": ok, **({} if ok else {"error": "no encoder"})}


@pytest.mark.parametrize(
    ("kind", "rows", "status"),
    [
        ("decode", [row("ffv1", True), row("libx264", True)], Status.PASS),
        ("decode", [row("ffv1", True), row("libx264", False)], Status.FAIL),
        ("encode", [row("libx264", True), row("prores_ks", False)], Status.WARN),
        ("encode", [row("libx264", False), row("mpeg4", False)], Status.FAIL),
        ("encode", [], Status.FAIL),
    ],
)
def test_media(kind: str, rows: list[object], status: Status, tmp_path: Path) -> None:
    expect(exercise._media(cuda_host(tmp_path, results=rows), kind), status, "" if status is Status.PASS else "codec")


@pytest.mark.parametrize("kind", ["decode", "encode"])
def test_media_for_real(kind: str) -> None:
    pytest.importorskip("av")
    outcome: Outcome = exercise._media(Host.detect(Options(timeout=60)), kind)
    expect(outcome, Status.PASS, "", "h264")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["deform", "window"])
def test_network_for_real(kind: str) -> None:
    """The probe itself, with every backend this machine has, against plain PyTorch on the CPU."""
    pytest.importorskip("torch")
    outcome = exercise._network(Host.detect(Options(device="cpu", timeout=200)), kind)
    expect(outcome, Status.PASS, "", "cpu/torch ", "cpu/torchvision ")
    assert outcome.evidence["worst"] < 1e-4


def test_fit_by_file_name(tmp_path: Path) -> None:
    host = machine(tmp_path, suffixes=(".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so"))
    names = {
        "_C.so": True,
        "_C.abi3.so": True,
        "_C.cpython-311-x86_64-linux-gnu.so": True,
        "_C.cpython-38-x86_64-linux-gnu.so": False,
    }
    assert {name: extensions._fits(host, Path(name)) for name in names} == names


def test_built_for_defaults_say_nothing() -> None:
    assert GpuCode((), ()).label() == ""
    assert BuiltFor("elf", "x86_64").python == ""
