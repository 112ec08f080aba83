"""What lies behind an object, from aligned frames in which it is somewhere else. numpy and OpenCV.

Shape legend: H W a frame at working size, h w the region asked for, k aligned frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..propagation.homography import CoarseFrame, Homography, Surroundings, estimate_homography, inverse, keypoints
from ..types import HoleArray

REACH, LOOKED_AT = 80, 20
"""Frames before and after, and how many of those are looked at, evenly."""
CLEARANCE = 3
"""Pixels that features and the background keep from masks."""
_KEPT = 9
"""Aligned frames a pixel's background is made of: those in which the object is furthest from it."""
_FEWEST = 3
"""Aligned frames below which nothing is said of a pixel."""
_STEP = 4
"""Every such row and column is compared to see whether a frame was aligned."""
_UNLIKE = 25.0
"""Levels by which a frame may differ on average to count as aligned: another shot differs by more."""

Picture = NDArray[np.uint8]
Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Seen:
    """A frame at working size: `rgb` (H, W, 3) and `mask` (H, W) 0 and 1, as displayed. away: pixels (H, W) to the
    mask, at most 255. coarse: features of it. to_shot: where its pixels lie in its shot's first frame; shot: its
    number."""

    index: int
    rgb: Picture
    mask: HoleArray
    away: NDArray[np.uint8]
    coarse: CoarseFrame
    to_shot: Homography
    shot: int


@dataclass(frozen=True)
class Background:
    """Of the region (h, w) of a frame: `rgb` (h, w, 3) float32 levels without the object; `spread` (h, w), levels by
    which the aligned frames differ among themselves; `known` (h, w) bool; `apart` (h, w), pixels that the object was
    away from there when that was seen."""

    rgb: NDArray[np.float32]
    spread: NDArray[np.float32]
    known: NDArray[np.bool_]
    apart: NDArray[np.float32]


class Surrounded:
    """A frame and those of its neighbourhood that may show what it hides."""

    def __init__(self, frame: Seen, others: list[Seen]) -> None:
        self.frame = frame
        self._others = others

    def background(self, region: Slices, enough: float) -> Background:
        """What lies behind in `region` (rows, columns). Frames in which the object is `enough` pixels away from a
        pixel are as good as those in which it is further."""
        rows, columns = region
        size = (rows.stop - rows.start, columns.stop - columns.start)
        pictures, distances, late = [], [], []
        everywhere = (slice(0, self.frame.mask.shape[0]), slice(0, self.frame.mask.shape[1]))
        around = Surroundings.of(self.frame.coarse, everywhere)
        shift = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]], np.float64)
        for other in self._others:
            found = _aligned(self.frame, other, around)
            if found is None:
                continue
            homography, gain = found
            picture, away = _warped(other, homography @ shift, size)
            pictures.append(np.clip(picture.astype(np.float32) * gain, 0, 255).astype(np.uint8))
            distances.append(away)
            late.append(abs(other.index - self.frame.index))
        return _middle(pictures, distances, late, min(enough, 255.0), size)


def surroundings(frames: Iterable[tuple[int, Picture, HoleArray]]) -> Iterator[Surrounded]:
    """Frames (number, picture, mask) in order, each with its neighbours. Reads `REACH` frames ahead."""
    near: deque[Seen] = deque()
    place = 0
    for seen in _seen(frames):
        near.append(seen)
        if len(near) - place > REACH:
            yield _surrounded(near, place)
            place += 1
        if place > REACH:
            near.popleft()
            place -= 1
    for last in range(place, len(near)):
        yield _surrounded(near, last)


def _surrounded(near: deque[Seen], place: int) -> Surrounded:
    frame = near[place]
    others = [one for one in near if one is not frame and one.shot == frame.shot]
    others = [one for one in others if abs(one.index - frame.index) <= REACH]
    if len(others) > LOOKED_AT:
        others = [others[at] for at in np.linspace(0, len(others) - 1, LOOKED_AT).round().astype(int)]
    return Surrounded(frame, others)


def _seen(frames: Iterable[tuple[int, Picture, HoleArray]]) -> Iterator[Seen]:
    before: Seen | None = None
    for index, rgb, mask in frames:
        coarse = _coarse(rgb, mask)
        to_shot, shot = np.eye(3), 0
        if before is not None:
            step = estimate_homography(
                before.coarse.gray, before.coarse.keypoints, coarse.gray, coarse.near_hole
            )  # fmt: skip
            shot = before.shot
            if step is None or _gain(Surroundings.of(before.coarse, _all(mask)), step, coarse) is None:
                shot += 1
            else:
                to_shot = before.to_shot @ inverse(step)
                to_shot = to_shot / to_shot[2, 2]
        before = Seen(index, rgb, mask, _away(mask), coarse, to_shot, shot)
        yield before


