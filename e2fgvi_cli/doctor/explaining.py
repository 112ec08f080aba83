"""`check-env --explain FILE`: what is wrong with one extension file of any platform, and what it was built for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from .binary import Binary, Malformed
from .checks.extensions import preload_for
from .diagnosis import built_line, details_of, diagnose
from .host import Host
from .loader.built_for import built_for, python_tag
from .loader.explain import Explanation, explain
from .loader.graph import PLATFORM_OF
from .loader.model import Setting
from .loader.variable import find_intruder
from .model import Text, say
from .packages import normalise
from .remedies import get_again, unset_variable

KNOWN = ("mmcv", "torchvision", "torch", "cv2", "av", "numpy")


def setting_for(binary: Binary, host: Host, search: list[Path]) -> Setting:
    """The process to replay the loading in: this one for files of this machine, else only `search` and the file's
    folder.

    Libraries of `search` folders count as loaded before, as torch's are when an extension of torch is imported.
    """
    platform = PLATFORM_OF[binary.format]
    if platform == host.platform and binary.machine == host.machine:
        preload = [] if search else preload_for(host, _package_of(binary.path))
        setting = host.setting(preload)
        setting.user_dirs = [*search, *setting.user_dirs]
    else:
        setting = Setting(platform, binary.machine, native=False, user_dirs=list(search))
    if platform == "win32":
        setting.preload += [path for folder in search for path in sorted(folder.glob("*.dll"))]
    elif platform == "linux":
        setting.preload += [path for folder in search for path in sorted(folder.glob("libc10*.so"))]
        setting.preload += [path for folder in search for path in sorted(folder.glob("libtorch*.so"))]
    return setting


def _examined(host: Host, binary: Binary, search: list[Path]) -> Host:
    """The host that remedies are for: this one, or for another platform's file the one its libraries come from."""
    platform = PLATFORM_OF[binary.format]
    if platform == host.platform and binary.machine == host.machine and not search:
        return host
    tag = python_tag(binary.path).rstrip("t").split(".")
    python = (int(tag[0]), int(tag[1]), 0) if len(tag) == 2 else host.python
    sites = [str(folder.parent.parent) for folder in search if folder.name == "lib"]  # site-packages/torch/lib
    mine = platform == host.platform
    return replace(
        host,
        platform=platform,
        machine=binary.machine,
        os_name=host.os_name if mine else {"win32": "Windows", "darwin": "macOS"}.get(platform, "Linux"),
        python=host.python if mine else python,
        path=sites or [str(folder) for folder in search],
        executable=host.executable if mine else Path("python"),
    )


def _package_of(path: Path) -> str:
    """Extensions that are not numpy's, OpenCV's or PyAV's are treated as those of torch, which is imported first."""
    known = {"numpy", "cv2", "av", "torch"}
    return next((part for part in reversed(path.parts) if part in known), "mmcv")


def explain_file(path: Path, search: list[Path], host: Host) -> tuple[list[Text], list[tuple[Text, str]], bool]:
    """(lines, remedies with their commands, sound) for one file. Raises OSError if it cannot be opened."""
    try:
        binary = host.library.get(path, host.machine)
    except Malformed as error:
        fix = get_again(package_of(path, host), path, host)
        return [say("fault.unreadable", file=str(path), why=str(error))], [(fix.why, fix.command)], False
    setting = setting_for(binary, host, search)
    found: Explanation = explain(path, setting, host.library)
    examined = _examined(host, binary, search)
    diagnosis = diagnose(found, examined, package_of(path, examined))
    lines = [diagnosis.summary] if diagnosis else [say("explain.ok", file=path.name, count=len(found.closure))]
    intruder = find_intruder(found, setting, host.library)
    if diagnosis and intruder:
        lines.append(say("explain.intruder", name=intruder.variable, library=str(intruder.library)))
        diagnosis = replace(diagnosis, remedies=unset_variable(intruder))
    lines += details_of(found)
    lines.append(built_line(built_for(binary)))
    tag, mine = python_tag(path), ".".join(str(part) for part in host.python[:2])
    if tag not in ("", "abi3", mine) and binary.format == {v: k for k, v in PLATFORM_OF.items()}.get(sys.platform):
        lines.append(say("explain.suffix", python=mine))
    if PLATFORM_OF[binary.format] == host.platform and binary.machine != host.machine:
        lines.append(say("explain.machine", mine=host.machine, machine=binary.machine))
    if found.assumed:
        lines.append(say("explain.assumed", names=found.assumed))
    remedies = [(remedy.why, remedy.command) for remedy in diagnosis.remedies] if diagnosis else []
    return lines, remedies, diagnosis is None


def package_of(path: Path, host: Host) -> str:
    """The package a file belongs to: of those this program uses by its folder, else the distribution whose RECORD lists
    it; "" unknown."""
    parts = path.absolute().parts if not path.is_absolute() and path.exists() else path.parts
    known = next((name for name in KNOWN if name in parts), "")
    if known:
        return known
    for folder in host.site_dirs:
        try:
            relative = path.resolve().relative_to(folder.resolve()).as_posix()
        except (ValueError, OSError):
            continue
        for distribution in host.distributions:
            same = distribution.root == folder and normalise(relative.split("/")[0]) == distribution.name
            if same or (distribution.root == folder and any(row[0] == relative for row in distribution.record())):
                return distribution.name
    return ""
