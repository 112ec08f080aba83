"""A report: sections of sentences, tables and diagrams, shown in a terminal or as one HTML page that needs nothing
else.

Knows nothing of what was measured. Whoever measures something makes sections of it (`sections.speed_sections`), and any
number of such lists go into one report.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..system.publication import replace_file

WIDE = 180
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .8rem 0; display: block; overflow-x: auto; }
table { font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8884; text-align: left; white-space: nowrap; }
th { font-weight: 600; } td.number, th.number { text-align: right; }
svg { max-width: 100%; height: auto; margin: .8rem 0; display: block; }
"""


@dataclass(frozen=True)
class Table:
    """Rows of text under headings, all of one length. `left`: so many columns from the left are words, the others
    figures."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


@dataclass(frozen=True)
class Section:
    """A part of a report. `pictures`: SVG, shown in HTML only. brief: also worth showing in a terminal."""

    title: str
    text: tuple[str, ...] = ()
    table: Table | None = None
    pictures: tuple[str, ...] = ()
    brief: bool = True


def print_report(sections: Sequence[Section], *, to_stderr: bool = False) -> None:
    """Every brief section with its table, in a terminal's colours where there are any."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDE  # a file has room
    for section in sections:
        if not section.brief:
            continue
        console.print(Text(section.title, "bold"))
        if section.table is not None:
            shown = RichTable(show_edge=False, pad_edge=False)
            for number, heading in enumerate(section.table.headings):
                shown.add_column(Text(heading), justify="left" if number < section.table.left else "right")
            for row in section.table.rows:
                shown.add_row(*(Text(cell) for cell in row))
            console.print(shown)
        for sentence in section.text:
            console.print(Text(sentence, "dim"))
        console.print()


def render_html(title: str, sections: Sequence[Section]) -> str:
    """The whole report as a page: well-formed XML, no script, nothing loaded from elsewhere."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(sentence)}</p>" for sentence in section.text]
        if section.table is not None:
            parts.append(_html_table(section.table))
        parts += section.pictures
        parts.append("</section>")
    head = (
        '<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en" '
        f'xmlns="http://www.w3.org/1999/xhtml"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
    )


def _html_table(table: Table) -> str:
    def cells(tag: str, row: tuple[str, ...]) -> str:
        kinds = ["" if number < table.left else ' class="number"' for number in range(len(row))]
        return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    rows = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    return f"<table><thead><tr>{cells('th', table.headings)}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"


def check_target(path: Path) -> None:
    """Raise `InputError` if a report could not be written there, before minutes of measuring."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"cannot write {path}: give the name of a file in a folder that exists")


def write_report(path: Path, text: str) -> None:
    """Text to a file that is there completely or not at all. Raises `InputError` where it cannot be written."""
    try:
        replace_file(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; give another name") from error


def to_json(record: dict[str, Any]) -> str:
    """Indented, with no value that JSON does not have. Raises `ValueError` for NaN and infinity."""
    return json.dumps(record, indent=2, allow_nan=False) + "\n"