def _all(mask: HoleArray) -> Slices:
    return slice(0, mask.shape[0]), slice(0, mask.shape[1])


def _away(mask: HoleArray) -> NDArray[np.uint8]:
    import cv2

    if not mask.any():
        return np.full(mask.shape, 255, np.uint8)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
    return np.asarray(np.clip(distance, 0, 255), np.uint8)


def _coarse(rgb: Picture, mask: HoleArray) -> CoarseFrame:
    import cv2

    side = 2 * CLEARANCE + 1
    near = np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), np.uint8)
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    return CoarseFrame(gray, near, keypoints(gray, near), np.eye(3), np.eye(3))


def _aligned(frame: Seen, other: Seen, around: Surroundings) -> tuple[Homography, float] | None:
    """The homography from `frame` to `other`, and by what the levels of `other` are to be multiplied."""
    homography = inverse(other.to_shot) @ frame.to_shot
    homography = homography / homography[2, 2]
    direct = estimate_homography(
        frame.coarse.gray, frame.coarse.keypoints, other.coarse.gray, other.coarse.near_hole, homography
    )
    if direct is not None:
        homography = around.better_fitting(homography, direct, other.coarse)
    gain = _gain(around, homography, other.coarse)
    return None if gain is None else (homography, gain)


def _gain(around: Surroundings, homography: Homography, other: CoarseFrame) -> float | None:
    """What the exposure differs by; None where `other` does not look like it, or hardly overlaps."""
    import cv2

    moved, size = homography @ around.to_frame, around.gray.shape[::-1]
    flags = cv2.WARP_INVERSE_MAP
    gray = cv2.warpPerspective(other.gray, moved, size, flags=flags | cv2.INTER_LINEAR)
    hidden = cv2.warpPerspective(
        other.near_hole, moved, size, flags=flags | cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1
    )
    seen = (around.clear > 0) & (hidden == 0)
    if seen.mean() < 0.1:
        return None
    here, there = around.gray[seen].astype(np.float32), gray[seen].astype(np.float32)
    gain = float(np.median((here + 4) / (there + 4)))
    unlike = float(np.abs(here - there * gain).mean())
    return gain if unlike < _UNLIKE else None


def _warped(other: Seen, homography: Homography, size: tuple[int, int]) -> tuple[Picture, NDArray[np.uint8]]:
    import cv2

    flags, across = cv2.WARP_INVERSE_MAP, size[::-1]
    picture = cv2.warpPerspective(other.rgb, homography, across, flags=flags | cv2.INTER_LINEAR)
    away = cv2.warpPerspective(
        other.away, homography, across, flags=flags | cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return cast(Picture, picture), cast(NDArray[np.uint8], away)


def _middle(
    pictures: list[Picture], distances: list[NDArray[np.uint8]], late: list[int], enough: float, size: tuple[int, int]
) -> Background:
    """The median of the frames in which the object is furthest away, of those the ones nearest in time (`late`)."""
    if len(pictures) < _FEWEST:
        nothing = np.zeros(size, np.float32)
        return Background(np.zeros((*size, 3), np.float32), nothing, nothing > 0, nothing)
    away, stack = np.stack(distances), np.stack(pictures)
    best = _furthest(away, late, enough)
    away = np.take_along_axis(away, best, 0)
    usable = away > CLEARANCE
    chosen = np.take_along_axis(stack, best[..., None], 0)
    chosen[~usable] = 255  # sorted to the end
    chosen.sort(axis=0)
    count = usable.sum(axis=0)
    low, middle, high = (
        np.take_along_axis(chosen, np.minimum(count * part // 4, len(chosen) - 1)[None, ..., None], 0)[0]
        for part in (1, 2, 3)
    )
    spread = (high.astype(np.float32) - low).max(axis=2)
    apart = np.minimum(np.where(usable, away, 0).max(axis=0), enough)
    return Background(middle.astype(np.float32), spread, count >= _FEWEST, apart.astype(np.float32))


def _furthest(away: NDArray[np.uint8], late: list[int], enough: float) -> NDArray[np.intp]:
    """(k, h, w): which pictures to take of each pixel; every second row and column is ranked, which is enough."""
    coarse = np.minimum(away[:, ::2, ::2], np.uint8(enough)).astype(np.int32) * 1000 - np.array(late)[:, None, None]
    kept = min(_KEPT, len(coarse))
    order = np.ascontiguousarray(-coarse.transpose(1, 2, 0))
    best = np.argpartition(order, kept - 1, axis=2)[..., :kept] if kept < len(coarse) else np.argsort(order, axis=2)
    whole = best.transpose(2, 0, 1).repeat(2, axis=1).repeat(2, axis=2)
    return whole[:, : away.shape[1], : away.shape[2]]
