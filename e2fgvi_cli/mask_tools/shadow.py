"""Which pixels beside an object are its shadow or its reflection: what differs from the ground behind, touches the
object and moves with it. numpy and OpenCV.

Shadows after "Detecting moving shadows" (Prati, Mikic, Trivedi, Cucchiara, PAMI 2003): darker, of the same colour, and
evenly so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray
from .background import Background, Picture, Slices, Surrounded

_SOFT = 2.0
"""Sigma, pixels, by which pictures are smoothed before they are compared."""
_FLOOR = 10.0
"""Levels added before logarithms: below it ratios are noise."""
_LEAST = 0.035
"""Of a natural logarithm: what darkens by 3.5 % is the least that may be a shadow."""
_OF_EDGES, _OF_SPREAD = 0.2, 0.4
"""How far edges of the ground, and what differs between aligned frames, raise that."""
_OF_REFLECTIONS = 1.6
"""How much more has to differ where any difference counts."""
_DEEPEST = 1.9
"""A shadow leaves at least 15 % of the light; darker things are things."""
_SURE, _FAINT = 1.5, 0.75
"""In tolerances: where a shadow is sure, and down to which it goes on from there."""
_TOUCH = 0.04
"""Of the object's size: how near to it a shadow has to come."""
_MEMORY, _EVERY, _SMOOTH = 12, 3, 2
"""Frames before and after that have to agree, each moved with the object; of those every so many-th; and how many are
averaged."""
_STAYS, _PLAY = 0.75, 3
"""Share of them in which something has to be there, give or take so many pixels: what passes by the object is not."""
_LARGEST_PARTS = 12
_LEFT = 0.15
"""Of the object's size: by how much further it has to have been from ground that is judged."""

KINDS = ("shadow", "reflection")
Score = NDArray[np.float32]


@dataclass(frozen=True)
class ShadowOptions:
    """What beside a mask is taken into it.

    kind: "shadow" (darker, of the same colour) or "reflection" (whatever differs). max_distance: how far from the
    object, in units of its longer side.
    """

    kind: str = "shadow"
    max_distance: float = 1.0


@dataclass(frozen=True)
class Grown:
    """What belongs to the mask of frame `index`: `shadow` (H, W) 0 and 1 at working size, without the mask. judged:
    share of the ground around the object that is known from frames in which the object is further from it."""

    index: int
    shadow: HoleArray
    judged: float


@dataclass(frozen=True)
class _Evidence:
    index: int
    mask: HoleArray
    allowed: HoleArray
    score: Score
    present: Score
    judged: float
    centre: tuple[float, float] | None
    size: float


def shadows(frames: Iterable[Surrounded], options: ShadowOptions) -> Iterator[Grown]:
    """The shadow of each frame, in order. Reads `_MEMORY` frames ahead of those the background reads."""
    near: deque[_Evidence] = deque()
    place = 0
    for one in frames:
        near.append(_evidence(one, options))
        if len(near) > 2 * _MEMORY + 1:
            near.popleft()
            place -= 1
        if len(near) - place > _MEMORY:
            yield _settled(near, place)
            place += 1
    while place < len(near):
        yield _settled(near, place)
        place += 1


