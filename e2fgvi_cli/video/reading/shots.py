"""Cuts, found while the frames stream by: windows, flow and references must not cross them. Pure (numpy and OpenCV).

Two signs are looked at on small pictures, because each alone fails where the other holds: the colours of the frame
(histograms; blind to a pan, fooled by a flash) and its layout (where bright and dark lie; blind to a flash, fooled by
fast motion). A cut is a frame after which both stay changed and whose change stands out from those around it. The
thresholds were set on real clips; docs/round-trip.md has the figures beside PySceneDetect's.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...types import PixelArray

T = TypeVar("T")

_SMALL = (36, 64)  # (height, width) at which frames are compared
_BINS = (16, 4, 4)  # of hue-like colour planes: luma and two colour differences
_NEIGHBOURS = 2  # frames on each side that a cut has to stand out from


@dataclass(frozen=True)
class ShotOptions:
    """`threshold` 0..1: change of a frame that may be a cut; `contrast`: how many times the median of its neighbours'
    changes it must be. In a calm shot, where it is `calm_contrast` times that, `calm_threshold` is enough. `shortest`
    frames of a shot."""

    threshold: float = 0.32
    contrast: float = 2.0
    calm_threshold: float = 0.16
    calm_contrast: float = 12.0
    shortest: int = 4


@dataclass(frozen=True)
class _Signature:
    """What is kept of a frame: normalised layout (36, 64) and histogram (256,), a few kilobytes."""

    layout: NDArray[np.float32]
    colours: NDArray[np.float32]


def signature(rgb: PixelArray) -> _Signature:
    """The small picture of an (H, W, 3) frame, uint8 or uint16."""
    import cv2

    small = cv2.resize(rgb, _SMALL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    small *= 1 / 65535 if rgb.dtype == np.uint16 else 1 / 255
    luma = small @ np.array([0.299, 0.587, 0.114], np.float32)
    planes = (luma, (small[:, :, 2] - luma) + 0.5, (small[:, :, 0] - luma) + 0.5)
    index = np.zeros(luma.shape, np.int64)
    for plane, bins in zip(planes, _BINS, strict=True):
        index = index * bins + np.clip((plane * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(index.ravel(), minlength=int(np.prod(_BINS))).astype(np.float32) / index.size
    smooth = cv2.GaussianBlur(luma, (0, 0), 1.0)
    centred = smooth - smooth.mean()
    layout = centred / max(float(np.sqrt((centred**2).mean())), 0.02)
    return _Signature(layout.astype(np.float32), counts.astype(np.float32))


def change(old: _Signature, new: _Signature) -> float:
    """0 (alike) to 1 (nothing in common): the geometric mean of the changes of colours and of layout."""
    colours = 0.5 * float(np.abs(old.colours - new.colours).sum())
    layout = 0.5 * (1.0 - float((old.layout * new.layout).mean()))
    return float(np.sqrt(max(colours, 0.0) * min(max(2 * layout, 0.0), 1.0)))


class CutDetector:
    """Feed frames one by one; each call gives a verdict on the frame `DELAY` calls before it (None at first).

    `finish` gives the verdicts still owed. A verdict is True where the frame starts a new shot. Holds the signatures
    of a few frames, whatever the clip's length.
    """

    DELAY = _NEIGHBOURS

    def __init__(self, options: ShotOptions = ShotOptions()) -> None:
        self._options = options
        self._signatures: deque[_Signature] = deque(maxlen=2 * _NEIGHBOURS + 2)
        self._changes: deque[float] = deque(maxlen=2 * _NEIGHBOURS + 1)
        self._seen = 0
        self._since_cut = 0
        self._owed = 0

    def add(self, rgb: PixelArray) -> bool | None:
        """The verdict on the frame `DELAY` before this one, or None."""
        new = signature(rgb)
        self._changes.append(change(self._signatures[-1], new) if self._signatures else 0.0)
        self._signatures.append(new)
        self._seen += 1
        self._owed += 1
        return self._verdict(_NEIGHBOURS) if self._owed > _NEIGHBOURS else None

    def finish(self) -> Iterator[bool]:
        """Verdicts on the last frames, which have fewer neighbours after them."""
        while self._owed:
            yield self._verdict(self._owed - 1)

    def _verdict(self, after: int) -> bool:
        """On the frame that has `after` frames behind it."""
        self._owed -= 1
        place = len(self._changes) - 1 - after
        own = self._changes[place]
        around = [value for n, value in enumerate(self._changes) if n != place]
        first = self._seen - 1 - after == 0
        least = self._least_change(float(np.median(around or [0.0])), own)
        is_cut = (
            not first
            and self._since_cut + 1 >= self._options.shortest
            and own >= least
            and own == max(own, *around)
            and self._stays(after, least)
        )
        self._since_cut = 0 if is_cut else self._since_cut + 1
        return is_cut

    def _least_change(self, usual: float, own: float) -> float:
        """The change that makes a cut where the neighbours' median is `usual`; infinite if `own` does not stand out."""
        if own >= self._options.calm_contrast * usual:
            return self._options.calm_threshold
        return self._options.threshold if own >= self._options.contrast * usual else float("inf")

    def _stays(self, after: int, least: float) -> bool:
        """Whether every frame shortly before the change differs from every one shortly after it: around a flash or a
        dropped frame they do not."""
        place = len(self._signatures) - 1 - after
        kept = list(self._signatures)
        before, later = kept[max(place - _NEIGHBOURS, 0) : place], kept[place : place + 1 + _NEIGHBOURS]
        return min(change(old, new) for old in before for new in later) >= 0.75 * least


def judge(
    items: Iterable[T], rgb_of: Callable[[T], PixelArray], options: ShotOptions = ShotOptions()
) -> Iterator[tuple[T, bool]]:
    """Each item, `CutDetector.DELAY` items later, with whether it starts a new shot."""
    detector = CutDetector(options)
    waiting: deque[T] = deque()
    for item in items:
        waiting.append(item)
        verdict = detector.add(rgb_of(item))
        if verdict is not None:
            yield waiting.popleft(), verdict
    for verdict in detector.finish():
        yield waiting.popleft(), verdict


def split_shots(judged: Iterable[tuple[T, bool]]) -> Iterator[Iterator[T]]:
    """What `judge` gave as one stream a shot, lazily: each has to be read to its end before the next is asked for."""
    shot = 0

    def shot_of(pair: tuple[T, bool]) -> int:
        nonlocal shot
        shot += pair[1]
        return shot

    for _, pairs in itertools.groupby(judged, shot_of):
        yield (item for item, _ in pairs)
