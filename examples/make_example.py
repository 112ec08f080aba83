#!/usr/bin/env python3
"""Make the example clip: an astronaut walks past a motorcycle in a garage while the camera moves.

    python examples/make_example.py [--output examples/garage]

writes video.mp4 (with sound), masks/00000.png ... (255 = the walker) and background.mp4, the same shot without the
walker: the truth a fill can be scored against. Needs scikit-image (its photographs), OpenCV and PyAV; no download.
Two runs give the same files, byte for byte; another version of x264 or OpenCV may give others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from garage_scene import BASELINE, Garage, Pose
from numpy.typing import NDArray
from walking_figure import Figure

SIZE = (240, 432)
FRAME_COUNT = 48
FRAME_RATE = 25
SUPERSAMPLING = 2  # drawn twice as large each way, then averaged down
VIEW_WIDTH = 640.0  # pixels of the 741-pixel photograph across the frame: sharper than the frame, with room to move
VIEW_CENTRE = (374.0, 266.0)
CONVERGENCE = 2900.0  # mm: the camera keeps turned to what is that far, the motorcycle's far side

GRAIN = 1.0  # standard deviation of the film grain, in levels
MASK_MARGIN = 2  # pixels: chroma is stored at half size, so the walker's colours reach beyond its edge
VIDEO_CRF, BACKGROUND_CRF = 10, 8

AUDIO_RATE = 44100
STEPS = 3.5  # the walk's footfalls in the clip, as in walking_figure.walk


@dataclass(frozen=True)
class ExampleFrame:
    """One moment: with the walker, without, and the walker's mask. (H, W, 3) uint8 RGB; (H, W) uint8 0 or 255."""

    video: NDArray[np.uint8]
    background: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def camera(time: float) -> Pose:
    """A hand-held move from the left camera of the stereo pair almost to the right one, slowly nearing. `time` 0..1."""
    turn = 2 * np.pi * time
    x = BASELINE * (0.03 + 0.94 * time)
    return Pose(
        x=x,
        y=5.0 * np.sin(1.3 * turn) + 1.5 * np.sin(4.1 * turn + 1.0),
        z=90.0 * time,
        yaw=-x / CONVERGENCE + 0.010 * (time - 0.5) + 0.0012 * np.sin(3.3 * turn),
        roll=0.008 * np.sin(0.9 * turn + 0.5),
        zoom=1.0 + 0.03 * time,
    )


def exposure(time: float) -> float:
    """The camera's gain, drifting by 2 % as automatic exposure does. `time` 0..1."""
    return float(1.0 + 0.02 * np.sin(2 * np.pi * 0.7 * time))


def render(garage: Garage, figure: Figure, index: int) -> ExampleFrame:
    """Frame `index` of FRAME_COUNT. Depends on nothing but the index: grain is seeded with it."""
    interval = 1.0 / (FRAME_COUNT - 1)
    time = index * interval
    canvas = (SIZE[0] * SUPERSAMPLING, SIZE[1] * SUPERSAMPLING)
    scene = garage.render(camera(time), canvas, VIEW_WIDTH, VIEW_CENTRE)
    with_figure, touched = figure.draw(scene, time, interval, SUPERSAMPLING)
    grain = np.random.default_rng(index).normal(0.0, GRAIN, (*SIZE, 1))

    def develop(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
        small = cv2.resize(picture, (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)
        return np.clip(np.rint(small * exposure(time) + grain), 0, 255).astype(np.uint8)

    blocks = touched.reshape(SIZE[0], SUPERSAMPLING, SIZE[1], SUPERSAMPLING).any(axis=(1, 3))
    margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MASK_MARGIN + 1, 2 * MASK_MARGIN + 1))
    mask = np.asarray(cv2.dilate(np.where(blocks, 255, 0).astype(np.uint8), margin), np.uint8)
    return ExampleFrame(develop(with_figure), develop(scene), mask)


def render_clip() -> Iterator[ExampleFrame]:
    """All frames in order."""
    garage, figure = Garage(), Figure()
    for index in range(FRAME_COUNT):
        yield render(garage, figure, index)


def footsteps() -> NDArray[np.float32]:
    """A quiet room and steps: mono, -1..1, the clip's length at AUDIO_RATE. So that a carried-over sound can be
    heard."""
    count = AUDIO_RATE * FRAME_COUNT // FRAME_RATE
    seconds = np.arange(count) / AUDIO_RATE
    rng = np.random.default_rng(7)
    sound = 0.006 * np.sin(2 * np.pi * 100 * seconds) + 0.002 * rng.normal(size=count)
    duration = count / AUDIO_RATE
    for step in range(int(STEPS) + 1):
        since = seconds - (0.12 + step * duration / STEPS)
        thud = np.sin(2 * np.pi * 85 * since) + 0.4 * rng.normal(size=count)
        sound += np.where(since >= 0, 0.09 * thud * np.exp(-np.maximum(since, 0) / 0.03), 0)
    return sound.astype(np.float32)


class H264File:
    """An MP4 with one H.264 stream, 4:2:0 in BT.601 (what a player assumes at this size), and sound if given."""

    def __init__(self, path: Path, crf: int, audio: NDArray[np.float32] | None = None) -> None:
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        # One thread: x264's rate control depends on the number of threads, and the files should not.
        # Neither on the machine's vector code: with it, two runs on one machine gave different files.
        options = {"crf": str(crf), "preset": "slower", "threads": "1", "g": "24", "x264-params": "asm=0"}
        self._video = self._container.add_stream("libx264", rate=FRAME_RATE, options=options)
        self._video.width, self._video.height, self._video.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        context = self._video.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 6, 6, 6
        self._sound = self._container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if audio is not None else None
        self._samples = audio
        self._index = 0

    def write(self, rgb: NDArray[np.uint8]) -> None:
        """The next frame, (H, W, 3) uint8 RGB."""
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG"
        )
        frame.pts, frame.time_base = self._index, Fraction(1, FRAME_RATE)
        self._container.mux(self._video.encode(frame))
        self._index += 1

    def close(self) -> None:
        """Write what is left, and the sound."""
        self._container.mux(self._video.encode())
        if self._sound is not None and self._samples is not None:
            self._write_sound(self._samples)
        self._container.close()

    def _write_sound(self, samples: NDArray[np.float32]) -> None:
        assert self._sound is not None
        for start in range(0, len(samples), 1024):
            block = np.ascontiguousarray(samples[None, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
            self._container.mux(self._sound.encode(frame))
        self._container.mux(self._sound.encode())


def main(arguments: list[str] | None = None) -> int:
    """Write the clip; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).resolve().parent / "garage", help="folder to fill"
    )
    output: Path = parser.parse_args(arguments).output
    (output / "masks").mkdir(parents=True, exist_ok=True)
    video = H264File(output / "video.mp4", VIDEO_CRF, footsteps())
    background = H264File(output / "background.mp4", BACKGROUND_CRF)
    for index, frame in enumerate(render_clip()):
        video.write(frame.video)
        background.write(frame.background)
        cv2.imwrite(str(output / "masks" / f"{index:05d}.png"), frame.mask, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    video.close()
    background.close()
    total = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"{output}: {FRAME_COUNT} frames, {total / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
