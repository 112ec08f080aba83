"""From a loader's fault to its class, its sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from . import remedies
from .binary.demangle import uses_old_strings
from .facts import owner_of
from .host import Host
from .loader.built_for import BuiltFor
from .loader.explain import Explanation
from .loader.model import Fault, Flaw
from .messages import OS_OF_PLATFORM
from .model import Remedy, Text, say

OS_OF_FORMAT = {"pe": "win", "elf": "linux", "macho": "macos"}
MOST_NAMES = 5


@dataclass(frozen=True)
class Diagnosis:
    """One broken file: its failure class, the sentence that matters, every further line, and remedies in order."""

    cause: str
    summary: Text
    details: list[Text]
    remedies: list[Remedy]


def cause_of(fault: Fault, system: str) -> str:  # noqa: PLR0911 (one exit for each class)
    """The failure class of design/check-env.md for one fault on `system` (win, linux, macos)."""
    if fault.flaw in (Flaw.UNREADABLE, Flaw.TRUNCATED, Flaw.WRONG_MACHINE):
        return {"win": "ext.image.win", "macos": "ext.macos"}.get(system, "ext.file")
    if fault.flaw is Flaw.MISSING_VERSION:
        return "ext.version.linux"
    if system == "macos":
        return "ext.macos"
    if fault.flaw is Flaw.MISSING_LIBRARY:
        if owner_of(fault.name) == "gui":
            return "cv2.libgl"
        return f"ext.lib.{system}"
    if uses_old_strings(fault.name) and any("__cxx11" in near for near in fault.instead):
        return "ext.cxx11abi"
    return f"ext.symbol.{system}"


def sentence(fault: Fault, count: int = 1) -> Text:
    """The one line that matters: what is missing, which file wants it, which file should have had it."""
    consumer, provider = fault.consumer.name, fault.provider.name if fault.provider else ""
    if fault.flaw is Flaw.TRUNCATED:
        have, want = fault.name.split(" < ")
        return say("fault.truncated", file=str(fault.provider or fault.consumer), have=have, want=want)
    if fault.flaw is Flaw.UNREADABLE:
        return say("fault.unreadable", file=fault.name, why=fault.detail)
    if fault.flaw is Flaw.WRONG_MACHINE:
        return say("fault.machine", file=str(fault.provider or fault.consumer), have=fault.name, want=fault.detail)
    if fault.flaw is Flaw.MISSING_LIBRARY:
        return say("fault.library", file=consumer, library=fault.name)
    if fault.flaw is Flaw.MISSING_VERSION:
        return say("fault.version", file=consumer, version=fault.name, provider=str(fault.provider))
    key = "fault.symbol" if count == 1 else "fault.symbols"
    where = provider or "?"
    if not fault.provider:
        key = "fault.symbol_nowhere" if count == 1 else "fault.symbols_nowhere"
    return say(key, file=consumer, provider=where, symbol=fault.readable, count=count)


def details_of(explanation: Explanation) -> list[Text]:
    """Every fault on a line of its own, with the file that should have had it and what was found instead."""
    lines: list[Text] = []
    for fault in explanation.faults[:MOST_NAMES]:
        if fault.flaw is Flaw.MISSING_SYMBOL:
            where = str(fault.provider) if fault.provider else say("word.no_library")
            lines.append(say("detail.symbol", symbol=fault.name, readable=fault.readable, provider=where))
            if fault.instead:
                lines.append(say("detail.near", near=fault.instead[0]))
        elif fault.flaw is Flaw.MISSING_LIBRARY:
            lines.append(
                say(
                    "detail.delayed" if fault.delayed else "detail.library",
                    library=fault.name,
                    file=fault.consumer.name,
                )
            )
            if fault.searched:
                lines.append(say("detail.searched", folders=[str(folder) for folder in fault.searched[:8]]))
            if fault.instead:
                lines.append(say("detail.instead", files=list(fault.instead)))
        elif fault.flaw is Flaw.MISSING_VERSION and fault.instead:
            lines.append(say("detail.newest", provider=str(fault.provider), version=fault.instead[0]))
    if len(explanation.faults) > MOST_NAMES:
        lines.append(say("detail.more", count=len(explanation.faults) - MOST_NAMES))
    return lines


def built_line(facts: BuiltFor) -> Text:
    """`built for: CUDA 12 (...) · Python 3.11 · ...`, only what the file tells."""
    parts: list[Text] = [say("built.machine", machine=facts.machine)]
    if facts.python:
        parts.append(say("built.python", python=facts.python))
    if facts.cuda:
        parts.append(say("built.cuda", cuda=facts.cuda))
    if facts.torch:
        parts.append(say("built.torch", torch=facts.torch))
    if facts.abi:
        parts.append(say("built.abi_old" if facts.abi == "old" else "built.abi_new"))
    if facts.gpu:
        parts.append(say("built.gpu", gpu=facts.gpu.label()))
    if facts.cpu_only:
        parts.append(say("built.cpu_only"))
    if facts.minimum_os:
        parts.append(say("built.minimum_os", version=facts.minimum_os))
    if facts.toolchain:
        parts.append(say("built.toolchain", toolchain=facts.toolchain))
    return say("built.line", parts=parts)


def diagnose(explanation: Explanation, host: Host, package: str) -> Diagnosis | None:
    """What is wrong with an extension of `package` and how to repair it; None when nothing fatal is."""
    faults = explanation.fatal
    if not faults:
        return None
    binary = explanation.binary
    system = OS_OF_FORMAT[binary.format] if binary else OS_OF_PLATFORM.get(host.platform, "linux")
    first = faults[0]
    if first.flaw is Flaw.MISSING_LIBRARY:  # an old string ABI beside a missing library is the deeper reason
        first = next((fault for fault in faults if cause_of(fault, system) == "ext.cxx11abi"), first)
    cause = cause_of(first, system)
    same = [fault for fault in faults if fault.flaw is first.flaw]
    return Diagnosis(
        cause=cause,
        summary=sentence(faults[0], len(same) if first is faults[0] else 1),
        details=details_of(explanation),
        remedies=remedies.for_extension(package, cause, first, host),
    )
