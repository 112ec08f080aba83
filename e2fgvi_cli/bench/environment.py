"""The machine and the programs of a measurement: without them a figure means nothing."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .. import __version__
from ..weights.known import sha256

PACKAGES = ("torch", "torchvision", "triton", "numpy", "opencv-python", "av")


@dataclass(frozen=True)
class Environment:
    """`gpus`: what torch sees of those that were used. `packages`: version by name, "" where it is not installed."""

    program: str
    measured: str
    command: str
    system: str
    python: str
    cpu: str
    cores: int
    threads: int
    cpu_capability: str
    memory: int
    gpus: tuple[str, ...]
    driver: str
    cuda: str
    cudnn: str
    packages: dict[str, str]
    weights: str
    weights_sha256: str


def describe_environment(devices: list[torch.device], weights: Path | None, command: str) -> Environment:
    """This machine, now. weights: None where none were used."""
    gpus = [device for device in devices if device.type == "cuda"]
    cudnn = torch.backends.cudnn.version() if gpus else None
    return Environment(
        program=f"e2fgvi {__version__}",
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        system=platform.platform(),
        python=platform.python_version(),
        cpu=cpu_model(),
        cores=_usable_cores(),
        threads=torch.get_num_threads(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        memory=_host_memory(),
        gpus=tuple(_describe_gpu(device) for device in gpus),
        driver=_driver() if gpus else "",
        cuda=torch.version.cuda or "",
        cudnn="" if cudnn is None else str(cudnn),
        packages={name: _version(name) for name in PACKAGES},
        weights="" if weights is None else weights.name,
        weights_sha256="" if weights is None else sha256(weights),
    )


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    if sys.platform.startswith("linux"):
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for key in ("model name", "Hardware", "Model"):
            for line in lines:
                if line.split(":")[0].strip() == key:
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host_memory() -> int:
    from ..engine import total_memory

    return total_memory(torch.device("cpu"))


def _describe_gpu(device: torch.device) -> str:
    facts = torch.cuda.get_device_properties(device)
    capability = f"{facts.major}.{facts.minor}"
    return f"{device}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB, compute capability {capability}"


def _driver() -> str:
    """The NVIDIA driver's version, "" where it does not say. Safe once CUDA works: a broken driver can hang this
    call."""
    from ..doctor.gpu_query import query

    return str(query().get("driver", ""))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
