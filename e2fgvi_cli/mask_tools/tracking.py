"""Following one object through a clip without another model: GrabCut where the user points, then the flow carries the
mask.

Pure: numpy and OpenCV; frames and flow come from outside. Each step warps the mask along the flow, distrusts the pixels
where forward and backward flow disagree, settles those and the outline by colour (GrabCut in a narrow band), and drops
specks. Errors add up, so that corrected masks may restart it anywhere (`walking.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..types import HoleArray, PixelArray

FlowArray = NDArray[np.float32]
FlowBetween = Callable[[PixelArray, PixelArray], tuple[FlowArray, FlowArray]]
"""(a, b) (H, W, 3) -> flow a->b on a's grid and flow b->a on b's grid, each float32 (H, W, 2), (dx, dy) in pixels."""


@dataclass(frozen=True)
class TrackOptions:
    """`band` share of the object's size (square root of its area) within which its outline may move by colour; `refine`
    False keeps the warped mask as it is; `smallest` share of the mask below which a piece of it is dropped."""

    band: float = 0.06
    refine: bool = True
    smallest: float = 0.05
    grabcut_steps: int = 2


def mask_from_box(rgb: PixelArray, box: tuple[float, float, float, float]) -> HoleArray:
    """(H, W) mask of the object in `box` (x, y, width, height; pixels), by GrabCut: outside is background.

    Raises `UsageError` for a box that does not lie in the frame. A box in which GrabCut finds no object is taken whole.
    """
    height, width = rgb.shape[:2]
    require_in_frame(box, (height, width))
    left, top = min(max(round(box[0]), 0), width - 1), min(max(round(box[1]), 0), height - 1)
    right, bottom = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    whole = np.zeros((height, width), np.uint8)
    whole[top:bottom, left:right] = 1
    if whole.all():
        return whole
    labels = np.where(whole, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    found = grab_cut(rgb, labels, 5)
    found = clean(found & whole, 0.02)
    return found if found.sum() >= 0.05 * whole.sum() else whole


def require_in_frame(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    """Raise `UsageError` unless at least two pixels each way of `box` (x, y, width, height) lie in a frame (height,
    width)."""
    height, width = size
    inside = (min(box[0] + box[2], width) - max(box[0], 0), min(box[1] + box[3], height) - max(box[1], 0))
    if min(inside) < min(2, *size):
        raise UsageError(
            f"--box {_text(box)} does not lie in the frame of {width}x{height}; give x,y,width,height in it"
        )


def _text(box: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in box)


def grab_cut(rgb: PixelArray, labels: NDArray[np.uint8], steps: int) -> HoleArray:
    """Foreground by GrabCut from labels; as labelled where one of the two colour models would have no pixel."""
    foreground = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if foreground.all() or not foreground.any():
        return foreground.astype(np.uint8)
    eight = rgb if rgb.dtype == np.uint8 else np.rint(rgb / 257.0).astype(np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)  # its k-means starts at random, and a run should repeat
    cv2.grabCut(np.ascontiguousarray(eight), labels, None, *models, steps, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def warp(values: NDArray[Any], flow: FlowArray) -> NDArray[np.float32]:
    """`values` (H, W[, c]) looked up at each pixel plus its flow, linearly; the border is repeated."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return cast(
        NDArray[np.float32],
        cv2.remap(
            values.astype(np.float32),
            columns + flow[:, :, 0],
            rows + flow[:, :, 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
    )


def disagreement(flow: FlowArray, back: FlowArray) -> NDArray[np.bool_]:
    """(H, W) pixels whose flow there and back does not return (Sundaram et al. 2010: 1 % of the squared lengths +
    0.5)."""
    returned = warp(back, flow)
    lengths = (flow**2).sum(axis=2) + (returned**2).sum(axis=2)
    return cast(NDArray[np.bool_], ((flow + returned) ** 2).sum(axis=2) > 0.01 * lengths + 0.5)


def clean(mask: HoleArray, smallest: float) -> HoleArray:
    """Without pieces below `smallest` of the largest one, and with small holes filled."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 1:
        return mask
    areas = statistics[1:, cv2.CC_STAT_AREA]
    kept = np.isin(labels, 1 + np.flatnonzero(areas >= smallest * areas.max())).astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(1 - kept, connectivity=4)
    holes = 1 + np.flatnonzero(statistics[1:, cv2.CC_STAT_AREA] < 0.02 * kept.sum())
    return (kept | np.isin(labels, holes)).astype(np.uint8)


def step(
    mask: HoleArray, old: PixelArray, new: PixelArray, flow_between: FlowBetween, options: TrackOptions
) -> tuple[HoleArray, float]:
    """The object's mask in `new`, given that in `old`, and how sure it is (0..1): the share of it where flow there and
    back agrees, times the overlap of what was carried and what was settled.

    An object that is gone stays gone (an empty mask, confidence 0).
    """
    if not mask.any():
        return mask, 0.0
    forward, backward = flow_between(old, new)
    carried = warp(mask, backward)
    moved = (carried > 0.5).astype(np.uint8)
    if not moved.any():
        return moved, 0.0
    doubtful = disagreement(backward, forward)
    settled = _settle(new, moved, doubtful, options) if options.refine else moved
    settled = clean(settled, options.smallest)
    return settled, float(1 - doubtful[moved > 0].mean()) * overlap(settled, moved)


def _settle(rgb: PixelArray, moved: HoleArray, doubtful: NDArray[np.bool_], options: TrackOptions) -> HoleArray:
    """GrabCut around the carried mask: its outline, and where the flow is doubtful a wider band, are open to change."""
    reach = max(round(options.band * float(np.sqrt(moved.sum()))), 1)
    narrow, wide = _disc(reach), _disc(3 * reach)
    surely_inside = cv2.erode(moved, narrow) > 0
    surely_outside = cv2.dilate(moved, narrow) == 0
    open_to_change = doubtful & (cv2.dilate(moved, wide) > 0) & (cv2.erode(moved, wide) == 0)
    labels = np.where(moved, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[surely_inside & ~open_to_change] = cv2.GC_FGD
    labels[surely_outside & ~open_to_change] = cv2.GC_BGD
    window = _around(moved, 6 * reach + 16)
    found = np.zeros_like(moved)
    found[window] = grab_cut(rgb[window], np.ascontiguousarray(labels[window]), options.grabcut_steps)
    ratio = found.sum() / moved.sum()
    return found if 0.6 <= ratio <= 1.6 else moved  # colour that takes over half the object is not to be believed


def _disc(radius: int) -> NDArray[np.uint8]:
    return cast(NDArray[np.uint8], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def _around(mask: HoleArray, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


def overlap(found: HoleArray, truth: HoleArray) -> float:
    """Intersection over union; 1 where both are empty."""
    union = np.logical_or(found, truth).sum()
    return float(np.logical_and(found, truth).sum() / union) if union else 1.0


def require_mask(mask: HoleArray, name: str) -> HoleArray:
    """`mask`, or `InputError` if it is empty: nothing could be followed."""
    if not mask.any():
        raise InputError(f"{name} marks nothing; paint the object white, or give a --box around it")
    return mask
