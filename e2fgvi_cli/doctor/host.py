"""The machine and the Python under examination: everything a check may ask, in one object that tests can replace."""

from __future__ import annotations

import functools
import importlib.machinery
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loader.model import Library, Setting
from .packages import Distribution, TorchBuild, find_distributions, normalise, read_torch_build, read_version_file
from .probe import ProbeResult, run_probe

MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "arm64", "aarch64": "arm64", "i386": "x86", "i686": "x86"}
QUERY_SECONDS = 15
GIB = 1 << 30
GONE = "/deleted"
"""Stands for a working folder that has no name any more."""
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA device; memory in bytes."""

    name: str
    capability: tuple[int, int]
    total: int
    free: int


@dataclass(frozen=True)
class GpuReport:
    """What the driver said. `cuda` is the newest CUDA it runs, as (major, minor). `nvml_error` 0 is fine."""

    driver: str = ""
    cuda: tuple[int, int] | None = None
    devices: tuple[Gpu, ...] = ()
    nvml_error: int = 0
    device_files: bool = False

    @property
    def present(self) -> bool:
        """True if an NVIDIA GPU is there, whether it works or not."""
        return bool(self.devices or self.nvml_error == 18 or (self.device_files and self.driver))


@dataclass
class Options:
    """Choices of one run that checks look at."""

    device: str = "auto"
    deep: bool = False
    timeout: float = 60.0
    net: bool = False
    output_dir: Path | None = None


@dataclass
class Host:
    """A machine with a Python. `Host.detect()` describes this one; tests build others.

    `path` is sys.path as `e2fgvi` sees it, `machine` one of x86_64, arm64, x86, ...; `os_machine` is the hardware's
    where the process is translated (Rosetta) or 32-bit.
    """

    platform: str
    machine: str
    python: tuple[int, int, int]
    bits: int
    path: list[str]
    executable: Path
    prefix: Path
    environ: dict[str, str]
    cwd: Path
    os_machine: str = ""
    os_name: str = ""
    free_threaded: bool = False
    suffixes: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    gpu_report: GpuReport | None = None
    memory_bytes: tuple[int, int, int] | None = None  # available RAM, total RAM, committable (Windows) or 0
    library: Library = field(default_factory=Library)

    @classmethod
    def detect(cls, options: Options | None = None) -> Host:
        """The running interpreter and its machine."""
        return cls(
            platform={"linux2": "linux"}.get(sys.platform, sys.platform),
            machine=MACHINES.get(platform.machine().lower(), platform.machine().lower()),
            python=(sys.version_info[0], sys.version_info[1], sys.version_info[2]),
            bits=8 * struct.calcsize("P"),
            path=list(sys.path),
            executable=Path(sys.executable),
            prefix=Path(sys.prefix),
            environ=dict(os.environ),
            cwd=_working_folder(),
            os_machine=_hardware(),
            os_name=f"{platform.system()} {platform.release()}",
            free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            suffixes=tuple(importlib.machinery.EXTENSION_SUFFIXES),
            options=options or Options(),
        )

    @functools.cached_property
    def site_dirs(self) -> list[Path]:
        """Folders of sys.path that hold installed packages."""
        return [Path(entry) for entry in dict.fromkeys(self.path) if entry and Path(entry).is_dir()]

    @functools.cached_property
    def distributions(self) -> list[Distribution]:
        """Everything installed, first on sys.path first."""
        return find_distributions(self.site_dirs)

    def distribution(self, name: str) -> Distribution | None:
        """The distribution that wins, None if it is not installed."""
        wanted = normalise(name)
        return next((entry for entry in self.distributions if entry.name == wanted), None)

    def package(self, name: str) -> Path | None:
        """The folder `import name` would take, None if there is none. Single-file modules do not count."""
        hits = (folder / name for folder in self.site_dirs)
        return next((hit for hit in hits if (hit / "__init__.py").is_file() or _has_extension(hit)), None)

    def version(self, package: str, distribution: str = "") -> str:
        """A package's version: of its metadata, else of its files; "" if not installed."""
        found = self.distribution(distribution or package)
        folder = self.package(package)
        return found.version if found else (read_version_file(folder) if folder else "")

    @functools.cached_property
    def torch(self) -> TorchBuild | None:
        """torch's build as its files say, None if not installed."""
        folder = self.package("torch")
        return read_torch_build(folder) if folder else None

    @functools.cached_property
    def gpu(self) -> GpuReport:
        """What the NVIDIA driver says, asked in a process of its own."""
        return self.gpu_report if self.gpu_report is not None else _ask_driver(self.executable)

    @property
    def wants_gpu(self) -> bool:
        """True if the tool would use (or was told to use) an NVIDIA GPU."""
        return self.options.device.startswith("cuda") or (self.options.device == "auto" and self.gpu.present)

    def memory(self) -> tuple[int, int, int]:
        """(available RAM, total RAM, committable memory on Windows else 0) in bytes; zeros where unknown."""
        return self.memory_bytes if self.memory_bytes is not None else _memory(self.platform)

    def free_disk(self, folder: Path) -> int | None:
        """Free bytes where `folder` is or would be, None if unknown."""
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            return None

    def setting(self, preload: list[Path] | None = None) -> Setting:
        """How this Python loads an extension."""
        user_dirs: list[Path] = []
        system = None
        if self.platform == "win32":
            torch = self.package("torch")
            user_dirs = [torch / "lib"] if torch else []
            user_dirs += [self.prefix / "Library" / "bin", self.prefix / "bin"]
            system = Path(self.environ.get("SystemRoot", r"C:\Windows")) / "System32"
        return Setting(
            self.platform,
            self.machine,
            native=self.platform == sys.platform.replace("linux2", "linux"),
            executable=self.executable.resolve(),
            user_dirs=user_dirs,
            preload=preload or [],
            environ=self.environ,
            system_root=system,
        )

    def probe(self, script: str, *arguments: str) -> ProbeResult:
        """Run a probe with this Python within the time limit of the options."""
        return run_probe(script, *arguments, executable=str(self.executable), timeout=self.options.timeout)


