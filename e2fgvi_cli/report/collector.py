"""What the report of a run needs, taken from its finished frames as they are written. No truth is known here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..comparison.layout import eight_bits, shrink
from ..frames.stages import FinishedFrame
from ..quality.temporal import SEAM_RING, Motion, flicker_excess, motion, seam
from .page import ViewedFrame
from .pictures import LARGEST, THUMBNAIL, jpeg, masked, origin_map
from .revealed import Revealed

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MEASURED_SIDE = 480
"""Pixels on the longer side of the pictures that flicker is measured on."""
LEAST_VALID = 0.3
"""Share of a frame whose motion must be found: at a cut it is not."""
SPREAD, WORST = 8, 3
"""Pictures kept: spread over the clip (at most), and of each measure the worst."""
HALF = 0.5
MOST_SAMPLED = 600
"""Frames of which is worked out what no other shows; of longer clips every n-th."""
SOURCE, RESULT, INPUT, ORIGIN = "source", "result", "hole", "where the fill is from"


@dataclass
class _Kept:
    index: int
    time: float
    layers: dict[str, bytes]
    small: Picture
    hole: Mask
    found: Mask


@dataclass(frozen=True)
class Origins:
    """Shares of all holes' pixels, which add up to 1: taken from other frames, filled by the network though some frame
    shows it, never shown. sampled: frames that were looked at, lost: pairs whose motion is unknown."""

    propagated: float
    filled: float
    never: float
    sampled: int
    lost: int


@dataclass
class Collector:
    """`add` every finished frame in order. rotation: the clip's, for pictures as displayed."""

    rotation: int = 0
    times: list[float] = field(default_factory=list)
    share: list[float | None] = field(default_factory=list)
    propagated: list[float | None] = field(default_factory=list)
    flicker: list[float | None] = field(default_factory=list)
    seam: list[float | None] = field(default_factory=list)
    never: list[float | None] = field(default_factory=list)
    _revealed: Revealed = field(default_factory=Revealed)
    _pixels: int = 0
    _taken: int = 0
    _found: list[NDArray[np.uint8]] = field(default_factory=list)
    _spread: list[_Kept] = field(default_factory=list)
    _stride: int = 1
    _worst: dict[str, list[tuple[float, _Kept]]] = field(default_factory=dict)
    _last: tuple[Picture, Mask] | None = None

    def add(self, finished: FinishedFrame) -> None:
        """The next frame."""
        source = finished.source
        before, after, hole = (
            masks.turn_to_display(one, self.rotation) for one in (source.frame.rgb, finished.rgb, source.hole)
        )
        before, after, inside = eight_bits(before), eight_bits(after), np.asarray(hole != 0)
        found = np.zeros(inside.shape, bool)
        if finished.found is not None:
            found = np.asarray(masks.turn_to_display(finished.found, self.rotation)) & inside
        index = len(self.times)
        self.times.append(float(source.frame.time))
        covered = int(inside.sum())
        self.share.append(covered / inside.size)
        taken = int(found.sum())
        self.propagated.append(taken / covered if covered else None)
        self._pixels, self._taken = self._pixels + covered, self._taken + taken
        self._revealed.add(before, inside)
        self._found.append(self._revealed.packed(found, HALF))
        self.seam.append(_seam(after, inside))
        self.flicker.append(self._flicker(after, inside))
        if covered:
            self._keep(index, before, after, inside, found)

    def _flicker(self, after: Picture, inside: Mask) -> float | None:
        small = shrink(after, MEASURED_SIDE)
        hole = np.asarray(shrink(inside.astype(np.uint8) * np.uint8(255), MEASURED_SIDE)) > 127
        last, self._last = self._last, (small, hole)
        if last is None or not hole.any() or not last[1].any():
            return None
        moved: Motion | None = motion(last[0], small)
        if moved is None or moved.valid.mean() < LEAST_VALID:
            return None
        return flicker_excess(last[0], small, moved, last[1], hole)

    def _keep(self, index: int, before: Picture, after: Picture, inside: Mask, found: Mask) -> None:
        worse = [
            name
            for name, values in (("flicker", self.flicker), ("seam", self.seam))
            if (value := values[-1]) is not None
            and (len(kept := self._worst.setdefault(name, [])) < WORST or value > kept[-1][0])
        ]
        spread = index % self._stride == 0
        if not worse and not spread:
            return
        small = shrink(before, LARGEST)
        layers = {SOURCE: before, RESULT: after, INPUT: masked(before, inside)}
        kept_one = _Kept(
            index,
            self.times[-1],
            {name: jpeg(one) for name, one in layers.items()},
            small,
            *(np.asarray(shrink(one.astype(np.uint8) * np.uint8(255), LARGEST)) > 127 for one in (inside, found)),
        )
        for name in worse:
            values = self.flicker if name == "flicker" else self.seam
            self._worst[name].append((float(values[-1] or 0.0), kept_one))
            self._worst[name] = sorted(self._worst[name], key=lambda one: -one[0])[:WORST]
        if spread:
            self._spread.append(kept_one)
            if len(self._spread) > SPREAD:
                self._stride *= 2
                self._spread = [one for one in self._spread if one.index % self._stride == 0]

    def origins(self) -> Origins:
        """Where the fill is from, over the clip; `never` is known afterwards, a value a frame."""
        count = len(self.times)
        step = max(1, -(-count // MOST_SAMPLED))
        self.never = [None] * count
        whole = never = 0
        for index in range(0, count, step):
            hole = self._revealed.hole(index)
            pixels = int(hole.sum())
            if not pixels:
                continue
            found = self._revealed.unpacked(self._found[index])
            unseen = int((self._revealed.never(index) & ~found).sum())
            self.never[index : index + step] = [unseen / pixels] * len(self.never[index : index + step])
            whole, never = whole + pixels, never + unseen
        if not whole:
            return Origins(0.0, 0.0, 0.0, 0, self._revealed.lost)
        propagated = self._taken / self._pixels
        unseen_share = min(never / whole, 1 - propagated)
        sampled = len(range(0, count, step))
        return Origins(propagated, 1 - propagated - unseen_share, unseen_share, sampled, self._revealed.lost)

    def viewed(self) -> list[ViewedFrame]:
        """The kept frames in order, each with the map of where its fill is from."""
        import cv2

        every = {one.index: one for one in self._spread}
        every |= {one.index: one for kept in self._worst.values() for _, one in kept}
        found = []
        for index in sorted(every):
            kept = every[index]
            unseen = self._revealed.never(index).astype(np.uint8)
            size = kept.hole.shape[::-1]
            never = (
                (np.asarray(cv2.resize(unseen, size, interpolation=cv2.INTER_NEAREST)) > 0) & kept.hole & ~kept.found
            )
            origin = origin_map(kept.small, kept.found, kept.hole & ~kept.found & ~never, never)
            layers = {**kept.layers, ORIGIN: jpeg(origin)}
            found.append(ViewedFrame(index, _named(index, kept.time), layers, jpeg(kept.small, THUMBNAIL)))
        return found


def _seam(after: Picture, inside: Mask) -> float | None:
    """`quality.temporal.seam` of the part around the hole."""
    if not inside.any():
        return None
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    margin = SEAM_RING + 2
    part = tuple(slice(max(int(one[0]) - margin, 0), int(one[-1]) + margin + 1) for one in (rows, columns))
    return seam(after[part], inside[part])


def _named(index: int, time: float) -> str:
    return f"{int(time // 60)}:{time % 60:04.1f}, frame {index}"
