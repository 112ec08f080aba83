"""The parts of a page: head and style, wipe viewers, tables. HTML in strings; every word of others is escaped."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STATIC = Path(__file__).parent / "static"
_KEYS = (
    "<kbd>←</kbd> <kbd>→</kbd> wipe, <kbd>,</kbd> <kbd>.</kbd> frame, <kbd>1</kbd>-<kbd>9</kbd> right layer, "
    "<kbd>j</kbd> <kbd>k</kbd> next and last clip"
)


@dataclass(frozen=True)
class ViewedFrame:
    """A frame of a viewer. layers: JPEG bytes by name; the first two are shown first. index: of the clip's frame."""

    index: int
    name: str
    layers: Mapping[str, bytes]
    thumbnail: bytes


def page(title: str, body: Iterable[str]) -> str:
    """The whole page. It loads nothing: its policy forbids that."""
    style, script = ((_STATIC / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title><style>{style}</style></head>\n<body>\n'
        f'<header><h1>{html.escape(title)}</h1><button id="theme" type="button">light / dark</button></header>\n'
        f'<p class="quiet">{_KEYS}</p>\n' + "\n".join(body) + f"\n<script>{script}</script>\n</body></html>\n"
    )


def viewer(frames: Sequence[ViewedFrame], left: str, right: str, start: int = 0) -> str:
    """Frames to be wiped between two of their layers, which are chosen below. start: the one shown first."""
    names = list(dict.fromkeys(name for frame in frames for name in frame.layers))
    stored = [
        {"index": f.index, "name": f.name, "layers": {n: data_uri(picture) for n, picture in f.layers.items()}}
        for f in frames
    ]
    # "<" would let a name end the script.
    text = json.dumps(stored).replace("<", "\\u003c")

    def choice(label: str, chosen: str) -> str:
        options = "".join(
            f"<option{' selected' if name == chosen else ''}>{html.escape(name)}</option>" for name in names
        )
        return f"<label>{label} <select>{options}</select></label>"

    thumbs = "".join(
        f'<button type="button"><img alt="" src="{data_uri(f.thumbnail)}"><span>{html.escape(f.name)}</span></button>'
        for f in frames
    )
    return (
        f'<figure class="viewer" data-start="{start}"><div class="stage">'
        '<img class="left" alt=""><img class="right" alt=""><i></i>'
        '<b class="l"></b><b class="r"></b></div>'
        '<input type="range" min="0" max="100" step="0.5" value="50" aria-label="wipe">'
        f'<div class="controls">{choice("left", left)}{choice("right", right)}</div><div class="thumbs">{thumbs}</div>'
        f'<script type="application/json">{text}</script></figure>'
    )


def strip(pictures: Mapping[str, bytes]) -> str:
    """Small pictures (JPEG) beside each other, named below."""
    figures = "".join(
        f'<figure><img alt="" src="{data_uri(one)}"><figcaption>{html.escape(name)}</figcaption></figure>'
        for name, one in pictures.items()
    )
    return f'<div class="strip">{figures}</div>'


def data_uri(jpeg: bytes) -> str:
    """A picture for a page that has nothing beside it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def card(parts: Iterable[str]) -> str:
    """A part of the page that the keys j and k stop at."""
    return f'<section class="card" tabindex="-1">{"".join(parts)}</section>'


def paragraph(text: str, kind: str = "") -> str:
    """Plain words."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{html.escape(text)}</p>"


def heading(text: str) -> str:
    """Of a section."""
    return f"<h2>{html.escape(text)}</h2>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, best: Sequence[Sequence[bool]] = ()
) -> str:
    """Text in cells; the first `words` columns are words, the others figures. best: cells to print bold."""
    marked = list(best)

    def line(tag: str, cells: Sequence[str], bold: Sequence[bool]) -> str:
        shown = []
        for number, cell in enumerate(cells):
            kinds = ["number"] if number >= words else []
            kinds += ["best"] if number < len(bold) and bold[number] else []
            kind = f' class="{" ".join(kinds)}"' if kinds else ""
            shown.append(f"<{tag}{kind}>{html.escape(cell)}</{tag}>")
        return f"<tr>{''.join(shown)}</tr>"

    body = "".join(line("td", row, marked[i] if i < len(marked) else ()) for i, row in enumerate(rows))
    return f'<div class="scroll"><table><thead>{line("th", head, ())}</thead><tbody>{body}</tbody></table></div>'


def facts(rows: Mapping[str, str]) -> str:
    """Names and values, long ones wrapped."""
    cells = "".join(
        f'<tr><th>{html.escape(name)}</th><td class="wrap">{html.escape(value)}</td></tr>'
        for name, value in rows.items()
        if value
    )
    return f"<table><tbody>{cells}</tbody></table>"
