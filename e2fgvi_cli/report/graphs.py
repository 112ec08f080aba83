"""Lines along time as inline SVG, coloured by the page's style, so that they follow light and dark."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 130, 46, 22, 18
MOST_POINTS = 800
"""Of a line: of longer ones every point stands for the value furthest from the mean of its stretch."""

Values = Sequence[float | None]


def line_graph(
    title: str,
    series: Mapping[str, Values],
    *,
    rate: float | None,
    marks: Sequence[tuple[int, int]] = (),
    frames: Sequence[int] = (),
    from_zero: bool = True,
) -> str:
    """One graph of values a frame; None breaks a line. marks: stretches (first, last frame) to tint; frames: those
    that the viewer beside it has, to click. from_zero: 0 is in it.
    rate: frames a second, for times below; None shows numbers."""
    count = max((len(values) for values in series.values()), default=0)
    known = [value for values in series.values() for value in values if value is not None]
    if not known or count < 2:
        return ""
    low, high = min(known), max(known)
    if from_zero:
        low = min(0.0, low)
    if high - low < 1e-9:
        high = low + 1.0
    inner = HEIGHT - TOP - BOTTOM

    def x(frame: float) -> float:
        return LEFT + (WIDTH - LEFT - 4) * frame / (count - 1)

    def y(value: float) -> float:
        return TOP + inner * (1 - (value - low) / (high - low))

    parts = [f'<text class="name" x="{LEFT}" y="13">{html.escape(title)}</text>']
    for value in dict.fromkeys((high, 0.0, low) if low <= 0 <= high else (high, low)):
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 4}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        if value or min(y(0.0) - y(high), y(low) - y(0.0)) > 12 or value in (low, high):
            parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{_label(value)}</text>')
    for first, last in marks:
        start, end = x(max(first - 0.5, 0)), x(min(last + 0.5, count - 1))
        parts.append(
            f'<rect class="mark" x="{start:.1f}" y="{TOP}" width="{max(end - start, 2):.1f}" height="{inner}"/>'
        )
    for number, (name, values) in enumerate(series.items()):
        parts += [f'<path class="line s{number % 5}" d="{line}"/>' for line in _lines(values, x, y)]
        if len(series) > 1:
            side = LEFT + 230 + 120 * number
            parts.append(f'<text class="s{number % 5}" x="{side}" y="13">{html.escape(name)}</text>')
    for frame in frames:
        parts.append(
            f'<a data-frame="{frame}" href="#"><title>frame {frame}</title><line x1="{x(frame):.1f}" '
            f'x2="{x(frame):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke-width="1.5"/>'
            f'<rect x="{x(frame) - 5:.1f}" y="{TOP}" width="10" height="{inner}" fill="transparent"/></a>'
        )
    for place, anchor in ((0.0, "start"), ((count - 1) / 2, "middle"), (float(count - 1), "end")):
        parts.append(f'<text x="{x(place):.1f}" y="{HEIGHT - 3}" text-anchor="{anchor}">{clock(place, rate)}</text>')
    named = f"{html.escape(title)}, {count} frames"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{named}">{"".join(parts)}</svg>'


def clock(frame: float, rate: float | None) -> str:
    """Minutes and seconds of a frame, or its number."""
    if not rate:
        return f"frame {int(frame)}"
    seconds = frame / rate
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _label(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 20 or value == 0 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


def _lines(values: Values, x: object, y: object) -> list[str]:
    """Path data, one a stretch without gaps."""
    assert callable(x)
    assert callable(y)
    step = -(-len(values) // MOST_POINTS)
    found: list[list[str]] = [[]]
    for start in range(0, len(values), step):
        part = [(i, v) for i, v in enumerate(values[start : start + step], start) if v is not None]
        if not part:
            found.append([])
            continue
        mean = sum(v for _, v in part) / len(part)
        frame, value = max(part, key=lambda point: abs(point[1] - mean))
        found[-1].append(f"{x(frame):.1f} {y(value):.1f}")
    # A lone point is drawn as a short line.
    return [f"M{' L'.join(line)}" if len(line) > 1 else f"M{line[0]} h2" for line in found if line]
