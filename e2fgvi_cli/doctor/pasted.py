"""`check-env --error TEXT`: what a pasted error message or traceback means, and what can be done about it.

The text may come from another machine: it is read, nothing is imported, and of this machine only what a remedy depends
on is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

from . import remedies
from .binary.demangle import readable, uses_old_strings
from .host import GpuReport, Host
from .loader.model import Fault, Flaw
from .messages import OS_OF_PLATFORM, causes_in
from .model import Remedy, Text, say

LONGEST_TEXT = 1 << 20
"""Characters; the end of a longer text is read, where a traceback has its error."""
MOST_CAUSES = 3
PLATFORM_OF_SYSTEM = {system: platform for platform, system in OS_OF_PLATFORM.items()}
OS_NAMES = {"win": "Windows", "linux": "Linux", "macos": "macOS"}
SYSTEM_MARKS = (
    ("win", r"DLL load failed|WinError|\.pyd\b|\.dll\b|Win32"),
    ("macos", r"dlopen\(|\.dylib\b|flat namespace|mach-o|MPS:"),
    ("linux", r"\.so\b|GLIBC|ELF"),
)
PATHS = r"(?:Error loading \"([^\"]+)\"|dlopen\(([^,]+),|^(?:\w+: )?([^\s:'\"]+\.so[\w.]*): |required by ([^\s)]+)\))"
FILE = re.compile(PATHS, re.MULTILINE)
MODULE = re.compile(r"while importing ([\w.]+)")
SYMBOL = re.compile(r"undefined symbol: ([^\s,)]+)|[Ss]ymbol not found(?: in flat namespace)?:? '?([^\s,')]+)")
LIBRARY = re.compile(
    r"([^\s:'\"]+\.so[\w.]*): cannot open shared object|Library not loaded: (\S+)|"
    r"(?:library|locate|load) (\S*cudnn[^\s,}]*)"
)
VERSION = re.compile(r"version `([^']+)' not found")
MISSING_MODULE = re.compile(r"No module named '?([\w.]+)")
PACKAGES = ("mmcv", "torchvision", "torchaudio", "torch", "cv2", "av", "numpy")


@dataclass(frozen=True)
class Pasted:
    """What was found in a text: failure classes, the sentences, and remedies in order. No `causes`: it is not known."""

    causes: list[str] = field(default_factory=list)
    lines: list[Text] = field(default_factory=list)
    remedies: list[Remedy] = field(default_factory=list)


def explain_text(text: str, host: Host) -> Pasted:
    """Recognise the field's error texts in `text`. Never fails."""
    text = text[-LONGEST_TEXT:]
    system = next((name for name, mark in SYSTEM_MARKS if re.search(mark, text)), "")
    system = system or OS_OF_PLATFORM.get(host.platform, "linux")
    symbol = _first(SYMBOL, text)
    causes = causes_in(text, system)[:MOST_CAUSES]
    if symbol and uses_old_strings(symbol):
        causes = ["ext.cxx11abi", *(c for c in causes if not c.startswith("ext.symbol"))]
    if not causes:
        return Pasted(lines=[say("error.unknown")], remedies=[_on_that_machine()])
    library, version, file = _first(LIBRARY, text), _first(VERSION, text), _first(FILE, text)
    lines = [say(f"error.{cause}") for cause in causes]
    lines += [say("error.symbol", symbol=readable(symbol), name=symbol)] if symbol else []
    lines += [say("error.library", library=library)] if library else []
    lines += [say("error.version", version=version)] if version else []
    lines += [say("error.file", file=file)] if file else []
    package = _package(text, file)
    there = _machine_of(system, host)
    fault = _fault(causes[0], file, symbol or library or version)
    found = [remedy for cause in causes for remedy in _remedies(cause, package, fault, there)]
    distinct = [remedy for i, remedy in enumerate(found) if remedy not in found[:i]]
    return Pasted(causes, lines, [*distinct, _on_that_machine()])


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next((group for group in found.groups() if group), "") if found else ""


def _package(text: str, file: str) -> str:
    """The package the text is about: of the file's folder, the module, or the one that is missing; "" unknown."""
    parts = PureWindowsPath(file).parts  # takes both kinds of slash
    module = _first(MODULE, text) or _first(MISSING_MODULE, text)
    name = next((part for part in reversed(parts) if part in PACKAGES), "") or module.split(".", maxsplit=1)[0]
    return {"_ext": "mmcv"}.get(name, name if name in PACKAGES else "")


