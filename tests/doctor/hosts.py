"""Made-up machines for the checks: site-packages of text files, a GPU that answers what the test says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from e2fgvi_cli.doctor.host import GIB, Gpu, GpuReport, Host, Options

RTX_3060 = Gpu("RTX 3060", (8, 6), 12 * GIB, 11 * GIB)
GTX_1080 = Gpu("GTX 1080", (6, 1), 8 * GIB, 7 * GIB)
RTX_5090 = Gpu("RTX 5090", (12, 0), 32 * GIB, 30 * GIB)


def machine(root: Path, **changes: Any) -> Host:
    """A Linux machine with Python 3.11, much memory, no GPU and nothing installed; `changes` are fields of Host."""
    site = root / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    host = Host(
        platform="linux",
        machine="x86_64",
        python=(3, 11, 9),
        bits=64,
        path=[str(site)],
        executable=root / "bin" / "python",
        prefix=root,
        environ={},
        cwd=root,
        os_machine="x86_64",
        os_name="Linux 6",
        options=Options(),
        gpu_report=GpuReport(),
        memory_bytes=(32 * GIB, 64 * GIB, 0),
    )
    return replace(host, **changes)


def install(
    host: Host,
    name: str,
    version: str,
    *,
    package: str = "",
    requires: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
) -> Path:
    """A distribution with an importable folder; `files` are added and recorded. Returns the package's folder."""
    site = Path(host.path[0])
    folder, info = site / (package or name), site / f"{name.replace('-', '_')}-{version.partition('+')[0]}.dist-info"
    folder.mkdir(exist_ok=True)
    info.mkdir(exist_ok=True)
    content = {"__init__.py": f"__version__ = '{version}'\n", **(files or {})}
    record = []
    for path, text in content.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        record.append(f"{folder.name}/{path},,{len(text)}")
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {entry}" for entry in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n\nA package.\n")
    (info / "RECORD").write_text("\n".join(record) + "\n")
    return folder


def torch(host: Host, version: str = "2.8.0+cu126", cuda: str | None = "12.6") -> Path:
    """A torch whose version.py says this build."""
    text = f"__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"
    return install(host, "torch", version, files={"version.py": text})


def gpu(driver: str, cuda: tuple[int, int], *devices: Gpu, nvml_error: int = 0) -> GpuReport:
    """What a driver answers."""
    return GpuReport(driver, cuda, tuple(devices), nvml_error, True)
