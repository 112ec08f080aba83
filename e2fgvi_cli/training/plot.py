"""Curves of a run from its log: one page of SVG for a browser, one PNG for everything else. No plotting package is
needed for five curves."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import InputError
from ..system.publication import replace_file
from .state import read_log

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 28, 34
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
Point = tuple[float, float]


@dataclass
class Panel:
    """One diagram: series of (minutes, value) by name; `dashed` names are baselines; `logarithmic` in y."""

    title: str
    unit: str
    series: dict[str, list[Point]] = field(default_factory=dict)
    dashed: frozenset[str] = frozenset()
    logarithmic: bool = False

    def add(self, name: str, minutes: float, value: float) -> None:
        """One more point; what is not finite, or not positive on a logarithmic axis, is left out."""
        if math.isfinite(value) and (value > 0 or not self.logarithmic):
            self.series.setdefault(name, []).append((minutes, value))

    def scale(self) -> _Scale:
        """The axes that hold every point."""
        points = [p for series in self.series.values() for p in series]
        ys = [math.log10(y) if self.logarithmic else y for _, y in points]
        low, high = min(ys), max(ys)
        margin = (high - low) * 0.05 or max(abs(high) * 0.05, 1e-6)
        right = max(x for x, _ in points) or 1e-9
        return _Scale(right, low - margin, high + margin, self.logarithmic)


@dataclass(frozen=True)
class _Scale:
    right: float
    low: float
    high: float
    logarithmic: bool

    def place(self, point: Point) -> Point:
        """Pixel coordinates of (minutes, value)."""
        x, y = point[0], math.log10(point[1]) if self.logarithmic else point[1]
        return (
            LEFT + x / self.right * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM),
        )

    def ticks(self) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
        """(pixel, label) of the ticks of x and of y."""
        xs = [i / 4 * self.right for i in range(5)]
        ys = [self.low + i / 4 * (self.high - self.low) for i in range(5)]
        labels = [10**y if self.logarithmic else y for y in ys]
        return (
            [(self.place((x, labels[0]))[0], f"{x:.3g}") for x in xs],
            [(self.place((0, y))[1], f"{y:.3g}") for y in labels],
        )


def panels(log: Iterable[dict[str, Any]]) -> list[Panel]:
    """What a log has to show: held-out quality, losses, gradient norm and rate, speed. Raises InputError for an empty
    log."""
    quality = [
        Panel(f"Held out, {kind} holes: PSNR in the hole", "dB", dashed=frozenset(("telea", "median")))
        for kind in ("still", "drifting")
    ]
    losses = Panel("Losses (mean between log lines)", "", logarithmic=True)
    norm = Panel("Gradient norm before clipping", "", logarithmic=True)
    rate = Panel("Learning rate", "")
    speed = Panel("Speed", "samples/s")
    for entry in log:
        minutes = float(entry.get("seconds", 0)) / 60
        if entry.get("event") == "validation":
            for panel, kind in zip(quality, ("still", "drifting"), strict=True):
                for method in ("network", "telea", "median"):
                    panel.add(method, minutes, float(entry.get(f"{kind}/{method}/hole_psnr", math.nan)))
        if entry.get("event") == "log":
            for key, value in entry.items():
                if key.startswith("loss/") and key != "loss/adversarial":
                    losses.add(key.removeprefix("loss/"), minutes, float(value))
            norm.add("norm", minutes, float(entry["gradient_norm"]))
            rate.add("rate", minutes, float(entry["learning_rate"]))
            speed.add("speed", minutes, float(entry["samples_per_second"]))
    found = [panel for panel in (*quality, losses, norm, rate, speed) if panel.series]
    if not found:
        raise InputError("the log has no figures yet: nothing to plot")
    return found


def plot(run: Path) -> tuple[Path, Path]:
    """Write curves.html and curves.png into the run's folder. Raises InputError if there is nothing to draw."""
    drawn = panels(read_log(run))
    folder = run if run.is_dir() else run.parent
    page, picture = folder / "curves.html", folder / "curves.png"
    replace_file(page, _page(folder.name, drawn))
    replace_file(picture, cv2.imencode(".png", np.concatenate([_raster(p) for p in drawn]))[1].tobytes())
    return page, picture


def _page(title: str, drawn: list[Panel]) -> str:
    body = "\n".join(_svg(panel) for panel in drawn)
    style = "body{font:13px sans-serif;margin:2em} svg{display:block;margin:1em 0} text{font:11px sans-serif;fill:#333}"
    name = html.escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><h1>{name}</h1>\n{body}\n</body></html>\n'


def _svg(panel: Panel) -> str:
    scale = panel.scale()
    xs, ys = scale.ticks()
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    unit = f" ({panel.unit})" if panel.unit else ""
    out = [
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f'<text x="{LEFT}" y="16" font-weight="bold">{html.escape(panel.title + unit)}</text>',
        f'<text x="{right}" y="{HEIGHT - 4}" text-anchor="end">minutes</text>',
    ]
    out += [f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{label}</text>' for x, label in xs]
    for y, label in ys:
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for i, (name, points) in enumerate(panel.series.items()):
        colour = COLOURS[i % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if name in panel.dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(scale.place, points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')
        out += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>'
            for x, y in map(scale.place, points)
            if len(points) < 40
        ]
        label = html.escape(f"{name} {points[-1][1]:.4g}")
        out.append(f'<text x="{right + 10}" y="{TOP + 14 * (i + 1)}" style="fill:{colour}">{label}</text>')
    return "\n".join([*out, "</svg>"])


def _raster(panel: Panel) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The same as a picture (HEIGHT, WIDTH, 3) BGR."""
    scale = panel.scale()
    xs, ys = scale.ticks()
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def write(text: str, x: float, y: float, colour: tuple[int, ...] = (60, 60, 60)) -> None:
        cv2.putText(image, text, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)

    write(panel.title + (f" ({panel.unit})" if panel.unit else ""), LEFT, 16)
    for x, label in xs:
        write(label, x - 8, HEIGHT - BOTTOM + 15)
    for y, label in ys:
        cv2.line(image, (LEFT, int(y)), (WIDTH - RIGHT, int(y)), (220, 220, 220), 1)
        write(label, 4, y + 4)
    write("minutes", WIDTH - RIGHT - 40, HEIGHT - 4)
    for i, (name, points) in enumerate(panel.series.items()):
        colour = tuple(int(COLOURS[i % len(COLOURS)][k : k + 2], 16) for k in (5, 3, 1))
        line = np.array([scale.place(p) for p in points], np.float64)
        # A baseline is drawn thin; OpenCV has no dashes.
        width = 1 if name in panel.dashed else 2
        cv2.polylines(image, [np.rint(line * 16).astype(np.int32)], False, colour, width, cv2.LINE_AA, shift=4)
        write(f"{name} {points[-1][1]:.4g}", WIDTH - RIGHT + 10, TOP + 14 * (i + 1), colour)
    return image
