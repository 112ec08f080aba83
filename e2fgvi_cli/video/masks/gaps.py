"""`--grow-gaps`: frames that have no mask, though frames before and after have one."""

from __future__ import annotations

from ... import masks
from ...masks.bridging import MAX_GAP, between
from ...masks.inspection import ranges
from ...types import Frame
from .files import MaskDecoder
from .sources import MaskSource, RawHole


class BridgedMasks:
    """A source whose missing and empty masks, `MAX_GAP` in a row at most, are made of those on both sides of the gap.

    The source must still know the masks of `MAX_GAP` frames back. Nothing depends on which frames were asked for
    before.
    """

    def __init__(self, source: MaskSource, decoder: MaskDecoder) -> None:
        self._source, self._decoder = source, decoder
        self._bridged: set[int] = set()
        self._left: set[int] = set()
        self._said: int | None = None

    def at(self, frame: Frame, offset: int) -> RawHole | None:
        """The source's mask, or one between its neighbours; as the source has it where one side has none near
        enough."""
        own = self._source.at(frame, offset)
        if own is not None and own.hole.any():
            return own
        bridge = self._bridge(frame, offset)
        if offset == 0:
            (self._left if bridge is None else self._bridged).add(frame.index)
            self._report()
        return own if bridge is None else bridge

    def _bridge(self, frame: Frame, offset: int) -> RawHole | None:
        before = self._nearest(frame, offset, -1, MAX_GAP)
        if before is None:
            return None
        after = self._nearest(frame, offset, 1, MAX_GAP + 1 - before[0])
        if after is None:
            return None
        first, last = before[1], after[1]
        shape = masks.resize_nearest(last.hole, (first.hole.shape[0], first.hole.shape[1]))
        return RawHole(between(first.hole, shape, before[0] / (before[0] + after[0])), first.rotation)

    def _nearest(self, frame: Frame, offset: int, direction: int, reach: int) -> tuple[int, RawHole] | None:
        """(frames away, mask) of the nearest one that is not empty."""
        for away in range(1, reach + 1):
            if frame.index + offset + direction * away < 0:
                return None
            raw = self._source.at(frame, offset + direction * away)
            if raw is not None and raw.hole.any():
                return away, raw
        return None

    def _report(self) -> None:
        """One sentence that grows with the run."""
        said = []
        if self._bridged:
            said.append(f"{len(self._bridged)} frames without a mask are bridged ({ranges(sorted(self._bridged))})")
        if self._left:
            said.append(
                f"{len(self._left)} have no mask within {MAX_GAP} frames on both sides ({ranges(sorted(self._left))})"
            )
        sentence = "--grow-gaps: " + "; ".join(said)
        if self._said is None:
            self._said = len(self._decoder.notices)
            self._decoder.notices.append(sentence)
        self._decoder.notices[self._said] = sentence

    def close(self) -> None:
        """Close the source."""
        self._source.close()
