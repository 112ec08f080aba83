"""The dated table of releases, drivers and architectures that ships with the program (`facts.json`).

It ages: what a wheel says of itself always wins over it, its date is printed, and past `STALE_DAYS` that is a warning.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from pathlib import Path
from typing import Any

STALE_DAYS = 180


@functools.lru_cache(maxsize=1)
def load_facts() -> dict[str, Any]:
    """The whole table, read once. Raises OSError or ValueError if the installation is damaged."""
    with open(Path(__file__).with_name("facts.json"), encoding="utf-8") as handle:
        facts: dict[str, Any] = json.load(handle)
    return facts


def facts_age(today: datetime.date) -> int:
    """Days between the table's date and `today` (never negative: clocks can be wrong)."""
    return max(0, (today - datetime.date.fromisoformat(load_facts()["as_of"])).days)


def version_tuple(text: str) -> tuple[int, ...]:
    """(2, 8, 0) of `2.8.0+cu126`, `2.8.0rc1` or `560.94`; stops at the first part that is not a number."""
    parts: list[int] = []
    for part in text.split("+", maxsplit=1)[0].split("."):
        digits = ""
        for char in part:
            if not char.isdigit():
                break
            digits += char
        if not digits:
            break
        parts.append(int(digits))
        if digits != part:
            break
    return tuple(parts)


def required_driver(cuda: str, platform: str) -> tuple[str | None, str | None]:
    """(driver that works at all, driver the toolkit was released with) for CUDA `12.6` on "linux" or "win32".

    Within one CUDA major version older drivers of that major work (minor-version compatibility); 10.x has none.
    None where the table does not know.
    """
    table = load_facts()["cuda_drivers"]
    column = "windows" if platform == "win32" else "linux"
    major = cuda.split(".", maxsplit=1)[0]
    floor = table["floors"].get(major, {}).get(column)
    toolkit = table["toolkits"].get(".".join(cuda.split(".")[:2]), {}).get(column)
    return floor or toolkit, toolkit


def torch_release(version: str) -> dict[str, Any] | None:
    """The table's row for torch `2.8.0+cu126` (by major.minor), None for unknown releases."""
    row: dict[str, Any] | None = load_facts()["torch"].get(".".join(version.split("+", maxsplit=1)[0].split(".")[:2]))
    return row


def tag_capabilities(tag: str, torch_version: str) -> list[float] | None:
    """Compute capabilities in the official wheels of one index tag (`cu126`) for one torch, None if unknown."""
    minor = version_tuple(torch_version)[:2]
    for row in load_facts()["wheel_architectures"]:
        low, high = version_tuple(row["from"]), version_tuple(row["to"])
        if tag in row["tags"] and low <= minor <= high:
            capabilities: list[float] = row["capabilities"]
            return capabilities
    return None


def covers(capabilities: list[float], gpu: tuple[int, int]) -> bool:
    """True if machine code for X.z with z <= y is among them for a GPU of capability X.y."""
    return any(int(value) == gpu[0] and round(value * 10) % 10 <= gpu[1] for value in capabilities)


def owner_of(library: str) -> str:
    """Who ships a library: `cuda`, `torch`, `gui`, ... of facts.json; "" if unknown."""
    lower = library.rsplit("/", 1)[-1].lower()
    return next(
        (owner for pattern, owner in load_facts()["owners"] if re.search(f"(?:^|[^a-z])(?:lib)?(?:{pattern})", lower)),
        "",
    )
