"""Means over clips, by kind of mask and method. Plain dictionaries in, as they stand in the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..quality.frechet import frechet_distance
from .scores import METRICS
from .settings import PUBLISHED

FRAME_MEANS = ("psnr", "ssim")
"""What the published protocol averages over all frames of all clips."""


def means_of(cases: Sequence[dict[str, Any]], protocol: str) -> list[dict[str, Any]]:
    """One entry a kind and method: mean figures, and of how many clips each is."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for case in cases:
        groups.setdefault((case["kind"], case["method"]), []).append(case)
    found = []
    for (kind, method), group in groups.items():
        figures: dict[str, float | None] = {}
        clips: dict[str, int] = {}
        for metric in METRICS:
            known = [case for case in group if case["figures"].get(metric.name) is not None]
            by_frame = protocol == PUBLISHED and metric.name in FRAME_MEANS
            weights = [case["counts"][metric.name] if by_frame else 1 for case in known]
            values = [case["figures"][metric.name] for case in known]
            total = sum(weights)
            mean = sum(w * v for w, v in zip(weights, values, strict=True)) / total if total else None
            figures[metric.name] = None if mean is None else round(mean, 6)
            clips[metric.name] = len(known)
        features = [case["i3d"] for case in group if "i3d" in case]
        if len(features) == len(group) and len(group) > 1:
            distance = frechet_distance([one["result"] for one in features], [one["truth"] for one in features])
            figures["vfid"], clips["vfid"] = round(distance, 6), len(group)
        found.append(
            {
                "kind": kind,
                "method": method,
                "figures": figures,
                "clips": clips,
                "frames": sum(case["frames"] for case in group),
                "exact_frames": sum(case["exact_frames"] for case in group),
            }
        )
    return found
