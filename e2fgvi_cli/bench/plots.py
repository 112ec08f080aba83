"""Diagrams as SVG text that stands in a page by itself: no script, no style sheet, a title for those who cannot see
it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 760
LABELS = 290
BAR, GAP = 18, 8
COLOURS = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#b83280", "#718096")


@dataclass(frozen=True)
class Bar:
    """A row of a bar diagram: parts one after the other, each with a name from the legend. `value`: text at the end."""

    label: str
    parts: tuple[tuple[str, float], ...]
    value: str

    @property
    def total(self) -> float:
        """Length of the row."""
        return sum(length for _, length in self.parts)


@dataclass(frozen=True)
class Point:
    """A point of a roofline diagram: operations a byte, operations a second. `group` is in the legend."""

    label: str
    group: str
    intensity: float
    rate: float


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars on one linear scale from 0; a legend where rows have several parts. `rows` is not empty."""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.parts))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    longest = max(row.total for row in rows) or 1.0
    scale = (WIDTH - LABELS - 130) / longest
    out, y = [], 30
    if len(names) > 1:
        out += _legend(colours, y)
        y += 24
    for row in rows:
        out.append(_text(LABELS - 8, y + 13, row.label, anchor="end"))
        x = float(LABELS)
        for name, length in row.parts:
            width = length * scale
            out.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colours[name]}">'
                f"<title>{html.escape(f'{row.label}: {name}')}</title></rect>"
            )
            x += width
        out.append(_text(x + 6, y + 13, row.value))
        y += BAR + GAP
    return _svg(title, y + 4, out)


def roofline(title: str, points: Sequence[Point], peaks: dict[str, float], copy: float) -> str:
    """Points under the roofs min(peak, copy * intensity), both axes logarithmic. `points` and `peaks` are not empty."""
    height, left, right, top, bottom = 400, 70, 270, 40, 50
    low_x, high_x = _decades([p.intensity for p in points] + [peak / copy for peak in peaks.values()])
    low_y, high_y = _decades([p.rate for p in points] + list(peaks.values()))

    def x(intensity: float) -> float:
        return left + (math.log10(intensity) - low_x) / (high_x - low_x) * (WIDTH - left - right)

    def y(rate: float) -> float:
        return height - bottom - (math.log10(rate) - low_y) / (high_y - low_y) * (height - top - bottom)

    out = []
    for decade in range(low_x, high_x + 1):
        out += [
            _line(x(10**decade), top, x(10**decade), height - bottom, "#8884"),
            _tick(x(10**decade), height - 32, decade),
        ]
    for decade in range(low_y, high_y + 1):
        out += [
            _line(left, y(10**decade), WIDTH - right, y(10**decade), "#8884"),
            _tick(left - 8, y(10**decade) + 4, decade, "end"),
        ]
    out.append(_text((left + WIDTH - right) / 2, height - 12, "operations a byte", anchor="middle"))
    out.append(_text(8, top - 8, "operations a second"))
    for peak in peaks.values():
        start = max(10.0**low_x, 10.0**low_y / copy)
        knee = min(max(peak / copy, start), 10.0**high_x)
        corners = [(start, copy * start), (knee, min(peak, copy * knee)), (10.0**high_x, peak)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in corners)
        out.append(f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.4"/>')
    above = float(height)
    for name, peak in sorted(peaks.items(), key=lambda item: item[1]):
        above = min(y(peak) + 4, above - 14)  # roofs may be close together, their names may not
        out.append(_text(WIDTH - right + 6, above, name))
    groups = list(dict.fromkeys(p.group for p in points))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(groups)}
    for p in points:
        out.append(
            f'<circle cx="{x(p.intensity):.1f}" cy="{y(p.rate):.1f}" r="4.5" fill="{colours[p.group]}">'
            f"<title>{html.escape(f'{p.group}: {p.label}')}</title></circle>"
        )
        out.append(_text(x(p.intensity) + 7, y(p.rate) + 3, p.label, size=9))
    for i, (name, colour) in enumerate(colours.items()):
        place = height - bottom - 16 * (len(colours) - i)
        out.append(f'<circle cx="{WIDTH - right + 12}" cy="{place - 4}" r="4.5" fill="{colour}"/>')
        out.append(_text(WIDTH - right + 22, place, name))
    return _svg(title, height, out)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Powers of ten around all values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _legend(colours: dict[str, str], y: float) -> list[str]:
    out, x = [], float(LABELS)
    for name, colour in colours.items():
        out.append(f'<rect x="{x:.1f}" y="{y}" width="12" height="12" fill="{colour}"/>')
        out.append(_text(x + 17, y + 11, name))
        x += 32 + 7 * len(name)
    return out


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{html.escape(text)}</text>'


def _tick(x: float, y: float, decade: int, anchor: str = "middle") -> str:
    power = f'<tspan dy="-5" font-size="9">{decade}</tspan>'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">10{power}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _svg(title: str, height: float, content: Sequence[str]) -> str:
    name = html.escape(title)
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img" '
        'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
        f'<title>{name}</title><text x="0" y="16" font-weight="bold">{name}</text>'
    )
    return "\n".join([head, *content, "</svg>"])
