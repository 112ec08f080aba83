"""Compiled parts of each package: first replayed from their files, then really imported in a throw-away process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .. import remedies
from ..check import Check
from ..diagnosis import built_line, diagnose
from ..facts import version_tuple
from ..host import Host
from ..loader.built_for import built_for, python_tag
from ..loader.explain import Explanation, explain
from ..loader.model import Flaw, Setting
from ..loader.variable import VARIABLES, find_intruder
from ..messages import OS_OF_PLATFORM, WINDOWS_ERRORS, causes_in
from ..model import Outcome, Remedy, Severity, Status, Text, passed, say, skipped
from ..packages import is_extension
from ..probe import ProbeResult

PACKAGES = ("torch", "torchvision", "numpy", "cv2", "av", "mmcv")
PATTERNS = {
    "torch": ("_C.*",),
    "torchvision": ("_C*",),
    "numpy": ("_core/_multiarray_umath.*", "core/_multiarray_umath.*"),
    "cv2": ("cv2.*", "python-*/cv2.*"),
    "av": ("_core.*", "codec/codec.*", "video/frame.*"),
    "mmcv": ("_ext.*",),
}
USES_TORCH = ("torchvision", "mmcv")
LOADING_CLASS = {"sys.commit": "ext.other.win"}
"""What an import that fails for want of memory is called in the report."""
NUMPY_WARNING = re.compile(r"compiled using NumPy 1\.x|Failed to initialize NumPy|numpy\.dtype size changed")


def extension_files(host: Host, package: str) -> list[Path]:
    """Files of a package that importing it loads, the first pattern that matches; [] if it has none."""
    folder = host.package(package)
    if folder is None:
        return []
    for pattern in PATTERNS[package]:
        found = sorted(path for path in folder.glob(pattern) if is_extension(path))
        if found:
            return found
    return []


def preload_for(host: Host, package: str) -> list[Path]:
    """Libraries that are in the process before an extension of `package` is loaded: torch's, for those that import
    torch."""
    folder = host.package("torch")
    if folder is None:
        return []
    if host.platform == "win32":
        return sorted((folder / "lib").glob("*.dll"))  # torch/__init__.py loads all of them
    first = [folder / "lib" / "libtorch_global_deps.so"] if host.platform == "linux" else []
    return [*first, *extension_files(host, "torch")] if package in USES_TORCH else []


def explain_package(host: Host, package: str) -> list[Explanation]:
    """One explanation for each file this Python would load; on Windows torch's own DLLs as well."""
    files = [path for path in extension_files(host, package) if _fits(host, path)]
    if package == "torch" and host.platform == "win32":
        files += preload_for(host, package)
    return [explain(path, setting_of(host, package), host.library) for path in files]


def setting_of(host: Host, package: str) -> Setting:
    """The process in which extensions of `package` are loaded."""
    return host.setting([] if package == "torch" else preload_for(host, package))


def check_library_path(host: Host) -> Outcome:
    """A library of LD_LIBRARY_PATH that takes the place of one that works: proved by replaying the loading without the
    variable."""
    variable = VARIABLES.get(host.platform, "")
    if not host.environ.get(variable):
        return passed("env.library_path.unset")
    for package in PACKAGES:
        for found in explain_package(host, package):
            intruder = find_intruder(found, setting_of(host, package), host.library)
            if intruder is not None:
                evidence = {"variable": variable, "library": str(intruder.library), "file": str(found.path)}
                summary = say(
                    "env.library_path.bad", name=variable, library=str(intruder.library), file=found.path.name
                )
                fix = remedies.unset_variable(intruder)
                return Outcome(Status.FAIL, summary, evidence, "env.library_path", [], fix)
    return passed("env.library_path.ok", name=variable)


def _fits(host: Host, path: Path) -> bool:
    """True if the interpreter would consider a file of this name: `.so` counts, `.cpython-38-x86_64-linux-gnu.so` may
    not."""
    return not host.suffixes or "." + path.name.partition(".")[2] in host.suffixes