def _has_extension(folder: Path) -> bool:
    return folder.is_dir() and any(entry.name.endswith((".so", ".pyd")) for entry in folder.iterdir())


def _working_folder() -> Path:
    """The working folder; one that was deleted under the shell has only the name that the shell remembers."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD") or GONE)


def _hardware() -> str:
    """The machine below a translation layer: arm64 for an x86_64 Python under Rosetta."""
    if sys.platform == "darwin":
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "hw.optional.arm64"], capture_output=True, text=True, check=False
        )
        return "arm64" if done.stdout.strip() == "1" else "x86_64"
    name = os.environ.get("PROCESSOR_ARCHITEW6432") or platform.machine()
    return MACHINES.get(name.lower(), name.lower())


def _ask_driver(executable: Path) -> GpuReport:
    script = Path(__file__).with_name("gpu_query.py")
    try:
        done = subprocess.run(
            [str(executable), "-I", "-S", str(script)],
            capture_output=True,
            text=True,
            timeout=QUERY_SECONDS,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return GpuReport()
    devices = tuple(
        Gpu(entry["name"], (entry["capability"][0], entry["capability"][1]), entry["total"], entry["free"])
        for entry in answer.get("devices", [])
    )
    number = answer.get("cuda")
    return GpuReport(
        driver=answer.get("driver", ""),
        cuda=(number // 1000, number % 1000 // 10) if number else None,
        devices=devices,
        nvml_error=answer.get("nvml_error", 0),
        device_files=answer.get("device_files", False),
    )


def _memory(name: str) -> tuple[int, int, int]:
    if name == "win32":
        return _windows_memory()
    try:
        page, total = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0, 0, 0
    available = 0
    try:
        with open("/proc/meminfo", encoding="ascii") as handle:
            rows = dict(line.split(":", 1) for line in handle)
        available = int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        available = page * total // 2 if name == "darwin" else 0  # macOS compresses and swaps; half is a fair guess
    return min(available, _container_limit() or available), page * total, 0


def _container_limit() -> int | None:
    """Memory limit of a Linux container (cgroup 2 or 1) minus what is used; None without one."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            allowed = Path(limit).read_text(encoding="ascii").strip()
            if allowed.isdigit() and int(allowed) < 1 << 50:
                return max(0, int(allowed) - int(Path(used).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return None


def _windows_memory() -> tuple[int, int, int]:
    """GlobalMemoryStatusEx: available and total RAM, and what may still be committed (RAM plus page file)."""
    import ctypes

    names = ("total", "available", "total_page", "available_page", "total_virtual", "available_virtual", "extended")
    fields = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32), *[(name, ctypes.c_uint64) for name in names]]
    status = type("MemoryStatus", (ctypes.Structure,), {"_fields_": fields})()
    status.length = ctypes.sizeof(status)
    getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # noqa: B009
    return int(status.available), int(status.total), int(status.available_page)
