"""An evaluation as one page: means, clips from the worst to the best, each with its pictures and its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..report.graphs import line_graph
from ..report.moments import Moment, outstanding
from ..report.page import ViewedFrame, card, heading, page, paragraph, strip, table, viewer
from ..report.pictures import ERROR_GAIN, THUMBNAIL, jpeg
from .album import INPUT, PICTURES, TRUTH, error_layer
from .scores import BY_NAME
from .tables import ARROWS, metrics_in, provenance, shown

MOST_CLIPS = 30
"""Shown with pictures, from the worst on: more make a page that browsers open slowly."""
SHOWN = ("hole_psnr", "hole_ssim", "psnr", "ssim", "e_warp_hole", "flicker", "flicker_excess", "seam", "lpips")
STRIP = 220
LEAST_DROP = 1.5
"""Decibels below the clip's median from which a frame counts as one to look at."""


def render(record: dict[str, Any], folder: Path) -> str:
    """The page of a record, with the pictures that `album` left in `folder`."""
    title = f"Evaluation of {Path(record['settings']['dataset']).name}"
    body = [_means(record)]
    groups = _groups(record["cases"])
    ordered = sorted(groups.items(), key=lambda item: _order(item[1][0]))
    for (kind, clip), cases in ordered[:MOST_CLIPS]:
        body.append(_clip(kind, clip, cases, folder))
    if len(ordered) > MOST_CLIPS:
        rest = ", ".join(f"{clip} ({kind})" for (kind, clip), _ in ordered[MOST_CLIPS:])
        body.append(paragraph(f"Better than these, and only in clips.csv: {rest}.", "quiet"))
    body.append(card([heading("How it was measured"), *(_sentence(line) for line in provenance(record))]))
    body.append(card([heading("Rules"), *(_sentence(rule) for rule in record["rules"])]))
    return page(title, body)


def _sentence(words: str) -> str:
    return paragraph(words[:1].upper() + words[1:] + ".")


def _means(record: dict[str, Any]) -> str:
    means = record["means"]
    metrics = metrics_in(means)
    rows, best = [], []
    for row in means:
        rivals = [other for other in means if other["kind"] == row["kind"]]
        rows.append(
            [row["kind"], row["method"], str(max(row["clips"].values(), default=0))]
            + [shown(row["figures"].get(m.name), m.digits) for m in metrics]
        )
        marked = [False, False, False]
        for metric in metrics:
            known = [metric.merit(v) for r in rivals if (v := r["figures"].get(metric.name)) is not None]
            value = row["figures"].get(metric.name)
            marked.append(value is not None and len(known) > 1 and metric.merit(value) >= max(known))
        best.append(marked)
    head = ["masks", "method", "clips", *(f"{m.title} {ARROWS[m.better]}" for m in metrics)]
    return card([heading("Means"), table(head, rows, words=2, best=best)])


def _groups(cases: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for case in cases:
        found.setdefault((case["kind"], case["clip"]), []).append(case)
    return found


def _order(case: dict[str, Any]) -> float:
    """Worst first: by the first method's PSNR in the hole, perfect ones last."""
    value = case["figures"].get("hole_psnr")
    return float("inf") if value is None else float(value)


def _clip(kind: str, clip: str, cases: list[dict[str, Any]], folder: Path) -> str:
    first = cases[0]
    names = [n for n in SHOWN if any(case["figures"].get(n) is not None for case in cases)]
    head = ["method", *(f"{BY_NAME[n].title} {ARROWS[BY_NAME[n].better]}" for n in names)]
    rows = [[c["method"], *(shown(c["figures"].get(n), BY_NAME[n].digits) for n in names)] for c in cases]
    parts = [heading(f"{clip}, masks {kind}"), table(head, rows)]
    psnr = first["series"]["hole_psnr"]
    names_shown = [INPUT, TRUTH, *(c["method"] for c in cases), *(error_layer(c["method"]) for c in cases)]
    moments = outstanding([None if v is None else -v for v in psnr], "PSNR", least=LEAST_DROP)
    frames = _frames(kind, clip, cases, folder)
    if frames:
        worst = min(range(len(frames)), key=lambda i: _known(psnr[frames[i].index]))
        parts.append(viewer(frames, TRUTH, first["method"], worst))
        strips = {n: p for n in names_shown if (p := _picture(folder, kind, clip, frames[worst].index, n)) is not None}
        parts.append(
            paragraph(f"Frame {frames[worst].index}, with the error of each method times {ERROR_GAIN}:", "quiet")
        )
        parts.append(strip({name: _smaller(data, STRIP) for name, data in strips.items()}))
    series = {case["method"]: case["series"]["hole_psnr"] for case in cases}
    parts.append(
        line_graph(
            "PSNR in the hole, dB",
            series,
            rate=None,
            marks=[moment.frames for moment in moments],
            frames=[frame.index for frame in frames],
            from_zero=False,
        )
    )
    flicker = {case["method"]: case["series"]["flicker"] for case in cases}
    parts.append(line_graph("Flicker, levels", flicker, rate=None))
    if moments:
        places = ", ".join(f"{_stretch(m)} ({-m.value:.1f} dB)" for m in moments)
        parts.append(paragraph(f"Frames to look at: {places}."))
    return card(parts)


def _frames(kind: str, clip: str, cases: list[dict[str, Any]], folder: Path) -> list[ViewedFrame]:
    indices = cases[0].get("pictures", {}).get("frames", [])
    methods = [case["method"] for case in cases]
    wanted = [TRUTH, *methods, INPUT, *(error_layer(method) for method in methods[:1])]
    psnr = cases[0]["series"]["hole_psnr"]
    found = []
    for index in indices:
        layers = {n: data for n in wanted if (data := _picture(folder, kind, clip, index, n)) is not None}
        if not layers:
            continue
        value = psnr[index]
        name = f"frame {index}" + ("" if value is None else f", {value:.1f} dB")
        found.append(ViewedFrame(index, name, layers, _smaller(next(iter(layers.values())), THUMBNAIL)))
    return found


def _picture(folder: Path, kind: str, clip: str, index: int, layer: str) -> bytes | None:
    file = folder / PICTURES / kind / clip / f"{index:05d}" / f"{layer}.jpg"
    return file.read_bytes() if file.is_file() else None


def _smaller(data: bytes, largest: int) -> bytes:
    picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return jpeg(picture[:, :, ::-1], largest)


def _stretch(moment: Moment) -> str:
    return str(moment.first) if moment.first == moment.last else f"{moment.first}-{moment.last}"


def _known(value: float | None) -> float:
    return float("inf") if value is None else value
