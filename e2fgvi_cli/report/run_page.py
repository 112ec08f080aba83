"""The page of one run: where its fill is from, which seconds to look at, how it was made."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from ..types import Summary
from .collector import ORIGIN, RESULT, SOURCE, Collector, Origins
from .graphs import clock, line_graph
from .moments import Moment, outstanding
from .page import card, facts, heading, page, paragraph, viewer

LEAST_FLICKER, LEAST_SEAM, LEAST_UNSEEN = 1.5, 3.0, 0.1
"""Levels, levels and share above the clip's median from which seconds are worth a look."""
WORTH_SAYING = 0.01
"""Share of the hole that is never shown, from which it is said."""


def render_run(collected: Collector, summary: Summary, settings: Mapping[str, str], video: Path) -> str:
    """The page, from all that was collected."""
    origins = collected.origins()
    rate = _rate(collected.times)
    moments = [
        *outstanding(collected.flicker, "flickers", least=LEAST_FLICKER),
        *outstanding(collected.seam, "edge shows", least=LEAST_SEAM),
        *outstanding(collected.never, "not shown in any frame", least=LEAST_UNSEEN),
    ]
    frames = collected.viewed()
    shown = [frame.index for frame in frames]
    body = [card([paragraph(verdict(origins, summary.filled), "verdict"), *_origin(origins, summary.filled)])]
    body.append(card([heading("Seconds to look at"), _moments(moments, shown, collected)]))
    if frames:
        body.append(card([heading("Before and after"), viewer(frames, SOURCE, RESULT), _key(origins, ORIGIN)]))
    graphs = (
        ("Flicker of the hole against its surroundings, levels", collected.flicker, "flickers", 1.0),
        ("Seam: step at the edge against steps beside it, levels", collected.seam, "edge shows", 1.0),
        ("Never shown, % of the hole", collected.never, "not shown in any frame", 100.0),
        ("Propagated, % of the hole", collected.propagated, "", 100.0),
        ("Hole, % of the frame", collected.share, "", 100.0),
    )
    lines = [
        line_graph(
            title,
            {title: [None if value is None else value * factor for value in values]},
            rate=rate,
            marks=[moment.frames for moment in moments if moment.why == why],
            frames=shown,
        )
        for title, values, why, factor in graphs
    ]
    body.append(card([heading("Along time"), *lines, paragraph(_EXPLAINED, "quiet")]))
    body.append(card([heading("How it was made"), facts({**_made(summary), **settings})]))
    return page(f"{video.name} → {Path(summary.output).name}", body)


_EXPLAINED = (
    "No truth is known here. Flicker and seam are 0 where the fill behaves as what is around it, and below 0 where it "
    "is steadier or smoother, as a blur is. A dotted line is a frame shown above."
)


def verdict(origins: Origins, filled: int) -> str:
    """The one sentence."""
    if not filled:
        return "No frame has a hole: nothing was filled."
    if origins.never >= WORTH_SAYING:
        return f"{percent(origins.never)} of the hole is never shown in any frame: expect invention there."
    return "Nearly all of the hole is shown in some frame."


def percent(share: float) -> str:
    """In whole percent."""
    return f"{100 * share:.0f} %"


def _origin(origins: Origins, filled: int) -> list[str]:
    if not filled:
        return []
    widths = (("good", origins.propagated), ("fair", origins.filled), ("bad", origins.never))
    bar = "".join(f'<i class="{kind}" style="width:{100 * share:.2f}%"></i>' for kind, share in widths)
    said = [f'<div class="bar" role="img" aria-label="where the fill is from">{bar}</div>', _key(origins, "")]
    if origins.lost:
        said.append(
            paragraph(
                f"The camera's motion could not be followed between {origins.lost} pairs of neighbouring frames (cuts, "
                "or pictures without features): what lies beyond counts as not shown.",
                "quiet",
            )
        )
    return said


def _key(origins: Origins, title: str) -> str:
    names = (
        ("good", f"{percent(origins.propagated)} taken from other frames"),
        ("fair", f"{percent(origins.filled)} filled by the network, though some frame shows the place"),
        ("bad", f"{percent(origins.never)} never shown, filled by the network"),
    )
    start = f"<span>{html.escape(title)}:</span>" if title else ""
    return (
        f'<div class="key">{start}{"".join(f"<span><i class={k}></i>{html.escape(t)}</span>" for k, t in names)}</div>'
    )


def _moments(moments: list[Moment], shown: list[int], collected: Collector) -> str:
    if not moments:
        return paragraph("Nothing stands out from the rest of the clip.")
    items = []
    for moment in sorted(moments, key=lambda one: one.first):
        unit = percent(moment.value) if moment.why.startswith("not") else f"{moment.value:.1f} levels"
        span = " - ".join(dict.fromkeys(clock(collected.times[i], 1.0) for i in moment.frames))
        text = html.escape(f"{span}: {moment.why} ({unit} in frame {moment.worst})")
        nearest = min(shown, key=lambda index: abs(index - moment.worst)) if shown else None
        inner = text if nearest is None else f'<button type="button" data-frame="{nearest}">{text}</button>'
        items.append(f"<li>{inner}</li>")
    return f'<ul class="moments">{"".join(items)}</ul>'


def _rate(times: list[float]) -> float | None:
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    return (len(times) - 1) / span if span > 0 else None


def _made(summary: Summary) -> dict[str, str]:
    height, width = summary.size
    return {
        "output": summary.output,
        "frames": f"{summary.frames} of {width}x{height}, {summary.filled} with a hole",
        "time": f"{summary.seconds:.1f} s, {summary.seconds_per_frame:.3f} s a frame, this page not counted",
        "peak memory": f"{summary.peak_memory / 2**30:.2f} GiB ({summary.peak_memory_of})",
        "device": summary.device,
        "precision": summary.precision,
        "deformable convolution": summary.deform_backend,
        "weights": Path(summary.weights).name,
        "notices": "; ".join(summary.notices),
    }
