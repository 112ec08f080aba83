"""The mask of an object from points on it and beside it: grown by colour, then GrabCut. Pure: numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray, PixelArray
from .tracking import clean, grab_cut

_LARGEST = 0.4  # of the frame that one point may take
_DISC = 0.008  # of the longer side: what a click is sure of around itself

_NEARLY_ALL = 0.8  # of a piece of the mask
_DIAGONAL = 40.0  # levels of colour that the diagonal of the picture counts for between an inner and an outer seed

Seed = tuple[float, float, bool]
"""(x, y, on the object), in pixels of the picture."""


def mask_from_points(rgb: PixelArray, seeds: Sequence[Seed]) -> HoleArray:
    """(H, W) mask of the object in (H, W, 3) `rgb` that the inner `seeds` lie on and the outer ones do not.

    At least one seed is inner. What is like them in colour and hangs together with them, its outline by GrabCut.
    """
    grown = _grown(rgb, seeds)
    return _settled(rgb, grown, seeds)


def corrected(rgb: PixelArray, mask: HoleArray, seeds: Sequence[Seed]) -> HoleArray:
    """`mask` with what the inner `seeds` lie on, and without what the outer ones lie on. May be empty. The rest of it
    stays: what was right need not stand out from the ground in colour.
    """
    outer = [seed for seed in seeds if not seed[2]]
    added = [seed for seed in seeds if seed[2] and not mask[_at(seed, mask.shape)]]
    if added:
        mask = mask | mask_from_points(rgb, [*added, *outer])
    if outer:
        mask = _without(rgb, mask, _beside(rgb, outer, [seed for seed in seeds if seed[2]], mask), seeds)
    return mask


def _without(rgb: PixelArray, mask: HoleArray, taken: HoleArray, seeds: Sequence[Seed]) -> HoleArray:
    """`mask` less `taken`, with the outline between them by GrabCut."""
    left = mask & (1 - taken)
    if not taken.any() or not left.any():
        return left
    near = (cv2.dilate(taken, _ellipse(taken)) > 0) & (cv2.erode(taken, _ellipse(taken)) == 0)
    labels = np.where(left, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    labels[near] = np.where(left[near], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    for seed in seeds:
        labels[_disc_of(seed, rgb.shape)] = cv2.GC_FGD if seed[2] else cv2.GC_BGD
    return clean(grab_cut(rgb, labels, 3) & mask, 0.02)


def _ellipse(mask: HoleArray) -> HoleArray:
    """As large as an outline may be off, for what is as large as `mask`."""
    reach = max(round(0.15 * float(np.sqrt(mask.sum()))), 2)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)), np.uint8)


def _at(seed: Seed, shape: tuple[int, ...]) -> tuple[int, int]:
    return min(max(int(seed[1]), 0), shape[0] - 1), min(max(int(seed[0]), 0), shape[1] - 1)


def _disc_of(seed: Seed, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    row, column = _at(seed, shape)
    drawn = np.zeros(shape[:2], np.uint8)
    cv2.circle(drawn, (column, row), max(round(_DISC * max(shape[:2])), 1), 1, -1)
    return drawn > 0


def _grown(rgb: PixelArray, seeds: Sequence[Seed]) -> HoleArray:
    """What is nearer in colour to the inner seeds than Otsu's split of all distances, and connected to one."""
    blur = max(max(rgb.shape[:2]) / 200, 1.0)
    lab = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), (0, 0), blur).astype(np.float32)

    near, nearness = _distances(lab, [seed for seed in seeds if seed[2]])
    outer = [seed for seed in seeds if not seed[2]]
    beside = None
    if outer:
        far, farness = _distances(lab, outer)
        beside = near + nearness >= far + farness
    levels = np.clip(near * 2, 0, 255).astype(np.uint8)
    limit, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    limit = min(limit, 120.0)
    while True:
        like = levels <= limit
        if beside is not None:
            like &= ~beside
        for seed in seeds:
            like[_disc_of(seed, rgb.shape)] = seed[2]
        grown = _touching(like.astype(np.uint8), seeds)
        if limit <= 8 or grown.mean() <= _LARGEST:
            return grown
        limit *= 0.7


def _distances(lab: NDArray[np.float32], seeds: Sequence[Seed]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W) distance in colour to the nearest of the `seeds`, and in place, where the diagonal is `_DIAGONAL`."""
    colour, place = [], []
    rows, columns = np.mgrid[: lab.shape[0], : lab.shape[1]].astype(np.float32)
    for seed in seeds:
        colour.append(np.linalg.norm(lab - lab[_disc_of(seed, lab.shape)].mean(axis=0), axis=2))
        place.append(np.hypot(columns - seed[0], rows - seed[1]) * (_DIAGONAL / np.hypot(*lab.shape[:2])))
    return np.min(colour, axis=0), np.min(place, axis=0).astype(np.float32)


def _touching(mask: HoleArray, seeds: Sequence[Seed]) -> HoleArray:
    """The pieces of `mask` that an inner seed lies on."""
    _, labels = cv2.connectedComponents(mask, connectivity=4)
    hit = {int(labels[_at(seed, mask.shape)]) for seed in seeds if seed[2]} - {0}
    return np.isin(labels, sorted(hit)).astype(np.uint8)


def _settled(rgb: PixelArray, mask: HoleArray, seeds: Sequence[Seed]) -> HoleArray:
    """The outline of `mask` by GrabCut, with the seeds certain."""
    labels = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.dilate(mask, _ellipse(mask)) == 0] = cv2.GC_BGD
    for seed in seeds:
        labels[_disc_of(seed, rgb.shape)] = cv2.GC_FGD if seed[2] else cv2.GC_BGD
    found = grab_cut(rgb, labels, 3)
    if not 0.4 * mask.sum() <= found.sum() <= 2.5 * mask.sum():
        found = mask.copy()
    return clean(found, 0.02)


def _beside(rgb: PixelArray, outer: Sequence[Seed], inner: Sequence[Seed], mask: HoleArray) -> HoleArray:
    """What of `mask` the outer seeds take with them: their own colour, as far as it hangs together, and what is left of
    a piece of which that is nearly all."""
    turned = [(x, y, not inside) for x, y, inside in (*outer, *inner)]
    taken = _grown(rgb, turned) & mask
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    for label in range(1, count):
        piece = labels == label
        if not any(piece[_at(seed, mask.shape)] for seed in inner) and taken[piece].mean() > _NEARLY_ALL:
            taken[piece] = 1
    return taken