def check_static(host: Host, package: str) -> Outcome:  # noqa: PLR0911 (one exit for each finding)
    """Missing libraries, symbols, versions of a package's extension, without importing it."""
    folder = host.package(package)
    if folder is None:
        if package == "mmcv":
            return skipped("ext.static.no_mmcv")
        fix = [
            Remedy(
                say("remedy.install"),
                f"{remedies.python_command(host)} install {remedies.DISTRIBUTION.get(package, package)}",
            )
        ]
        return Outcome(Status.FAIL, say("ext.static.absent", package=package), {}, "ext.absent", [], fix)
    files = extension_files(host, package)
    usable = [path for path in files if _fits(host, path)]
    if not usable:
        return _no_extension(host, package, files)
    explanations = explain_package(host, package)
    for explanation in explanations:
        diagnosis = diagnose(explanation, host, package)
        if diagnosis is not None:
            return _broken(host, package, explanation, diagnosis)
    facts = built_for(host.library.get(usable[0], host.machine))
    delayed = [fault for explanation in explanations for fault in explanation.faults if fault.delayed]
    evidence = {"files": [str(path) for path in usable], "libraries": sum(len(entry.closure) for entry in explanations)}
    if package == "mmcv" and facts.cpu_only and host.wants_gpu:
        summary = say("ext.static.nogpu", package=package, file=usable[0].name)
        return Outcome(Status.WARN, summary, evidence, "ext.nogpu", [built_line(facts)], remedies.drop_mmcv(host))
    if delayed:
        summary = say("ext.static.delayed", package=package, library=delayed[0].name)
        return Outcome(Status.WARN, summary, evidence, "ext.lib.win", [built_line(facts)])
    summary = say("ext.static.ok", package=package, version=_version(host, package), libraries=evidence["libraries"])
    return Outcome(Status.PASS, summary, evidence, "", [])


def _version(host: Host, package: str) -> str:
    if package == "torch" and host.torch:
        return host.torch.version
    names = (
        [entry.name for entry in host.distributions if entry.name.startswith("opencv")]
        if package == "cv2"
        else [package]
    )
    return host.version(package, names[0] if names else package)


def _no_extension(host: Host, package: str, files: list[Path]) -> Outcome:
    """The package is there, its compiled part is not (or is for another Python: the same ModuleNotFoundError)."""
    fix = (
        remedies.drop_mmcv(host)
        if package == "mmcv"
        else [
            Remedy(
                say("remedy.reinstall", package=package),
                remedies.reinstall(host, package, tag=remedies.torch_tag(host)),
            )
        ]
    )
    mine = ".".join(str(part) for part in host.python[:2])
    if files:
        summary = say("ext.static.other_python", file=str(files[0]), built=python_tag(files[0]), python=mine)
        return Outcome(Status.FAIL, summary, {"files": [str(path) for path in files]}, "ext.absent", [], fix)
    if package == "mmcv":
        major = version_tuple(host.version("mmcv"))[:1]
        key = "ext.static.mmcv_lite" if major >= (2,) or not host.distribution("mmcv-full") else "ext.static.no_file"
        return Outcome(Status.FAIL, say(key, package=package, version=host.version("mmcv")), {}, "ext.absent", [], fix)
    return Outcome(
        Status.FAIL,
        say("ext.static.no_file", package=package, version=_version(host, package)),
        {},
        "ext.absent",
        [],
        fix,
    )


def _broken(host: Host, package: str, explanation: Explanation, diagnosis: Any) -> Outcome:
    details = [say("ext.static.file", file=str(explanation.path)), *diagnosis.details]
    if explanation.binary is not None and not explanation.binary.truncated:
        details.append(built_line(built_for(explanation.binary)))
        details.append(_have_line(host))
    evidence = {
        "file": str(explanation.path),
        "faults": [
            {
                "flaw": fault.flaw.value,
                "name": fault.name,
                "readable": fault.readable,
                "wanted_by": str(fault.consumer),
                "provider": str(fault.provider) if fault.provider else None,
                "searched": [str(folder) for folder in fault.searched],
                "instead": list(fault.instead),
                "delayed": fault.delayed,
            }
            for fault in explanation.faults
        ],
    }
    return Outcome(Status.FAIL, diagnosis.summary, evidence, diagnosis.cause, details, diagnosis.remedies)


def _have_line(host: Host) -> Text:
    python = ".".join(str(part) for part in host.python[:2])
    return say("built.have", python=python, torch=host.torch.version if host.torch else "-", machine=host.machine)


def check_load(host: Host, package: str) -> Outcome:
    """Import in a process of its own and one call into the compiled part."""
    if host.package(package) is None:
        return skipped("skip.not_installed", package=package)
    result = host.probe("load_package", package)
    if result.answer.get("ok") and not result.died:
        return _loaded(host, package, result)
    error = result.answer.get("error")
    if error is None:
        return _died(host, package, result)
    cause = classify(error, host.platform)
    message = str(error["message"]).strip().splitlines()
    line = message[-1] if cause == "numpy.abi" else (message or [""])[0]
    details = [say("ext.load.file", file=error["path"])] if error.get("path") else []
    if error.get("winerror"):
        details.append(say("ext.load.winerror", number=error["winerror"]))
    fix = _load_remedies(host, package, cause)
    summary = say("ext.load.error", package=package, type=error["type"], message=line)
    return Outcome(Status.FAIL, summary, {"error": error, "seconds": round(result.seconds, 1)}, cause, details, fix)


