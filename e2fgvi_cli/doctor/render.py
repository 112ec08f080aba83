"""A report as lines of text, JSON (schema 1) or a Markdown block for issues. Nothing is printed here."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

from .. import __version__
from .facts import STALE_DAYS, facts_age, load_facts
from .head import Row, head_table
from .host import Host
from .model import Remedy, Result, Severity, Status, Text, say
from .redact import Redactor
from .runner import Report
from .texts import render

SCHEMA = 1
MARKS = {
    Status.PASS: ("ok", "ok"),
    Status.WARN: ("warn", "warn"),
    Status.FAIL: ("FAIL", "bad"),
    Status.CRASH: ("crash", "bad"),
    Status.SKIP: ("skip", "dim"),
    Status.BLOCKED: ("wait", "dim"),
}
COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "bad": "\x1b[31m", "dim": "\x1b[2m", "": ""}


@dataclass(frozen=True)
class Line:
    """A line of the report with a mood (ok, warn, bad, dim or "") that a terminal may colour."""

    text: str
    mood: str = ""


class Renderer:
    """One report in one language, redacted unless told otherwise."""

    def __init__(
        self, host: Host, report: Report, language: str, redactor: Redactor | None, today: datetime.date
    ) -> None:
        self.host, self.report, self.language, self.redactor = host, report, language, redactor
        self.age = facts_age(today)

    def words(self, text: Text | str) -> str:
        """A message in the report's language, without private parts."""
        plain = render(text, self.language) if isinstance(text, Text) else text
        return self.redactor.text(plain) if self.redactor else plain

    def title(self) -> list[Line]:
        """Name, age of the facts, system."""
        python = ".".join(str(part) for part in self.host.python)
        lines = [
            Line(self.words(say("report.title", version=__version__, facts=load_facts()["as_of"], age=self.age))),
            Line(
                self.words(say("report.system", os=self.host.os_name, python=python, machine=self.host.machine)), "dim"
            ),
        ]
        if self.age > STALE_DAYS:
            lines.append(Line(self.words(say("report.stale", age=self.age, limit=STALE_DAYS)), "warn"))
        return lines

    def head(self) -> tuple[list[str], list[tuple[list[str], str]]]:
        """The comparison table: column titles, and (cells, mood) for each row."""
        titles = [self.words(say(f"head.{name}")) for name in ("item", "detected", "required", "verdict")]
        return titles, [(self._cells(row), row.mood) for row in head_table(self.host, self.report)]

    def _cells(self, row: Row) -> list[str]:
        return [self.words(cell) for cell in (row.item, row.detected, row.required, row.verdict)]

    def body(self) -> list[Line]:
        """Every check in a line; causes with their proof, dependents and remedies; the verdict last."""
        lines: list[Line] = []
        for result in self.report.results:
            if result.status is Status.BLOCKED or (
                result.status is Status.SKIP and result.severity is not Severity.REQUIRED
            ):
                continue
            lines += self._result(result)
        return [*lines, *self._verdict()]

    def _result(self, result: Result) -> list[Line]:
        mark, mood = MARKS[result.status]
        if mood == "bad" and result not in self.report.roots:
            mark, mood = "warn", "warn"
        lines = [Line(f"{f'[{mark}]':7} {result.id:<22} {self.words(result.outcome.summary)}", mood)]
        if result.status in (Status.PASS, Status.SKIP):
            return lines
        pad = " " * 8
        lines += [Line(pad + self.words(detail), "dim") for detail in result.outcome.details]
        followers = [entry for entry in self.report.results if entry.blocked_by == result.id]
        for entry in followers:
            if entry.outcome.summary.key != "blocked":
                lines.append(
                    Line(pad + self.words(say("report.proof", id=entry.id, summary=entry.outcome.summary)), "dim")
                )
                lines += [Line(pad + "  " + self.words(detail), "dim") for detail in entry.outcome.details]
        if followers:
            lines.append(Line(pad + self.words(say("report.blocks", ids=[entry.id for entry in followers])), "dim"))
        for number, remedy in enumerate(result.outcome.remedies, 1):
            lines += [Line(pad + text) for text in self._remedy(number, remedy)]
        return lines

    def _remedy(self, number: int, remedy: Remedy) -> list[str]:
        text = self.words(say("report.fix", number=number, why=remedy.why))
        if remedy.risk:
            text += " " + self.words(say("report.risk", risk=remedy.risk))
        return [text, *([f"    {self.words(remedy.command)}"] if remedy.command else [])]

    def _verdict(self) -> list[Line]:
        warnings = len(self.report.warnings)
        if self.report.ready:
            note: Text | str = say("report.with_warnings", count=warnings) if warnings else ""
            line = Line(self.words(say("report.ready", note=note)), "warn" if warnings else "ok")
        else:
            roots = self.report.roots or [entry for entry in self.report.results if entry.status is Status.BLOCKED]
            line = Line(self.words(say("report.not_ready", count=len(roots), first=roots[0].id)), "bad")
        return [line, Line(self.words(say("report.paste")), "dim")]

    def text(self, colour: bool = False) -> str:
        """The whole report for a terminal without rich."""
        titles, rows = self.head()
        table = [titles, *(cells for cells, _ in rows)]
        moods = ["dim", *(mood for _, mood in rows)]
        widths = [max(_width(row[column]) for row in table) for column in range(4)]
        lines = self.title()
        for row, mood in zip(table, moods, strict=True):
            padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
            lines.append(Line("  " + "  ".join(padded).rstrip(), mood))
        lines += self.body()
        return "\n".join(_paint(line, colour) for line in lines) + "\n"

    def json(self) -> dict[str, Any]:
        """The report as schema 1 (docs/check-env.schema.json)."""
        rows = self.head()[1]
        system = {
            "os": self.host.os_name,
            "platform": self.host.platform,
            "machine": self.host.machine,
            "python": ".".join(str(part) for part in self.host.python),
            "torch": self.host.torch.version if self.host.torch else None,
            "gpus": [gpu.name for gpu in self.host.gpu.devices],
            "driver": self.host.gpu.driver or None,
        }
        tree = {
            "schema": SCHEMA,
            "tool": f"e2fgvi-cli {__version__}",
            "language": self.language,
            "facts_as_of": load_facts()["as_of"],
            "facts_age_days": self.age,
            "verdict": "ready" if self.report.ready else "not ready",
            "root_causes": [entry.id for entry in self.report.roots],
            "seconds": {"static": round(self.report.static_seconds, 3), "total": round(self.report.seconds, 3)},
            "system": system,
            "comparison": [
                {"item": cells[0], "detected": cells[1], "required": cells[2], "verdict": cells[3], "mood": mood}
                for cells, mood in rows
            ],
            "checks": [self._entry(result) for result in self.report.results],
        }
        plain = json.loads(json.dumps(tree, default=str, ensure_ascii=False))
        return dict(self.redactor.tree(plain)) if self.redactor else dict(plain)

    def _entry(self, result: Result) -> dict[str, Any]:
        outcome = result.outcome
        return {
            "id": result.id,
            "group": result.group,
            "status": result.status.value,
            "severity": result.severity.value,
            "summary": self.words(outcome.summary),
            "details": [self.words(detail) for detail in outcome.details],
            "evidence": {
                name: value if not isinstance(value, Text) else self.words(value)
                for name, value in outcome.evidence.items()
            },
            "cause": outcome.cause or None,
            "blocked_by": result.blocked_by or None,
            "remedy": [
                {
                    "cmd": remedy.command or None,
                    "why": self.words(remedy.why),
                    "risk": self.words(remedy.risk) if remedy.risk else None,
                }
                for remedy in outcome.remedies
            ],
            "refs": load_facts()["refs"].get(outcome.cause, []),
            "ms": result.milliseconds,
        }

    def markdown(self) -> str:
        """A folded block to paste into an issue."""
        titles, rows = self.head()
        table = [titles, ["---"] * 4, *(cells for cells, _ in rows)]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
        body = "\n".join(line.text for line in [*self.title(), *self.body()[:-1]])
        summary = self._verdict()[0].text
        return (
            f"<details><summary>e2fgvi check-env: {summary}</summary>\n\n"
            + "\n".join(lines)
            + f"\n\n```text\n{body}\n```\n\n</details>\n"
        )


def _width(text: str) -> int:
    """Columns a text takes: Chinese characters take two."""
    return sum(2 if "\u2e80" <= char <= "\uffef" else 1 for char in text)


def _paint(line: Line, colour: bool) -> str:
    return f"{COLOURS[line.mood]}{line.text}\x1b[0m" if colour and line.mood else line.text
