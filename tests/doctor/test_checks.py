"""Every check on made-up machines: it passes where all is well and names the fault, its class and the fix where not."""

from __future__ import annotations

import re
import struct
import tomllib
from pathlib import Path

import pytest

from e2fgvi_cli.doctor.checks import packages, system
from e2fgvi_cli.doctor.host import GIB, Host, Options
from e2fgvi_cli.doctor.model import Outcome, Status
from e2fgvi_cli.doctor.packages import parse_requirement, satisfies
from e2fgvi_cli.doctor.texts import render

from .hosts import RTX_3060, gpu, install, machine, torch


def expect(outcome: Outcome, status: Status, cause: str = "", *words: str) -> None:
    """The outcome's status and class, and words its sentence or remedies must contain."""
    fixes = [f"{render(fix.why, 'en')} {fix.command}" for fix in outcome.remedies]
    text = " | ".join([render(outcome.summary, "en"), *fixes])
    assert (outcome.status, outcome.cause) == (status, cause), text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("changes", "status", "cause", "word"),
    [
        ({}, Status.PASS, "", "3.11.9"),
        ({"python": (3, 9, 1)}, Status.FAIL, "py.unsupported", "older than 3.11"),
        ({"python": (3, 15, 0)}, Status.WARN, "py.unsupported", "newer than 3.14"),
        ({"bits": 32}, Status.FAIL, "py.unsupported", "32-bit"),
        ({"free_threaded": True}, Status.WARN, "py.unsupported", "free-threaded"),
        ({"os_machine": "arm64"}, Status.WARN, "py.translated", "install a Python for arm64"),
    ],
)
def test_python(changes: dict[str, object], status: Status, cause: str, word: str, tmp_path: Path) -> None:
    expect(system.check_python(machine(tmp_path, **changes)), status, cause, word)


@pytest.mark.parametrize("name", ["torch.py", "numpy.py", "cv2.py", "mmcv/__init__.py"])
def test_shadowing_file_on_the_path(name: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / name).parent.mkdir(parents=True)
    (work / name).write_text("")
    host = machine(tmp_path, cwd=work)
    expect(system.check_shadow(host), Status.WARN, "sys.shadow", "would hide", name.split("/", maxsplit=1)[0])
    host.path.insert(0, str(work))
    expect(system.check_shadow(host), Status.FAIL, "sys.shadow", "hides", name.split("/", maxsplit=1)[0])
    other = machine(tmp_path, environ={"PYTHONPATH": str(work)}, path=[str(work), *host.path[1:]])
    expect(system.check_shadow(other), Status.FAIL, "sys.shadow", "rename or move")


def test_a_folder_called_model_hides_nothing(tmp_path: Path) -> None:
    """The published E2FGVI has one, and its users stand beside it."""
    (tmp_path / "work" / "model").mkdir(parents=True)
    (tmp_path / "work" / "model" / "__init__.py").write_text("")
    host = machine(tmp_path, cwd=tmp_path / "work")
    host.path.insert(0, str(host.cwd))
    assert system.check_shadow(host).status is Status.PASS


def test_two_metadata_folders_of_one_package(tmp_path: Path) -> None:
    host = machine(tmp_path)
    torch(host, "2.7.0")
    assert system.check_shadow(host).status is Status.PASS
    host = machine(tmp_path)
    torch(host, "2.8.0")
    expect(system.check_shadow(host), Status.FAIL, "sys.shadow", "torch is installed twice", "uninstall -y torch")


@pytest.mark.parametrize(
    ("prefix", "status", "word"),
    [
        ("C:/py", Status.PASS, "fine"),
        ("C:/用户/py", Status.WARN, "non-ASCII"),
        ("C:/" + "long/" * 50, Status.WARN, "260"),
    ],
)
def test_windows_paths(prefix: str, status: Status, word: str, tmp_path: Path) -> None:
    host = machine(tmp_path, platform="win32", prefix=Path(prefix))
    expect(system.check_path(host), status, "" if status is Status.PASS else "sys.path", word)
    assert system.check_path(machine(tmp_path)).status is Status.SKIP


