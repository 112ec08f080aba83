"""The evaluation: every clip with every kind of mask by every method, each case kept as soon as it is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bench.environment import describe_environment
from ..errors import InputError, UsageError
from ..fill.crops import CropOptions
from ..fill.options import WindowOptions
from ..masks import Dilation, MaskOptions
from ..options import InpaintOptions
from ..quality.temporal import flow_name
from ..types import HoleArray
from ..weights.known import resolve, sha256
from .dataset import Clip, Masks, find_clips, holed_frames, parse_masks
from .means import means_of
from .methods import BASELINES, METHODS, NETWORK, RESULTS, Fill, NetworkFill, StoredFill
from .scores import ClipFigures
from .seeded_masks import fingerprint
from .settings import PUBLISHED, SCHEMA, Settings, key_of

Case = dict[str, Any]
"""method, clip, kind, frames, size, figures, counts, series ...: as it stands in the JSON."""


class Watcher(Protocol):
    """Looks at the pictures of a case, for a page."""

    def add(
        self,
        index: int,
        result: NDArray[np.uint8],
        truth: NDArray[np.uint8],
        hole: HoleArray,
        squared: float | None,
    ) -> None: ...

    def finish(self) -> dict[str, Any]:
        """What to keep in the case's record."""
        ...


Watch = Callable[[str, str, str, int | None], Watcher]
"""Of method, kind, clip and the clip's number of frames."""


@dataclass
class Evaluation:
    """What is known: `as_record` is the JSON."""

    settings: dict[str, Any]
    rules: tuple[str, ...]
    environment: dict[str, Any]
    notices: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    masks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "key": key_of(self.settings),
            "settings": self.settings,
            "rules": list(self.rules),
            "environment": self.environment,
            "notices": self.notices,
            "means": means_of(self.cases, self.settings["protocol"]),
            "masks": self.masks,
            "cases": self.cases,
        }

    def find(self, method: str, kind: str, clip: str) -> Case | None:
        """A case that is known."""
        wanted = (method, kind, clip)
        return next((case for case in self.cases if (case["method"], case["kind"], case["clip"]) == wanted), None)


