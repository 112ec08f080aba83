"""What `propagation.reliability` is fitted on, and the fit:

    python -m measurements.reliability holes CLIPS.mp4 ... -o SCENES     clips with holes that move, and known pixels
    python -m measurements.reliability collect SCENES -o SEEN --every 3  evidence, and what both fills are off by
    python -m measurements.reliability fit SEEN -o reliability.npz       scores of held-out clips, then all of them

A hole's score is the PSNR of the pixels of its clip, as in `quality.clips`; "both" is found pixels where the judge says
so and the network's in the rest. `collect` runs the network (--device), alone and on whole holes.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from e2fgvi_cli import InpaintOptions
from e2fgvi_cli.engine import Engine
from e2fgvi_cli.engine.assembly import assemble
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.propagation.lookup import look_up
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import Answer, Query
from e2fgvi_cli.propagation.reliability import WEIGHTS, Judge, evidence, reliable
from e2fgvi_cli.quality.clips import SEEDED_HOLES, MeasuredClip, find_clips, holed_frames
from e2fgvi_cli.threads.opencv import one_thread_a_call
from e2fgvi_cli.training.evaluate import fill_clip

Floats = NDArray[np.float32]
SIZE = (240, 432)
FRAMES = 32
STEPS, HOLES_A_STEP, PIXELS_A_HOLE, HIDDEN, FOLDS = 400, 10, 3000, 16, 3
say = Console(width=120, highlight=False).print


# -- holes -------------------------------------------------------------------------------------------------------------


def make_scenes(videos: list[Path], target: Path) -> None:
    """`FRAMES` frames of each video, with still and with drifting holes, seeded by its name."""
    from e2fgvi_cli.video import open_reader

    for video in videos:
        rng = np.random.default_rng(zlib.crc32(video.stem.encode()))
        with open_reader(video) as reader:
            frames = [cv2.resize(f.rgb, SIZE[::-1], interpolation=cv2.INTER_AREA) for f in reader]
        start = max(0, (len(frames) - FRAMES) // 3)
        for name in ("frames", *SEEDED_HOLES):
            (target / video.stem / name).mkdir(parents=True)
        outlines = {kind: [_Outline.drawn(rng, kind) for _ in range(rng.integers(1, 3))] for kind in SEEDED_HOLES}
        for i, frame in enumerate(frames[start : start + FRAMES]):
            picture = np.ascontiguousarray(frame[..., ::-1])
            cv2.imwrite(str(target / video.stem / "frames" / f"{i:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 78])
            for kind, some in outlines.items():
                hole = np.zeros(SIZE, np.uint8)
                for outline in some:
                    outline.draw(hole, i)
                cv2.imwrite(str(target / video.stem / kind / f"{i:05d}.png"), hole)


@dataclass(frozen=True)
class _Outline:
    """points (k, 2) about their middle, which is at `start` and moves by `speed` a frame, back at the frame's edges."""

    points: NDArray[np.float64]
    start: NDArray[np.float64]
    speed: NDArray[np.float64]

    @classmethod
    def drawn(cls, rng: np.random.Generator, kind: str) -> _Outline:
        side = np.sqrt(rng.uniform(0.02, 0.09) * SIZE[0] * SIZE[1])
        stretch = rng.uniform(0.6, 1.7)
        if rng.random() < 0.35:
            points = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) / 2
        else:
            angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            waves = [rng.normal(0, 0.25 / k) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in (2, 3, 4)]
            radius = 1 + np.sum(waves, axis=0)
            points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None] / np.sqrt(np.pi)
        middle = np.array(SIZE[::-1])
        speed = rng.uniform(-5, 5, 2) if kind == "drifting" else np.zeros(2)
        return cls(points * side * [stretch, 1 / stretch], rng.uniform(0.15, 0.85, 2) * middle, speed)

    def draw(self, hole: NDArray[np.uint8], time: int) -> None:
        edge = np.array(SIZE[::-1])
        at = edge - np.abs((self.start + self.speed * time) % (2 * edge) - edge)
        cv2.fillPoly(hole, [np.rint(self.points + at).astype(np.int32)], 255)


# -- evidence ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """The hole pixels of one clip's measured frames. evidence (n, 7), 0 where there are no candidates, `there` (n,).
    found, made (n,): squared error of what other frames show and of the network's fill; frame (n,): which frame.
    taken (n,): what today's judge shows."""

    evidence: Floats
    there: NDArray[np.bool_]
    found: Floats
    made: Floats
    frame: NDArray[np.int64]
    taken: NDArray[np.bool_]

    def decibels(self, shown: NDArray[np.bool_]) -> float:
        """PSNR of the clip's hole with found pixels where `shown`."""
        error = np.where(shown, self.found, self.made)
        frames = np.bincount(self.frame, error) / np.maximum(np.bincount(self.frame), 1)
        return float(10 * np.log10(255**2 / frames[np.unique(self.frame)].mean()))