def fake_dll(version: tuple[int, int]) -> bytes:
    """A PE file that has nothing but a version resource."""
    section = bytearray(0x200)
    fixed = struct.pack("<IIII", 0xFEEF04BD, 0x10000, version[0] << 16 | version[1], 33810 << 16)
    section[0x20 : 0x20 + len(fixed)] = fixed
    directories = [(0, 0)] * 16
    directories[2] = (0x1000, 0x100)
    optional = struct.pack("<HBB", 0x20B, 14, 38) + bytes(56) + struct.pack("<I", 0x200)
    optional += (
        bytes(108 - len(optional))
        + struct.pack("<I", 16)
        + b"".join(struct.pack("<II", *entry) for entry in directories)
    )
    head = bytearray(b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0")
    head += struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022) + optional
    head += struct.pack("<8sIIIIIIHHI", b".rsrc", 0x200, 0x1000, 0x200, 0x200, 0, 0, 0, 0, 0)
    return bytes(head) + bytes(0x200 - len(head)) + bytes(section)


def test_visual_cpp_runtime(tmp_path: Path) -> None:
    """Absent: 126. Older than 14.40 with torch 2.9 or newer: 1114 (pytorch#169429)."""
    system32 = tmp_path / "Windows" / "System32"
    system32.mkdir(parents=True)
    host = machine(tmp_path, platform="win32", environ={"SystemRoot": str(tmp_path / "Windows")})
    torch(host, "2.9.0")
    expect(system.check_msvc(host), Status.FAIL, "ext.lib.win", "msvcp140.dll", "vc_redist")
    for name in system.MSVC_NAMES:
        (system32 / name).write_bytes(fake_dll((14, 29)))
    expect(system.check_msvc(host), Status.FAIL, "ext.init.win", "14.29", "14.40", "torch==2.8.0")
    for name in system.MSVC_NAMES:
        (system32 / name).unlink()
        (system32 / name).write_bytes(fake_dll((14, 42)))
    host = machine(tmp_path, platform="win32", environ=host.environ)
    expect(system.check_msvc(host), Status.PASS, "", "14.42")
    library = Path(host.path[0]) / "torch" / "lib" / "c10.dll"  # linked with 14.38
    library.parent.mkdir()
    library.write_bytes(fake_dll((1, 0)))
    for minor, status in ((35, Status.PASS), (29, Status.WARN)):
        torch(host, "2.8.0")
        for name in system.MSVC_NAMES:
            (system32 / name).write_bytes(fake_dll((14, minor)))
        host = machine(tmp_path, platform="win32", environ=host.environ)
        assert system.check_msvc(host).status is status


