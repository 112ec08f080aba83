"""Whether an environment variable is at fault: the replay of a loading without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .explain import Explanation, explain
from .model import Library, Setting

VARIABLES = {"linux": "LD_LIBRARY_PATH", "darwin": "DYLD_LIBRARY_PATH"}


@dataclass(frozen=True)
class Intruder:
    """A library that `variable` brought in, first of those of another file than without it."""

    variable: str
    library: Path


def find_intruder(found: Explanation, setting: Setting, library: Library) -> Intruder | None:
    """The library that `found`'s faults come from, if they are gone without the variable that names its folder; else
    None."""
    variable = VARIABLES.get(setting.platform, "")
    folders = [Path(part) for part in setting.environ.get(variable, "").replace(";", ":").split(":") if part]
    if not found.fatal or not folders or not setting.native:
        return None
    without = {name: value for name, value in setting.environ.items() if name != variable}
    other = explain(found.path, replace(setting, environ=without), library)
    if other.fatal:
        return None
    usual = set(other.closure)
    taken = [path for path in found.closure if path.parent in folders and path not in usual]
    return Intruder(variable, taken[0]) if taken else None
