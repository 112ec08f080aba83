"""Whether two evaluations differ: a paired bootstrap over clips (Efron and Tibshirani 1993), plain percentiles.

The unit is the clip: frames of one clip are no independent samples, and neither are kinds of masks over one clip, whose
figures are averaged first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError, UsageError
from .scores import METRICS, Metric

RESAMPLES = 10_000
FEW_CLIPS = 6
"""Below this an interval of percentiles says little."""


@dataclass(frozen=True)
class Difference:
    """B less A of one metric over the clips that both have. low, high: 95 % of the resampled means lie between.

    better: share of the resamples in which B is better; None for one clip, which cannot be resampled.
    """

    metric: str
    clips: int
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    better: float | None

    @property
    def clear(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Comparison:
    """notices: what a reader should know of how far the two can be compared."""

    a: str
    b: str
    method_a: str
    method_b: str
    kinds: tuple[str, ...]
    clips: tuple[str, ...]
    seed: int
    resamples: int
    differences: tuple[Difference, ...]
    notices: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    a: dict[str, Any],
    b: dict[str, Any],
    *,
    names: tuple[str, str] = ("A", "B"),
    methods: tuple[str, str] | None = None,
    kinds: Sequence[str] = (),
    seed: int = 2026,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare a method of one record (`evaluation.json`) with a method of another, or of the same one.

    methods: None: the first of each. kinds: of masks; empty: all that both have. Raises `InputError` where nothing is
    common or the masks are not the same, `UsageError` for a method or kind that is not there.
    """
    method_a, method_b = (
        _method(record, name, wanted) for record, name, wanted in zip((a, b), names, methods or ("", ""), strict=True)
    )
    cases = [_cases(record, method) for record, method in ((a, method_a), (b, method_b))]
    common = [key for key in cases[0] if key in cases[1] and (not kinds or key[0] in kinds)]
    known = {kind for kind, _ in cases[0]} & {kind for kind, _ in cases[1]}
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise UsageError(f"--kinds {unknown[0]!r} is not in both: they share {', '.join(sorted(known)) or 'none'}")
    if not common:
        raise InputError(f"{names[0]} and {names[1]} share no clip with the same kind of mask: evaluate the same clips")
    _check_masks(a, b, common, cases, names)
    clips = tuple(dict.fromkeys(clip for _, clip in common))
    differences = []
    for metric in METRICS:
        pairs = _pairs(metric, common, cases)
        if pairs:
            differences.append(_difference(metric, np.array(pairs), seed, resamples))
    return Comparison(
        *names,
        method_a,
        method_b,
        tuple(dict.fromkeys(kind for kind, _ in common)),
        clips,
        seed,
        resamples,
        tuple(differences),
        tuple(_notices(a, b, len(clips), cases)),
    )


_Cases = dict[tuple[str, str], dict[str, Any]]
"""By kind and clip."""


def _method(record: dict[str, Any], name: str, wanted: str) -> str:
    there = list(dict.fromkeys(case["method"] for case in record["cases"]))
    if not there:
        raise InputError(f"{name} has no case yet: let its evaluation end first")
    if wanted and wanted not in there:
        raise UsageError(f"{name} has no method {wanted!r}: it has {', '.join(there)}")
    return wanted or str(there[0])


def _cases(record: dict[str, Any], method: str) -> _Cases:
    return {(case["kind"], case["clip"]): case for case in record["cases"] if case["method"] == method}


def _check_masks(
    a: dict[str, Any],
    b: dict[str, Any],
    common: Sequence[tuple[str, str]],
    cases: Sequence[_Cases],
    names: tuple[str, str],
) -> None:
    """Figures on other holes, frames or sizes are not comparable."""
    for kind, clip in common:
        key = f"{kind}/{clip}"
        one, other = (record["masks"][key]["sha256"] for record in (a, b))
        if one != other:
            frames = tuple(cases[i][kind, clip]["frames"] for i in (0, 1))
            raise InputError(
                f"{names[0]} and {names[1]} scored clip {clip} on different masks {kind} ({frames[0]} and {frames[1]} "
                "frames): use the same --masks, --size and --limit-frames"
            )


def _pairs(metric: Metric, common: Sequence[tuple[str, str]], cases: Sequence[_Cases]) -> list[tuple[float, float]]:
    """A clip's mean over its kinds of masks in both, for the clips that have it in both."""
    by_clip: dict[str, list[tuple[float, float]]] = {}
    for kind, clip in common:
        one, other = (part[kind, clip]["figures"].get(metric.name) for part in cases)
        if one is not None and other is not None:
            by_clip.setdefault(clip, []).append((one, other))
    return [(float(np.mean([p[0] for p in v])), float(np.mean([p[1] for p in v]))) for v in by_clip.values()]


def _difference(metric: Metric, pairs: np.ndarray[Any, Any], seed: int, resamples: int) -> Difference:
    count = len(pairs)
    a, b = (float(value) for value in pairs.mean(axis=0))
    if count < 2:
        return Difference(metric.name, count, a, b, b - a, None, None, None)
    # The same draws for every metric, so that one clip's weight is the same in all of them.
    drawn = pairs[np.random.Generator(np.random.PCG64(seed)).integers(0, count, (resamples, count))].mean(axis=1)
    apart = drawn[:, 1] - drawn[:, 0]
    low, high = (float(value) for value in np.percentile(apart, (2.5, 97.5)))
    gain = -(np.abs(drawn[:, 1]) - np.abs(drawn[:, 0])) if metric.better == 0 else metric.better * apart
    return Difference(metric.name, count, a, b, b - a, low, high, float((gain > 0).mean()))


def _notices(a: dict[str, Any], b: dict[str, Any], clips: int, cases: Sequence[_Cases]) -> list[str]:
    found = []
    if clips < FEW_CLIPS:
        found.append(f"only {clips} clips: the intervals say little")
    for name in ("protocol", "precision"):
        one, other = a["settings"][name], b["settings"][name]
        if one != other:
            found.append(f"the {name} differs: {one} and {other}")
    if a["environment"]["flow"] != b["environment"]["flow"]:
        found.append("the flow differs: do not compare E_warp and flicker excess")
    exact = sum(case["exact_frames"] != 0 for part in cases for case in part.values())
    if exact:
        found.append("frames that equal the truth have no PSNR; their numbers may differ between the two")
    return found


def table(found: Comparison) -> str:
    """As Markdown."""
    by_name = {metric.name: metric for metric in METRICS}
    lines = [
        f"A: {found.a}, {found.method_a}. B: {found.b}, {found.method_b}.",
        f"{len(found.clips)} clips, masks {', '.join(found.kinds)}; paired bootstrap over clips, {found.resamples} "
        f"resamples, seed {found.seed}.",
        "",
        "| measure | clips | A | B | B - A | 95 % | B better | clear |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in found.differences:
        metric = by_name[one.metric]
        d = metric.digits
        interval = "-" if one.low is None or one.high is None else f"{one.low:+.{d}f} to {one.high:+.{d}f}"
        better = "-" if one.better is None else f"{one.better:.1%}"
        title = f"{metric.title} ({metric.unit})" if metric.unit else metric.title
        cells = (title, str(one.clips), f"{one.a:.{d}f}", f"{one.b:.{d}f}", f"{one.difference:+.{d}f}")
        lines.append(f"| {' | '.join(cells)} | {interval} | {better} | {'yes' if one.clear else 'no'} |")
    return "\n".join([*lines, *(["", *(f"{n}." for n in found.notices)] if found.notices else [])]) + "\n"
