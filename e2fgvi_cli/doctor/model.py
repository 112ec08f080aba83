"""What a check answers. Plain data; texts are keys of the catalogue until they are printed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Status(str, enum.Enum):
    """Outcome of one check, as written in the JSON report."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    CRASH = "crash"
    BLOCKED = "blocked"

    @property
    def bad(self) -> bool:
        """True for outcomes that other failures can follow from."""
        return self in (Status.FAIL, Status.CRASH, Status.BLOCKED)


class Severity(str, enum.Enum):
    """What a failure means: REQUIRED makes the verdict "not ready", OPTIONAL and ADVICE are warnings, INFO is
    neither."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    ADVICE = "warn"
    INFO = "info"


@dataclass(frozen=True)
class Text:
    """A key of the catalogue with its values; values may be Texts themselves."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)


def say(key: str, **values: Any) -> Text:
    """A message of the catalogue. The values fill its placeholders."""
    return Text(key, values)


@dataclass(frozen=True)
class Remedy:
    """Something to do, cheapest first in a list. `command` may be empty where there is nothing to type."""

    why: Text
    command: str = ""
    risk: Text | None = None


@dataclass
class Outcome:
    """What a check found. `cause` is the failure class of design/check-env.md (`ext.symbol.win`), "" when all is
    well."""

    status: Status
    summary: Text
    evidence: dict[str, Any] = field(default_factory=dict)
    cause: str = ""
    details: list[Text] = field(default_factory=list)
    remedies: list[Remedy] = field(default_factory=list)


@dataclass
class Result:
    """A check's outcome in the report."""

    id: str
    group: str
    severity: Severity
    outcome: Outcome
    blocked_by: str = ""
    milliseconds: int = 0

    @property
    def status(self) -> Status:
        """The outcome's status."""
        return self.outcome.status


def passed(key: str, **values: Any) -> Outcome:
    """A pass; `evidence` is taken from the values."""
    return Outcome(Status.PASS, say(key, **values), {name: _plain(value) for name, value in values.items()})


def skipped(key: str, **values: Any) -> Outcome:
    """A check that does not apply here."""
    return Outcome(Status.SKIP, say(key, **values))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