def _loaded(host: Host, package: str, result: ProbeResult) -> Outcome:
    spoken = [*result.answer.get("warnings", []), result.output]
    hit = next((text for text in spoken if NUMPY_WARNING.search(text)), None)
    evidence = {"seconds": round(result.seconds, 1), "warnings": result.answer.get("warnings", [])}
    if hit:
        summary = say("ext.load.numpy_warning", package=package)
        fix = [
            Remedy(
                say("remedy.numpy_rebuild", package=package),
                remedies.reinstall(host, package, tag=remedies.torch_tag(host)),
            )
        ]
        return Outcome(Status.WARN, summary, evidence, "numpy.abi", [], fix)
    return Outcome(Status.PASS, say("ext.load.ok", package=package, seconds=round(result.seconds, 1)), evidence)


def _died(host: Host, package: str, result: ProbeResult) -> Outcome:
    """No answer: a signal, an abort, or the time limit."""
    cause = "ext.timeout" if result.timed_out else "ext.crash"
    if "OMP: Error #15" in result.output:
        cause = "omp.dup"
    elif "cudnn" in result.output.lower() and not result.timed_out:
        cause = "cudnn"
    step = result.answer.get("step", f"import {package}")
    details = [say("ext.load.output", text=result.last_lines())] if result.output.strip() else []
    summary = say("ext.load.died", step=step, reason=result.reason())
    evidence = {"returncode": result.returncode, "seconds": round(result.seconds, 1), "output": result.output[-2000:]}
    return Outcome(Status.FAIL, summary, evidence, cause, details, _load_remedies(host, package, cause))


def _load_remedies(host: Host, package: str, cause: str) -> list[Remedy]:
    if package == "mmcv":
        return remedies.drop_mmcv(host)
    if cause == "ext.timeout":
        return [Remedy(say("remedy.timeout"), "e2fgvi check-env --timeout 180")]
    if cause == "cv2.libgl":
        return remedies.headless_opencv(host)
    if cause in ("tv.mismatch",) or package == "torchvision":
        return [Remedy(say("remedy.pair_torchvision"), remedies.pair_line(host))]
    name = "opencv-python" if package == "cv2" else package
    return [
        Remedy(say("remedy.reinstall", package=name), remedies.reinstall(host, package, tag=remedies.torch_tag(host)))
    ]


def classify(error: dict[str, Any], platform: str) -> str:
    """The failure class of an exception: by its number where it has one (it speaks no language), else by its text."""
    number = error.get("winerror")
    if number in WINDOWS_ERRORS:
        return LOADING_CLASS.get(WINDOWS_ERRORS[number], WINDOWS_ERRORS[number])
    found = causes_in(str(error.get("message", "")), OS_OF_PLATFORM.get(platform, "linux"), loading=True)
    if found:
        return LOADING_CLASS.get(found[0], found[0])
    return "ext.absent" if error.get("type") == "ModuleNotFoundError" else "ext.import"


def _record_of(package: str) -> list[str]:
    """The check of a package's files; mmcv has none, since nobody needs to repair it."""
    return [] if package == "mmcv" else [f"pkg.record:{package}"]


def _static(package: str) -> Check:
    severity = Severity.OPTIONAL if package == "mmcv" else Severity.REQUIRED
    reasons = ["env.library_path", *_record_of(package), "pkg.versions"]
    if package == "torchvision":
        reasons = ["tv.pair", *reasons, "ext.static:torch"]
    elif package == "cv2":
        reasons = ["cv2.one", *reasons]
    elif package == "mmcv":
        reasons = ["env.library_path", "ext.static:torch"]
    run = lambda host: check_static(host, package)  # noqa: E731
    return Check(f"ext.static:{package}", "extensions", severity, run, explained_by=tuple(reasons))


def _load(package: str) -> Check:
    severity = Severity.OPTIONAL if package == "mmcv" else Severity.REQUIRED
    needs = [f"ext.static:{package}", *([] if package in ("numpy", "torch") else ["ext.load:numpy"])]
    if package in USES_TORCH:
        needs.append("ext.load:torch")
    reasons = [
        "sys.shadow",
        "tv.pair",
        "numpy.abi",
        "cv2.one",
        "sys.msvc",
        "pkg.versions",
        *_record_of(package),
        "cudnn.pin",
    ]
    return Check(
        f"ext.load:{package}",
        "extensions",
        severity,
        lambda host: check_load(host, package),
        needs=tuple(needs),
        explained_by=tuple(reasons),
        probe=True,
    )


CHECKS = [
    Check("env.library_path", "extensions", Severity.REQUIRED, check_library_path),
    *(_static(package) for package in PACKAGES),
    *(_load(package) for package in PACKAGES),
]
__all__ = [
    "CHECKS",
    "Flaw",
    "check_load",
    "check_static",
    "classify",
    "explain_package",
    "extension_files",
    "preload_for",
]
