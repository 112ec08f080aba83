"""From an exception at start-up to the one line that matters."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checks.extensions import PACKAGES, classify, explain_package, extension_files, preload_for, setting_of
from .diagnosis import diagnose
from .host import GpuReport, Host
from .loader.explain import explain
from .loader.variable import find_intruder
from .model import Text, say
from .texts import choose_language, render

FILE_IN_TEXT = re.compile(
    r"(?:Error loading \"([^\"]+)\"|^([^\s:'\"]+\.(?:so|pyd|dylib|dll)[\w.]*): |dlopen\(([^,]+),)", re.MULTILINE
)
RUNTIME_CAUSES = frozenset({"tv.mismatch", "numpy.abi", "cv2.conflict", "ext.nogpu"})
USED = (*PACKAGES, "safetensors", "tqdm", "typer", "rich", "yaml")
NO_GPU_CODE = re.compile(r"implementation for device cuda(?::\d+)? not found|no kernel image is available")


def diagnose_exception(exc: BaseException) -> str | None:
    """One line for the deepest cause that is about the environment, None if there is none."""
    chain = list(_chain(exc))
    for error in reversed(chain):
        line = _line(error)
        if line is not None:
            language = choose_language("auto", os.environ, getattr(sys.stderr, "encoding", None) or "utf-8")
            return render(say("startup.line", what=line), language)
    return None


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def _line(error: BaseException) -> Text | str | None:
    message = next((text.strip() for text in str(error).splitlines() if text.strip()), "")
    facts: dict[str, Any] = {
        "message": str(error),
        "type": type(error).__name__,
        "winerror": getattr(error, "winerror", None),
    }
    cause = classify(facts, sys.platform)
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").split(".")[0]
        return say("startup.missing", name=name, message=message) if name in USED else None
    if isinstance(error, ImportError) or (isinstance(error, OSError) and FILE_IN_TEXT.search(str(error))):
        return _static_line(error) or f"{type(error).__name__}: {message}"
    if cause in RUNTIME_CAUSES:
        return f"{type(error).__name__}: {message}"
    return say("startup.gpu", message=message) if NO_GPU_CODE.search(str(error)) else None


def _static_line(error: BaseException) -> Text | None:
    """What the files say: of the one the exception names first, then of the package it belongs to."""
    host = Host.detect()
    host.gpu_report = GpuReport()  # no question to the driver now: this must be quick
    path = file_of(error)
    package = _package_of(error, path)
    with host.library:
        explanations = []
        if path is not None and path.is_file():
            preload = [] if package == "torch" else preload_for(host, package)
            explanations.append(explain(path, host.setting(preload), host.library))
        if package in PACKAGES and path not in extension_files(host, package):
            explanations += explain_package(host, package)
        for explanation in explanations:
            diagnosis = diagnose(explanation, host, package)
            intruder = find_intruder(explanation, setting_of(host, package), host.library)
            if intruder is not None:
                values = {"name": intruder.variable, "library": str(intruder.library), "file": explanation.path.name}
                return say("startup.variable", **values)
            if diagnosis is not None:
                return say("startup.broken", package=package or explanation.path.name, what=diagnosis.summary)
    return None


def file_of(error: BaseException) -> Path | None:
    """The library an exception is about: `ImportError.path`, or the path in its text."""
    path = getattr(error, "path", None)
    if isinstance(path, str) and path.endswith((".so", ".pyd", ".dylib", ".dll")):
        return Path(path)
    found = FILE_IN_TEXT.search(str(error))
    return Path(next(group for group in found.groups() if group)) if found else None


def _package_of(error: BaseException, path: Path | None) -> str:
    parts = path.parts if path else ()
    known = next((part for part in reversed(parts) if part in PACKAGES), "")
    name = (getattr(error, "name", None) or "").split(".")[0]
    return known or (name if name in PACKAGES else "")