def collect(clip: MeasuredClip, kind: str, engine: Engine, every: int) -> Seen:
    """Evidence and errors of every `every`-th frame of a clip."""
    frames, holes = clip.frames(), clip.holes(kind)
    queries: dict[int, tuple[Query, Answer]] = {}

    def noted(query: Query) -> Answer:
        answer = look_up(query)
        if query.number % every == 0:
            queries[query.number] = replace(query, others=()), answer
        return answer

    with one_thread_a_call():
        for _ in propagate(holed_frames(frames, holes), PropagationOptions(), lookup=noted):
            pass
    parts = []
    for i, filled in enumerate(fill_clip(engine, frames, holes, WindowOptions())):
        if i in queries:
            parts.append(_errors(*queries[i], filled, frames[i], i))
    return Seen(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _errors(
    query: Query, answer: Answer, filled: NDArray[np.uint8], truth: NDArray[np.uint8], number: int
) -> Iterator[NDArray[np.generic]]:
    """The fields of `Seen` for one frame."""
    pixels = query.pixels
    known, rows = evidence(query, answer)
    placed = np.zeros((known.size, rows.shape[1]), np.float32)
    placed[known.ravel()] = rows
    yield placed[query.place]
    yield answer.count > 0
    for fill in (answer.colours, filled[pixels]):
        yield ((fill.astype(np.float32) - truth[pixels]) ** 2).mean(axis=1)
    yield np.full(len(query.place), number)
    yield reliable(query, answer) if WEIGHTS.exists() else (answer.count >= 2) & (answer.spread <= 16)


# -- fit ---------------------------------------------------------------------------------------------------------------


def fit(seen: dict[str, Seen], worth: float, seed: int = 0) -> Judge:
    """The judge by which holes gain the most decibels in the mean, and lose the least.

    worth: what the network's squared errors count here. It was trained on such clips, and is worse on others.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sample = np.concatenate([s.evidence[s.there][::7] for s in seen.values()])
    mean, scale = sample.mean(axis=0), sample.std(axis=0) + np.float32(1e-3)
    holes = []
    for s in seen.values():
        if s.there.sum() > 200:
            rows = torch.from_numpy((s.evidence[s.there] - mean) / scale)
            gain = torch.from_numpy(s.found[s.there] - worth * s.made[s.there])
            holes.append((rows, gain, worth * float(s.made.mean()), float(s.there.mean())))
    layers = [torch.nn.Linear(a, b) for a, b in ((len(mean), HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))]
    network = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        loss = torch.zeros(())
        for k in rng.choice(len(holes), min(HOLES_A_STEP, len(holes)), replace=False):
            rows, gain, alone, share = holes[k]
            some = torch.randint(len(rows), (PIXELS_A_HOLE,))
            change = (torch.sigmoid(network(rows[some])[:, 0]) * gain[some]).mean() * share
            ratio = torch.log(((alone + change) / alone).clamp_min(0.02))
            loss = loss + ratio + torch.relu(ratio)  # a hole that loses counts twice
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), HOLES_A_STEP)
        optimizer.step()
        schedule.step()
    weights = tuple(np.ascontiguousarray(layer.weight.detach().numpy().T) for layer in layers)
    return Judge(mean, scale, weights, tuple(layer.bias.detach().numpy() for layer in layers))


def judged(judge: Judge, s: Seen, sure: float) -> NDArray[np.bool_]:
    """Which pixels the judge shows."""
    return np.asarray(s.there & (judge(s.evidence) > sure))


def table(seen: dict[str, Seen], shown: dict[str, NDArray[np.bool_]], title: str) -> None:
    """Means by kind of hole, and how many lose."""
    for kind in SEEDED_HOLES:
        names = [name for name in seen if name.endswith(kind)]
        alone = np.array([seen[n].decibels(np.zeros_like(seen[n].there)) for n in names])
        today = np.array([seen[n].decibels(seen[n].taken) for n in names])
        both = np.array([seen[n].decibels(shown[n]) for n in names])
        share = np.mean([shown[n].mean() for n in names])
        say(
            f"{title:9} {kind:9} alone {alone.mean():.2f}, today {today.mean():.2f}, both {both.mean():.2f} dB; "
            f"{share:.2f} shown; {(both < alone - 0.1).sum()} of {len(names)} lose over 0.1, "
            f"at most {max(0.0, (alone - both).max()):.2f}"
        )


def main() -> None:
    """Parse, do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("holes", "collect", "fit"))
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--every", type=int, default=5, help="collect: frames measured")
    parser.add_argument("--device", default="auto", help="collect: where the network runs, in float32")
    parser.add_argument("--worth", type=float, default=1.5, help="fit: what the network's errors count")
    parser.add_argument("--sure", type=float, default=0.0, help="fit: log-odds above which pixels are shown in tables")
    parser.add_argument("--test", type=Path, nargs="*", default=[], help="fit: SEEN of other clips, to be scored")
    given = parser.parse_args()
    if given.step == "holes":
        make_scenes(given.sources, given.output)
    elif given.step == "collect":
        options = InpaintOptions(video=Path("-"), mask=Path("-"), output=Path("-"), precision="fp32")
        engine = assemble(options, given.device).engine
        given.output.mkdir(parents=True, exist_ok=True)
        for clip in find_clips(given.sources[0]):
            for kind in SEEDED_HOLES:
                s = collect(clip, kind, engine, given.every)
                np.savez_compressed(given.output / f"{clip.name}-{kind}.npz", **vars(s))
                say(f"{clip.name} {kind}: {s.there.mean():.2f} with candidates")
    else:
        seen = _load(given.sources)
        clips = sorted({name.rsplit("-", 1)[0] for name in seen})
        shown: dict[str, NDArray[np.bool_]] = {}
        for fold in range(FOLDS):
            held = clips[fold::FOLDS]
            judge = fit({n: s for n, s in seen.items() if n.rsplit("-", 1)[0] not in held}, given.worth)
            shown |= {n: judged(judge, s, given.sure) for n, s in seen.items() if n.rsplit("-", 1)[0] in held}
        table(seen, shown, "held out")
        judge = fit(seen, given.worth)
        judge.save(given.output)
        if given.test:
            others = _load(given.test)
            table(others, {n: judged(judge, s, given.sure) for n, s in others.items()}, "others")


def _load(folders: list[Path]) -> dict[str, Seen]:
    return {p.stem: Seen(**np.load(p)) for folder in folders for p in sorted(folder.glob("*.npz"))}


if __name__ == "__main__":
    main()
