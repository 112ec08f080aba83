"""GPU and weights checks on made-up machines, and the feasibility of what is advised."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import pytest

from e2fgvi_cli.doctor.checks import gpu as gpu_checks
from e2fgvi_cli.doctor.checks import weights
from e2fgvi_cli.doctor.host import GIB, Gpu, Host, Options
from e2fgvi_cli.doctor.model import Status
from e2fgvi_cli.doctor.remedies import drop_mmcv, matching_torchvision, pick_cuda_wheel
from e2fgvi_cli.doctor.texts import render
from e2fgvi_cli.weights import known as weight_files

from .hosts import GTX_1080, RTX_3060, RTX_5090, gpu, install, machine, torch
from .test_checks import expect


@pytest.mark.parametrize(
    ("driver", "status", "words"),
    [
        ("560.94", Status.PASS, ("560.94",)),
        ("535.54.03", Status.PASS, ("runs CUDA 12.6", "560.28.03")),
        ("470.42.01", Status.FAIL, ("too old", "525.60.13", "cu118")),
    ],
)
def test_driver_against_cuda(driver: str, status: Status, words: tuple[str, ...], tmp_path: Path) -> None:
    host = machine(tmp_path, gpu_report=gpu(driver, (12, 6) if status is Status.PASS else (11, 4), RTX_3060))
    torch(host)
    expect(gpu_checks.check_driver(host), status, "driver.old" if status is Status.FAIL else "", *words)


def test_driver_updated_without_a_restart(tmp_path: Path) -> None:
    host = machine(tmp_path, gpu_report=gpu("", (0, 0), nvml_error=18))
    expect(gpu_checks.check_driver(host), Status.FAIL, "driver.old", "different versions", "restart")


def test_cuda_asked_for_without_a_gpu(tmp_path: Path) -> None:
    expect(
        gpu_checks.check_driver(machine(tmp_path, options=Options(device="cuda"))),
        Status.FAIL,
        "driver.none",
        "--device cpu",
    )
    assert gpu_checks.check_driver(machine(tmp_path)).status is Status.SKIP


@pytest.mark.parametrize(
    ("card", "version", "cuda", "status", "tag"),
    [
        (RTX_3060, "2.8.0+cu126", "12.6", Status.PASS, ""),
        (RTX_5090, "2.6.0+cu126", "12.6", Status.FAIL, "cu132"),
        (GTX_1080, "2.14.1+cu130", "13.0", Status.FAIL, "cu126"),
    ],
)
def test_architecture_of_torch(card: Gpu, version: str, cuda: str, status: Status, tag: str, tmp_path: Path) -> None:
    """Blackwell needs cu128 or newer; Pascal lost its code in CUDA 13 builds."""
    host = machine(tmp_path, gpu_report=gpu("595.58", (13, 2), card))
    torch(host, version, cuda)
    expect(gpu_checks.check_arch(host), status, "gpu.arch" if status is Status.FAIL else "", tag)


@pytest.mark.parametrize(
    ("arch", "kind", "status"),
    [(86, 2, Status.PASS), (80, 2, Status.PASS), (75, 1, Status.WARN), (90, 2, Status.FAIL)],
)
def test_architecture_of_extensions(
    arch: int, kind: int, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from e2fgvi_cli.doctor.binary.fatbin import GpuCode

    host = machine(tmp_path, gpu_report=gpu("595.58", (13, 2), RTX_3060))
    torch(host)
    (install(host, "torchvision", "0.23.0") / "_C.so").write_bytes(b"")
    code = GpuCode((arch,) if kind == 2 else (), (arch,) if kind == 1 else ())
    monkeypatch.setattr(gpu_checks, "_gpu_code", lambda host, path: code)
    expect(gpu_checks.check_extension_arch(host), status, "" if status is Status.PASS else "gpu.arch")


@pytest.mark.parametrize(("free", "status"), [(8, Status.PASS), (2, Status.WARN), (0, Status.FAIL)])
def test_gpu_memory(free: int, status: Status, tmp_path: Path) -> None:
    card = Gpu("RTX", (8, 6), 12 * GIB, free * GIB)
    host = machine(tmp_path, gpu_report=gpu("560.94", (12, 6), card))
    expect(gpu_checks.check_memory(host), status, "gpu.vram" if status is not Status.PASS else "", f"{free}.0 GiB")


def test_feasible_wheels() -> None:
    """The advised wheel exists for this Python, driver and GPU; where none does, none is advised."""
    root = Path("/nowhere")
    host = Host(
        "linux", "x86_64", (3, 11, 0), 64, [], root, root, {}, root, gpu_report=gpu("560.94", (12, 6), GTX_1080)
    )
    assert pick_cuda_wheel(host, GTX_1080) == ("2.14", "cu126")
    host.gpu_report = gpu("595.58", (13, 2), RTX_5090)
    host = Host(
        "linux", "x86_64", (3, 11, 0), 64, [], root, root, {}, root, gpu_report=gpu("595.58", (13, 2), RTX_5090)
    )
    assert pick_cuda_wheel(host, RTX_5090) == ("2.14", "cu132")
    old = Host("linux", "x86_64", (3, 11, 0), 64, [], root, root, {}, root, gpu_report=gpu("418.39", (10, 1), GTX_1080))
    assert pick_cuda_wheel(old, GTX_1080) is None
    assert matching_torchvision("2.5.1+cu124") == "==0.20.1"
    assert matching_torchvision("2.14.1") == ">=0.29.1"


def test_mmcv_is_never_the_first_fix(tmp_path: Path) -> None:
    """First: nothing to do. A wheel is named only where one exists."""
    host = machine(tmp_path)
    torch(host)
    fixes = [render(fix.why, "en") for fix in drop_mmcv(host)]
    assert "does not need mmcv" in fixes[0]
    assert "no mmcv wheel exists for torch 2.8.0" in fixes[1]
    host = machine(tmp_path / "old")
    torch(host, "2.3.0+cu121", "12.1")
    assert drop_mmcv(host)[1].command == "mim install mmcv==2.2.0"


def weights_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, name: str = "open") -> Host:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(weight_files, "search_folders", lambda: (folder,))
    if content is not None:
        (folder / weight_files.KNOWN[name].filename).write_bytes(content)
    return machine(tmp_path)


def safetensors(payload: int = 8) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(payload)


@pytest.mark.parametrize(
    ("content", "status", "word"),
    [
        (None, Status.FAIL, "is not there"),
        (b"version https://git-lfs.github.com/spec/v1\n", Status.FAIL, "git-LFS pointer"),
        (b"<!DOCTYPE html><html>", Status.FAIL, "web page"),
        (b"", Status.FAIL, "is empty"),
        (safetensors()[:-4], Status.FAIL, "cut short"),
        (b"\x00" * 64, Status.FAIL, "cut short"),
        (b"garbage!" * 9, Status.FAIL, "no format"),
        (safetensors(), Status.WARN, "not the file we know"),
    ],
)
def test_default_weights(
    content: bytes | None, status: Status, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = weights_host(tmp_path, monkeypatch, content)
    if content == b"\x00" * 64:
        word = "no format"
    expect(weights.check_weights(host, "open"), status, "weights", word)


def test_published_weights_as_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = weights_host(tmp_path, monkeypatch, None, "published")
    assert weights.check_weights(host, "published").status is Status.SKIP
    path = tmp_path / "weights" / weight_files.KNOWN["published"].filename
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 1000)
    assert weights.damage_of(path) is None
    expect(weights.check_weights(host, "published"), Status.FAIL, "weights", "cut short", "weights fetch published")
    path.write_bytes(path.read_bytes()[:-30])
    assert weights.damage_of(path) == ("weights.truncated", {"have": path.stat().st_size, "want": "?"})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 1000)
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF
    path.write_bytes(bytes(data))
    assert weights.damage_of(path) is None
    assert weights.damage_of(path, deep=True) == ("weights.crc", {"entry": "archive/data.pkl"})


def test_known_weights_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if weights.default_weights() is None:
        pytest.skip("the default weights are not in this checkout")
    assert weights.check_weights(machine(tmp_path), "open").status is Status.PASS


def test_hosts_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.check_hosts(machine(tmp_path)).status is Status.SKIP

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(weights.urllib.request, "urlopen", refuse)
    expect(weights.check_hosts(machine(tmp_path, options=Options(net=True))), Status.WARN, "net", "no route")