def _machine_of(system: str, host: Host) -> Host:
    """The machine that remedies are for: this one, unless the text is of another system, of which nothing is known."""
    platform = PLATFORM_OF_SYSTEM[system]
    if platform == host.platform:
        return host
    return replace(
        host, platform=platform, os_name=OS_NAMES[system], path=[], executable=Path("python"), gpu_report=GpuReport()
    )


def _fault(cause: str, file: str, name: str) -> Fault:
    flaw = next(
        (f for start, f in FLAWS.items() if cause.startswith(start)),
        Flaw.MISSING_SYMBOL,
    )
    return Fault(flaw, Path(PureWindowsPath(file).name or "extension"), name)


FLAWS = {
    "ext.lib": Flaw.MISSING_LIBRARY,
    "ext.version": Flaw.MISSING_VERSION,
    "ext.file": Flaw.UNREADABLE,
    "ext.image": Flaw.WRONG_MACHINE,
}
MMCV = ("mmcv.absent", "mmcv.build", "ext.nogpu")
SAID = {
    "ext.init.win": "remedy.vcredist",
    "ext.other.win": "remedy.same_named_dll",
    "sys.commit": "remedy.commit",
    "driver.reboot": "remedy.reboot",
    "gpu.memory": "remedy.max_memory",
    "torchvision.io": "remedy.own_reader",
    "skimage.metrics": "remedy.own_metrics",
    "mps.border": "remedy.own_warp",
    "codec": "remedy.own_writer",
    "omp.dup": "remedy.one_openmp",
    "disk.full": "remedy.disk",
    "weights.cut": "remedy.fetch_again",
    "weights.lfs": "remedy.lfs_pull",
    "weights.page": "remedy.fetch_again",
    "weights.foreign": "remedy.verify_weights",
    "weights.unsafe": "remedy.plain_state",
}
"""Causes whose remedy depends on nothing."""
COMMANDS = {
    "remedy.vcredist": "https://aka.ms/vc14/vc_redist.x64.exe",
    "remedy.max_memory": "--max-memory auto --max-references 2",
    "remedy.fetch_again": "e2fgvi weights fetch published",
    "remedy.lfs_pull": "git lfs pull",
    "remedy.verify_weights": "e2fgvi weights verify FILE",
}


def _remedies(cause: str, package: str, fault: Fault, host: Host) -> list[Remedy]:
    if cause in SAID:
        return [Remedy(say(SAID[cause]), COMMANDS.get(SAID[cause], ""))]
    if cause in MMCV or (package == "mmcv" and cause.startswith("ext.")):
        known = host.torch is not None  # else nothing can be said about wheels for it
        return remedies.drop_mmcv(host) if known else remedies.drop_mmcv(host)[:1]
    return _of_class(cause, package, fault, host)


def _of_class(cause: str, package: str, fault: Fault, host: Host) -> list[Remedy]:  # noqa: PLR0911 (one exit for each class)
    pip = remedies.python_command(host)
    if cause == "tv.mismatch":
        return [Remedy(say("remedy.pair_torchvision"), remedies.pair_line(host))]
    if cause == "cv2.libgl":
        return remedies.headless_opencv(host)
    if cause == "cv2.conflict":
        names = "opencv-python opencv-python-headless opencv-contrib-python opencv-contrib-python-headless"
        return [Remedy(say("remedy.one_opencv"), f"{pip} uninstall -y {names} && {pip} install opencv-python")]
    if cause == "numpy.abi":
        return [Remedy(say("remedy.numpy_either"), f'{pip} install "numpy<2"')]
    if cause == "cudnn":
        return [Remedy(say("remedy.unset_library_path"), "unset LD_LIBRARY_PATH")]
    if cause == "py.unsupported":
        return [Remedy(say("remedy.no_mmcv"))]
    if cause in ("torch.cpu_only", "gpu.arch", "driver.old"):
        return remedies.cuda_torch(host) if host.gpu.devices else [Remedy(say("remedy.cuda_choice"))]
    if cause == "ext.absent":
        return [Remedy(say("remedy.install"), f"{pip} install {package}")] if package else []
    return remedies.for_extension(package, cause, fault, host)


def _on_that_machine() -> Remedy:
    return Remedy(say("remedy.check_env_there"), "e2fgvi check-env")