def evaluate(
    settings: Settings,
    command: str,
    *,
    earlier: dict[str, Any] | None = None,
    watch: Watch | None = None,
    on_case: Callable[[Evaluation], None] = lambda _: None,
    on_message: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Score everything that `settings` ask for. earlier: the JSON of a run that ended early; its cases are kept.

    on_case: called after each case with all there is so far. Raises the errors of `e2fgvi_cli.errors`.
    """
    clips, sources = find_clips(settings.dataset, settings.clips), parse_masks(settings.masks, settings.mask_dilation)
    methods = _methods(settings)
    weights = resolve(settings.weights) if NETWORK in methods else None
    found = Evaluation(settings.describe("" if weights is None else sha256(weights)), settings.rules(), {})
    if earlier is not None:
        _take_over(found, earlier)
    perceptual = _perceptual(settings, found)
    devices = _devices(settings, methods)
    with _process(settings, devices):
        found.environment = {
            **asdict(describe_environment(devices, weights, command)),
            "flow": flow_name(),
        }
        for masks in sources:
            for kind in masks.kinds:
                for clip in clips:
                    for name, fill in methods.items():
                        kept = found.find(name, kind, clip.name)
                        if kept is not None and (watch is None or "pictures" in kept):
                            continue
                        found.cases = [case for case in found.cases if case is not kept]
                        method = fill if fill is not None else _stored(settings, clip, kind)
                        watcher = None if watch is None else watch(name, kind, clip.name, _length(clip, settings))
                        case = _score(settings, clip, masks, kind, (name, method), perceptual, watcher, found)
                        found.cases.append(case)
                        on_message(_sentence(case))
                        on_case(found)
    return found


def _methods(settings: Settings) -> dict[str, Fill | None]:
    """By name; None stands for the pictures of --results."""
    chosen: dict[str, Fill | None] = {}
    if settings.results is not None:
        chosen[settings.results_name or settings.results.resolve().name or RESULTS] = None
    for name in settings.methods or (() if settings.results is not None else METHODS):
        if name not in METHODS:
            raise UsageError(f"--methods {name!r} is unknown: use {', '.join(METHODS)}")
        if name in chosen:
            raise UsageError(f"--results-name {name} is the name of a method here: give another")
        chosen[name] = NetworkFill(network_options(settings)) if name == NETWORK else BASELINES[name]
    return chosen


def network_options(settings: Settings) -> InpaintOptions:
    """The network as the protocol runs it."""
    published = settings.protocol == PUBLISHED
    windows = (
        WindowOptions(max_references=None, released=True, crops=CropOptions(enabled=False))
        if published
        else WindowOptions.usual()
    )
    return InpaintOptions(
        video=settings.dataset,
        mask=settings.dataset,
        output=Path("evaluated"),
        weights=settings.weights,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
        windows=windows,
        masking=MaskOptions(dilation=Dilation.parse("0px")),
        detect_cuts=False,
    )


def _score(
    settings: Settings,
    clip: Clip,
    masks: Masks,
    kind: str,
    method: tuple[str, Fill],
    perceptual: Any,
    watcher: Watcher | None,
    found: Evaluation,
) -> Case:
    name, fill = method
    size, limit = settings.frame_size, settings.limit
    score, hashes = ClipFigures(perceptual.lpips), []
    began = time.perf_counter()
    shape = (0, 0)
    clip_features = perceptual.start_clip()
    truths = clip.pictures(size, limit)
    with closing(truths):
        for index, (result, hole) in enumerate(fill(holed_frames(clip, masks, kind, size, limit))):
            truth = next(truths, None)
            if truth is None:
                raise InputError(f"{clip.truth} ends before frame {index}: the truth needs one for every frame")
            picture = np.asarray(truth.rgb, np.uint8)
            squared = score.add(result, picture, hole)
            hashes.append(fingerprint(hole))
            shape = hole.shape
            clip_features.add(result, picture, hole)
            if watcher is not None:
                watcher.add(index, result, picture, hole, squared)
    if not score.frames:
        raise InputError(f"clip {clip.name} has no frame that can be read")
    _keep_masks(found, f"{kind}/{clip.name}", masks.describe(), hashes)
    return {
        "method": name,
        "kind": kind,
        "clip": clip.name,
        "frames": score.frames,
        "hole_frames": score.hole_frames,
        "exact_frames": score.exact_frames,
        "size": [shape[1], shape[0]],
        "seconds": round(time.perf_counter() - began, 2),
        "figures": {key: None if v is None else round(v, 6) for key, v in score.figures().items()},
        "counts": score.counts(),
        "series": score.series,
        **clip_features.record(),
        **({} if watcher is None else {"pictures": watcher.finish()}),
    }


def _keep_masks(found: Evaluation, name: str, source: str, hashes: list[str]) -> None:
    """The masks' hashes. Raises `InputError` where they differ from those another method was scored on."""
    known = found.masks.setdefault(name, {"source": source, "sha256": hashes})
    if known["sha256"] != hashes:
        raise InputError(f"the masks {name} are not those of the cases scored before: start anew, with --overwrite")


def _take_over(found: Evaluation, earlier: dict[str, Any]) -> None:
    if earlier.get("schema") != SCHEMA or earlier.get("key") != key_of(found.settings):
        theirs = earlier.get("settings", {})
        differ = [name for name, value in found.settings.items() if theirs.get(name, "") != value]
        raise UsageError(
            f"--resume: what is there was scored otherwise ({', '.join(differ) or 'another version'}): use the same "
            "options, or --overwrite"
        )
    found.cases, found.masks = list(earlier["cases"]), dict(earlier["masks"])
    found.notices = list(earlier["notices"])


def _stored(settings: Settings, clip: Clip, kind: str) -> Fill:
    assert settings.results is not None, "only --results has stored pictures"
    return StoredFill(settings.results, clip.name, kind, settings.limit)


def _perceptual(settings: Settings, found: Evaluation) -> Any:
    from .perceptual import Perceptual

    made = Perceptual.of(settings.i3d, settings.device)
    for notice in made.notices:
        if notice not in found.notices:
            found.notices.append(notice)
    return made


def _length(clip: Clip, settings: Settings) -> int | None:
    count = clip.info(settings.frame_size).frame_count
    return count if settings.limit is None or count is None else min(count, settings.limit)


def _process(settings: Settings, devices: list[Any]) -> Any:
    """The process as the options want it: threads, products of a device."""
    from ..engine import run_settings

    return run_settings(network_options(settings), devices)


def _devices(settings: Settings, methods: dict[str, Fill | None]) -> list[Any]:
    from ..engine import select_device

    return [select_device(settings.device)] if NETWORK in methods else []


def _sentence(case: Case) -> str:
    figures = case["figures"]
    psnr = "exact" if figures["hole_psnr"] is None else f"{figures['hole_psnr']:.2f} dB in the hole"
    return f"{case['kind']} {case['clip']} {case['method']}: {psnr}, {case['frames']} frames, {case['seconds']:.1f} s"
