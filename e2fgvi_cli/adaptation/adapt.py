"""The weights of one run, adapted to its clip: looked up, or learned and kept."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version

import torch

from .. import video
from ..engine import read_weights, select_device
from ..options import InpaintOptions
from ..threads.opencv import one_thread_a_call
from ..types import Frame, HoleArray
from ..video.reading.shots import judge
from ..weights.known import resolve, sha256
from .kept import Kept, Learned
from .learning import LEAST_GAIN, Adaptation, Check, Say, Settings, settings_for
from .sample import ClipSample, sample_clip

FORMAT = 1
"""Of the key: another number where the same settings would give other weights."""


def adapted(
    options: InpaintOptions,
    device: str | None = None,
    *,
    say: Say = lambda _: None,
    tell: Say = lambda _: None,
    check: Check = lambda: None,
) -> InpaintOptions:
    """`options` with the weights that learned the clip, where `options.adapt` asks for it and they do better.

    Reads the clip and its masks once. device: a name; None: the options' first. say: sentences of lasting interest;
    tell: how far it is. check: called between steps, may raise.
    Raises `UsageError` for minutes that are too few here, `InputError` where nothing can be kept, and what opening the
    clip raises. What interrupts it leaves a state, from which the next run goes on.
    """
    if options.adapt is None:
        return options
    start = resolve(options.weights)
    chosen = select_device(device or (options.devices or (options.device,))[0])
    multiple = read_weights(start).config.size_multiple
    with ExitStack() as stack:
        reader = stack.enter_context(video.open_reader(options.video, size=options.size, span=options.span))
        holes = stack.enter_context(video.open_holes(options.mask, reader.info, options.masking))
        size = (reader.info.height, reader.info.width)
        settings = settings_for(options.adapt, chosen, size, multiple)
        stack.enter_context(one_thread_a_call())
        sample = sample_clip(_read(reader, holes.hole_at, options.detect_cuts, check), settings.size)
    if sample is None:
        say("--adapt has nothing to learn for: no frame has a hole")
        return options
    kept = Kept(key_of(sample, sha256(start), settings))
    found = kept.find()
    if found is None:
        found = _learn(sample, options, settings, chosen, kept, tell, check)
    say(_outcome(found, options.adapt))
    return options if found.weights is None else replace(options, weights=str(found.weights))


def key_of(sample: ClipSample, start: str, settings: Settings) -> str:
    """Of everything that decides the result: pixels and holes, the start's hash, the settings and this program."""
    facts = [FORMAT, _version(), sample.digest(), start, json.dumps(asdict(settings), sort_keys=True)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:40]


def _version() -> str:
    try:
        return version("e2fgvi-cli")
    except PackageNotFoundError:
        return "source"


def _read(
    frames: Iterable[Frame], hole_at: Callable[[Frame], HoleArray], detect_cuts: bool, check: Check
) -> Iterator[tuple[Frame, HoleArray, bool]]:
    judged = judge(frames, lambda frame: frame.rgb) if detect_cuts else ((frame, False) for frame in frames)
    for frame, is_cut in judged:
        check()
        yield frame, hole_at(frame), is_cut


def _learn(
    sample: ClipSample,
    options: InpaintOptions,
    settings: Settings,
    device: torch.device,
    kept: Kept,
    tell: Say,
    check: Check,
) -> Learned:
    start = resolve(options.weights)
    learning = Adaptation(sample, start, settings, device)
    if not learning.can_judge:
        return kept.keep(None, start, {"best": 0, "scores": {}, "steps": 0, "seconds": 0.0})
    if (unfinished := kept.unfinished(device)) is not None:
        learning.restore(unfinished)
        tell(f"training on the clip goes on at step {learning.course.step} of {learning.course.planned}")
    try:
        learning.run(tell, check)
    except BaseException as error:
        course = learning.course
        if course.planned and kept.interrupt(learning.state()):
            error.add_note(f"training on the clip is kept at step {course.step} of {course.planned}: run it again")
        raise
    course = learning.course
    better = learning.gain >= LEAST_GAIN
    record = {
        "best": course.best if better else 0,
        "part": course.part,
        "score": round(course.best_score, 3),
        "scores": {str(step): round(score, 3) for step, score in course.scores.items()},
        "steps": course.step,
        "seconds": round(course.seconds, 1),
    }
    result = kept.keep(learning.best_state if better else None, start, record)
    del learning
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return result


def _outcome(found: Learned, minutes: float) -> str:
    scores = {int(step): float(score) for step, score in found.record["scores"].items()}
    if not scores:
        return "--adapt left the weights as they are: too little of the clip is visible to judge by"
    best = int(found.record["best"])
    if not best:
        highest = max(score for step, score in scores.items() if step) if len(scores) > 1 else scores[0]
        return (
            f"--adapt {minutes:g} left the weights as they are: held-out pixels {scores[0]:.2f} dB, "
            f"{highest:.2f} dB at best after {found.record['steps']} steps"
        )
    return (
        f"weights adapted to the clip: held-out pixels {scores[0]:.2f} -> {found.record['score']:.2f} dB, {best} of "
        f"{found.record['steps']} steps, {found.record['seconds']:.0f} s"
    )