@pytest.mark.parametrize(("amount", "status"), [(16, Status.PASS), (4, Status.WARN), (1, Status.FAIL)])
def test_memory_commit_and_disk(amount: int, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = status is not Status.PASS
    host = machine(tmp_path, memory_bytes=(amount * GIB, 64 * GIB, amount * GIB // 2), platform="win32")
    expect(system.check_ram(host), status, "sys.ram" if bad else "", f"{amount}")
    commit = {16: Status.PASS, 4: Status.WARN, 1: Status.FAIL}[amount]
    expect(system.check_commit(host), commit, "sys.commit" if commit is not Status.PASS else "")
    assert system.check_commit(machine(tmp_path)).status is Status.SKIP
    monkeypatch.setattr(Host, "free_disk", lambda self, folder: amount * GIB if amount != 1 else GIB // 2)
    expect(system.check_disk(machine(tmp_path)), status, "sys.disk" if bad else "")


def test_environment_variables(tmp_path: Path) -> None:
    assert system.check_variables(machine(tmp_path)).status is Status.PASS
    (tmp_path / "libcudnn.so.9").write_bytes(b"")
    host = machine(tmp_path, environ={"LD_LIBRARY_PATH": str(tmp_path)})
    expect(system.check_variables(host), Status.WARN, "env.vars", "LD_LIBRARY_PATH")
    host = machine(tmp_path, environ={"CUDA_VISIBLE_DEVICES": "-1"})
    expect(system.check_variables(host), Status.WARN, "env.vars", "hides every GPU")
    host = machine(tmp_path, environ={"KMP_DUPLICATE_LIB_OK": "TRUE"})
    expect(system.check_variables(host), Status.PASS, "", "KMP_DUPLICATE_LIB_OK")


def test_required_packages(tmp_path: Path) -> None:
    host = machine(tmp_path)
    for name in packages.REQUIRED:
        install(host, name, "99.0", package={"opencv-python": "cv2"}.get(name, name))
    assert packages.check_versions(host).status is Status.PASS
    host = machine(tmp_path / "old")
    torch(host, "1.13.1")
    outcome = packages.check_versions(host)
    expect(outcome, Status.FAIL, "pkg.versions", "not installed", "torchvision", '"torch>=2.4"')


def test_own_metadata_beats_the_list(tmp_path: Path) -> None:
    host = machine(tmp_path)
    install(host, "e2fgvi-cli", "9.9", requires=("numpy>=3", 'pytest>=8; extra == "dev"'))
    install(host, "numpy", "2.4")
    expect(packages.check_versions(host), Status.FAIL, "pkg.versions", "numpy 2.4 (>=3)")


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    host = machine(tmp_path)
    folder = torch(host)
    assert packages.check_record(host, "torch").status is Status.PASS
    (folder / "version.py").write_text("# cut")
    expect(packages.check_record(host, "torch"), Status.FAIL, "ext.file", "version.py", "5 bytes", "torch==2.8.0")
    (folder / "version.py").unlink()
    expect(packages.check_record(host, "torch"), Status.FAIL, "ext.file", "missing")


def test_hashes_only_with_deep(tmp_path: Path) -> None:
    host = machine(tmp_path)
    folder = install(host, "av", "18.0", files={"_core.so": "good"})
    record = Path(host.path[0]) / "av-18.0.dist-info" / "RECORD"
    record.write_text("av/_core.so,sha256=7SUmx1Wl7cYbTvRkrTHBjY5I8wjJLXJBbzkRgPWBXkE,4\n")
    assert packages.check_record(host, "av").status is Status.PASS
    host.options = Options(deep=True)
    expect(packages.check_record(host, "av"), Status.FAIL, "ext.file", str(folder / "_core.so"), "other content")


def test_stale_dll_in_torch_lib(tmp_path: Path) -> None:
    host = machine(tmp_path, platform="win32")
    folder = torch(host)
    (folder / "lib").mkdir()
    assert packages.check_record(host, "torch").status is Status.PASS
    (folder / "lib" / "caffe2.dll").write_bytes(b"")
    expect(packages.check_record(host, "torch"), Status.WARN, "ext.symbol.win", "caffe2.dll", "delete")


def test_torchvision_pair_by_its_own_pin(tmp_path: Path) -> None:
    host = machine(tmp_path)
    torch(host)
    install(host, "torchvision", "0.20.1", requires=("numpy", "torch==2.5.1"))
    expect(packages.check_pair(host), Status.FAIL, "tv.mismatch", "needs torch ==2.5.1", "torchvision==0.23.0", "cu126")
    host = machine(tmp_path / "stable")
    torch(host, "2.15.0+cu132", "13.2")
    install(host, "torchvision", "0.29.2", requires=("torch>=2.14",))
    assert packages.check_pair(host).status is Status.PASS


def test_torchvision_of_another_build(tmp_path: Path) -> None:
    host = machine(tmp_path)
    torch(host)
    install(
        host, "torchvision", "0.23.0", requires=("torch==2.8.0",), files={"version.py": "__version__ = '0.23.0+cpu'\n"}
    )
    expect(packages.check_pair(host), Status.FAIL, "tv.mismatch", "different builds")


def test_numpy_abi(tmp_path: Path) -> None:
    host = machine(tmp_path)
    install(host, "numpy", "2.1.0")
    torch(host, "2.2.0+cu121", "12.1")
    expect(packages.check_numpy(host), Status.FAIL, "numpy.abi", 'install "numpy<2"')
    host = machine(tmp_path / "old")
    install(host, "numpy", "1.26.4")
    torch(host)
    assert packages.check_numpy(host).status is Status.PASS
    install(
        host,
        "opencv-python",
        "5.0",
        package="cv2",
        requires=('numpy<2.0; python_version < "3.9"', 'numpy>=2; python_version >= "3.9"'),
    )
    host = machine(tmp_path / "old")
    expect(packages.check_numpy(host), Status.FAIL, "numpy.abi", "opencv-python needs numpy >=2")


def test_two_opencv_packages(tmp_path: Path) -> None:
    host = machine(tmp_path)
    install(host, "opencv-python", "4.10.0", package="cv2")
    assert packages.check_opencv(host).status is Status.PASS
    install(host, "opencv-python-headless", "4.11.0", package="cv2")
    host = machine(tmp_path)
    expect(
        packages.check_opencv(host), Status.FAIL, "cv2.conflict", "uninstall -y opencv-python opencv-python-headless &&"
    )


def test_cpu_torch_beside_a_gpu(tmp_path: Path) -> None:
    host = machine(tmp_path, platform="win32", gpu_report=gpu("560.94", (12, 6), RTX_3060))
    torch(host, "2.8.0+cpu", None)
    expect(packages.check_cuda_build(host), Status.WARN, "torch.cpu_only", "RTX 3060", "/cu126")
    assert packages.check_cuda_build(machine(tmp_path)).status is Status.PASS


def test_duplicate_openmp(tmp_path: Path) -> None:
    host = machine(tmp_path, platform="win32")
    folder = torch(host)
    for place in (folder / "lib", tmp_path / "Library" / "bin"):
        assert packages.check_openmp(host).status is Status.PASS
        place.mkdir(parents=True)
        (place / "libiomp5md.dll").write_bytes(b"")
    expect(packages.check_openmp(host), Status.WARN, "omp.dup", "libiomp5md.dll")


def test_cudnn_pin_and_foreign_cudnn(tmp_path: Path) -> None:
    host = machine(tmp_path)
    folder = torch(host)
    info = folder.parent / "torch-2.8.0.dist-info" / "METADATA"
    info.write_text("Name: torch\nRequires-Dist: nvidia-cudnn-cu12==9.10.2.21; platform_system == 'Linux'\n\n")
    expect(packages.check_cudnn(host), Status.FAIL, "cudnn", "nvidia-cudnn-cu12==9.10.2.21")
    install(host, "nvidia-cudnn-cu12", "9.10.2.21")
    host = machine(tmp_path)
    assert packages.check_cudnn(host).status is Status.PASS
    (tmp_path / "libcudnn.so.8").write_bytes(b"")
    host = machine(tmp_path, environ={"LD_LIBRARY_PATH": str(tmp_path)})
    expect(packages.check_cudnn(host), Status.WARN, "cudnn", "unset LD_LIBRARY_PATH")


@pytest.mark.parametrize(
    ("version", "requirement", "met"),
    [
        ("2.8.0+cu126", "torch==2.8.0", True),
        ("2.8.0", "torch==2.8.0+cu126", False),
        ("2.10.1", "torch>=2.9,<3", True),
        ("2.8.1", "torch==2.8.*", True),
        ("2.8.1", "torch~=2.8.0", True),
        ("2.9.0", "torch~=2.8.0", False),
        ("9.10.2.21", "nvidia-cudnn-cu12 (==9.10.2.21) ; platform_system == 'Linux'", True),
        ("2.8.0", "torch!=2.8.0", False),
    ],
)
def test_versions_agree_with_packaging(version: str, requirement: str, met: bool) -> None:
    packaging = pytest.importorskip("packaging.specifiers")
    _, clauses = parse_requirement(requirement)
    assert satisfies(version, clauses) is met
    assert packaging.SpecifierSet(",".join(a + b for a, b in clauses)).contains(version) is met


def test_required_packages_are_those_of_pyproject() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [re.match(r"([\w-]+)(>=.+)", text) for text in project["dependencies"]]
    assert {found[1]: found[2] for found in asked if found} == packages.REQUIRED
    assert all(asked)