def reach_of(mask: HoleArray, max_distance: float) -> tuple[HoleArray, float]:
    """Where (H, W) a shadow may lie: at most `max_distance` times a part's longer side from that part, and the longest
    of those sides."""
    import cv2

    allowed = np.zeros_like(mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    parts = sorted(range(1, count), key=lambda part: -stats[part, cv2.CC_STAT_AREA])[:_LARGEST_PARTS]
    longest = 0.0
    for part in parts:
        side = float(max(stats[part, cv2.CC_STAT_WIDTH], stats[part, cv2.CC_STAT_HEIGHT]))
        distance = cv2.distanceTransform((labels != part).astype(np.uint8), cv2.DIST_L2, 3)
        allowed[distance <= side * max_distance] = 1
        longest = max(longest, side)
    allowed[mask > 0] = 0
    return allowed, longest


def _evidence(one: Surrounded, options: ShadowOptions) -> _Evidence:
    frame = one.frame
    score = np.zeros(frame.mask.shape, np.float32)
    if not frame.mask.any():
        return _Evidence(frame.index, frame.mask, frame.mask, score, score, 1.0, None, 0.0)
    allowed, size = reach_of(frame.mask, options.max_distance)
    region = _box(allowed | frame.mask)
    ground = one.background(region, enough=min(size * options.max_distance, 250.0))
    here = allowed[region] > 0
    beside = here & (frame.away[region] < max(0.5 * size, 4))
    left = ground.known & (ground.apart > frame.away[region] + _LEFT * size)
    judged = float(left[beside].mean()) if beside.any() else 1.0
    score[region] = np.where(here, _score(frame.rgb[region], ground, options.kind), 0)
    rows, columns = np.nonzero(frame.mask)
    centre = (float(columns.mean()), float(rows.mean()))
    return _Evidence(frame.index, frame.mask, allowed, score, _present(score, frame.mask), judged, centre, size)


def _present(score: Score, mask: HoleArray) -> Score:
    """1 where it, or the object, is not far."""
    import cv2

    smooth = cv2.GaussianBlur(score, (0, 0), 1.0)
    side = 2 * _PLAY + 1
    return cast(Score, cv2.dilate(((smooth > _FAINT) | (mask > 0)).astype(np.float32), np.ones((side, side), np.uint8)))


def _box(mask: HoleArray) -> Slices:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _score(rgb: Picture, ground: Background, kind: str) -> Score:
    """(h, w) how surely a pixel is of it, in units of what alignment, noise and what moves behind explain."""
    import cv2

    here = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), _SOFT) + _FLOOR
    behind = cv2.GaussianBlur(ground.rgb, (0, 0), _SOFT) + _FLOOR
    change = np.log(behind / here)
    darker = change.mean(axis=2)
    gray = behind.mean(axis=2)
    edges = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) / gray
    unsure = cv2.GaussianBlur(ground.spread, (0, 0), _SOFT) / gray
    tolerance = _LEAST + _OF_EDGES * edges + _OF_SPREAD * unsure
    if kind == "reflection":
        score = np.abs(change).max(axis=2) / (tolerance * _OF_REFLECTIONS)
    else:
        tint = np.abs(change - darker[..., None]).max(axis=2)
        score = darker / tolerance
        score[(tint > 0.3 * darker + 0.08) | (darker > _DEEPEST)] = 0
    score[~ground.known] = 0
    return np.clip(score, 0, 4).astype(np.float32)


def _settled(near: deque[_Evidence], place: int) -> Grown:
    import cv2

    this = near[place]
    if this.centre is None:
        return Grown(this.index, np.zeros_like(this.mask), this.judged)
    total, count = np.zeros_like(this.score), 0
    there, looked = np.zeros_like(this.score), np.zeros_like(this.score)
    for offset in range(-place, len(near) - place):
        other = near[place + offset]
        if other.centre is None or (abs(offset) > _SMOOTH and offset % _EVERY):
            continue
        if abs(offset) <= _SMOOTH:
            total += _moved(other.score, other, this)
            count += 1
        if offset % _EVERY == 0:
            there += _moved(other.present, other, this)
            looked += _moved(np.ones_like(this.score), other, this)
    score = cv2.GaussianBlur(0.5 * total / count + 0.5 * this.score, (0, 0), 1.0)
    score[there < _STAYS * looked] = 0
    return Grown(this.index, _touching(cast(Score, score), this), this.judged)


def _moved(picture: Score, other: _Evidence, this: _Evidence) -> Score:
    """What is at a place beside the object in another frame, at that place beside it in this one."""
    import cv2

    assert this.centre is not None
    assert other.centre is not None
    matrix = np.array([[1, 0, this.centre[0] - other.centre[0]], [0, 1, this.centre[1] - other.centre[1]]])
    return cast(Score, cv2.warpAffine(picture, matrix, picture.shape[::-1], flags=cv2.INTER_LINEAR))


def _touching(score: Score, this: _Evidence) -> HoleArray:
    """Faint pixels that hang together with sure ones, and those with the object."""
    import cv2

    faint = ((score > _FAINT) & (this.allowed > 0)).astype(np.uint8)
    opened = cv2.morphologyEx(faint, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    gap = max(round(_TOUCH * this.size), 3)
    object_near = cv2.dilate(this.mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1)))
    joined = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    sure = np.bincount(labels[(score > _SURE) & (joined > 0)], minlength=count)
    touches = np.bincount(labels[(object_near > 0) & (joined > 0)], minlength=count)
    area = np.bincount(labels.ravel(), minlength=count)
    kept = (sure >= np.maximum(0.2 * area, 6)) & (touches >= 3)
    kept[0] = False
    found = kept[labels].astype(np.uint8)
    return cast(HoleArray, found & this.allowed)
