"""What a run holds does not grow with its clip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction

import pytest

from e2fgvi_cli.engine import Engine
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.types import Frame

from ..conftest import ROOT
from .test_engine import CPU, WHOLE, clip, network

FLAT = """
import resource, sys
import torch
from tests.engine.test_engine import CPU, WHOLE, clip, network
from tests.engine.test_memory import endless
from e2fgvi_cli.engine import Engine
from e2fgvi_cli.fill.stream import fill_shot
torch.set_num_threads(1)
done = sum(1 for _ in fill_shot(endless(clip(1)[0], int(sys.argv[1])), Engine(network(), CPU), WHOLE))
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource is for Unix")
def test_resident_memory_is_flat_on_a_clip_ten_times_as_long() -> None:
    peaks = []
    for count in (6, 60):
        done = subprocess.run(
            [sys.executable, "-c", FLAT, str(count)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        frames, peak = map(int, done.stdout.split())
        assert frames == count
        peaks.append(peak)
    assert peaks[1] <= 1.05 * peaks[0]


def endless(item: HoledFrame, count: int) -> Iterator[HoledFrame]:
    for i in range(count):
        yield HoledFrame.of(Frame(i, item.frame.rgb, Fraction(i, 25)), item.hole, item.alpha)


def test_what_is_kept_does_not_grow_with_the_clip() -> None:
    engine = Engine(network(), CPU)
    most = []
    for count in (12, 24):
        kept = 0
        for _ in fill_shot(endless(clip(1)[0], count), engine, WHOLE):
            kept = max(kept, sum(len(s.features) + len(s.flows) for s in engine._stores.values()))
        most.append(kept)
    assert most[0] == most[1]
