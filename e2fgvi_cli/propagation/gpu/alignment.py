"""`propagation.homography`'s direct alignment on a device: of one frame to all others that it looks at, at once.

Features are followed by Lucas and Kanade from where the chained homographies take them (as OpenCV's
`calcOpticalFlowPyrLK` does on one level), the homography is fitted by reweighted least squares instead of random
samples, and the chained or the direct one is taken by which the other frame fits better around the hole. The host
would ask OpenCV once for each pair of frames. Shapes are fixed and nothing waits for the device, so all of it can be
one CUDA graph.

Shape legend: F frames that are held, h w a coarse picture, k frames that are looked at, p features, n positions around
the hole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..homography import FEW_FEATURES, INLIER, LEAST_FEATURES, CoarseFrame, Homography
from .held_frames import FAR

WINDOW = 11
"""Side of the square that is followed, as `homography.estimate_homography` has it."""
STEPS = 12
"""Of Lucas and Kanade: they start near, and OpenCV's 30 are for those that never settle."""
SETTLED = 0.3
"""Pixels that the last step may still have gone."""
LEAST_TEXTURE = 1e-4
"""Of a followed square, the smaller eigenvalue in OpenCV's units: below, it says nothing."""
SAMPLES = 160
"""Of four features, from which homographies are made: one of them is of the plane that most features lie in."""
AGREED = 6
"""Of them so many are fitted further and looked at: a scene of several planes has several homographies, and which of
them is that of the hole's surroundings is seen there."""
GOLDEN = 0.6180339887
"""Steps of so much of a whole fall evenly between one another."""
FITS = ((8.0, 2.0), (8.0, 2.0), (4.0, 1.5), (2.0, 1.5), (1.5, 1.5), (1.5, 1.5))
"""Pixels from which on a feature counts nothing, for each step of the fits from the chained homography and from those
that most features agree with: things that move by themselves drop out."""
POSITIONS = 4096
"""Around a hole, at most: enough for a mean."""
RIDGE = 1e-6
"""Added to the normal equations' diagonal, relative: degenerate features then give something, which fits badly."""


@dataclass(frozen=True)
class Around:
    """What is compared around a hole: positions (n, 2), x and y in the coarse picture, of pixels that are no hole nor
    near one. At most `POSITIONS`, evenly taken."""

    positions: NDArray[np.float32]

    @classmethod
    def of(cls, one: CoarseFrame, region: tuple[slice, slice], step: int) -> Around:
        rows, columns = region
        clear = one.near_hole[rows, columns][::step, ::step] == 0
        y, x = np.nonzero(clear)
        if x.size > POSITIONS:
            chosen = np.linspace(0, x.size - 1, POSITIONS).astype(np.intp)
            y, x = y[chosen], x[chosen]
        return cls(np.stack([x * step + columns.start, y * step + rows.start], axis=1).astype(np.float32))


def packed(
    own: int,
    slots: NDArray[np.integer],
    features: NDArray[np.float32],
    chained: list[Homography],
    far: list[bool],
    around: Around,
    capacity: int,
) -> NDArray[np.float32]:
    """One array of a fixed size, for one upload: what `best_alignments` reads. capacity: k at most.

    chained: in the coarse pictures' pixels. far: whether a direct one may be taken.
    """
    count, points = len(slots), features[:FEW_FEATURES].reshape(-1, 2)
    whole = np.zeros(_size(capacity), np.float32)
    numbers, homographies, places, positions = _parts(whole, capacity)
    numbers[0], numbers[1], numbers[2] = own, len(points), len(around.positions)
    rows = numbers[3:].reshape(2, capacity)
    rows[0, :count], rows[0, count:] = slots, own
    rows[1, :count] = far
    homographies[:] = np.eye(3, dtype=np.float32)
    if count:
        matrices = np.stack(chained)
        homographies[:count] = matrices / matrices[:, 2:, 2:]
    places[: len(points)] = points
    positions[: len(around.positions)] = around.positions
    return whole


def _size(capacity: int) -> int:
    return 3 + 2 * capacity + 9 * capacity + 2 * FEW_FEATURES + 2 * POSITIONS


def _parts(whole, capacity: int):  # type: ignore[no-untyped-def]
    """Views of a packed array or tensor: numbers (3 + 2k,), homographies (k, 3, 3), features (p, 2), positions (n,
    2)."""
    ends = np.cumsum([3 + 2 * capacity, 9 * capacity, 2 * FEW_FEATURES]).tolist()
    numbers, rest = whole[: ends[0]], whole[ends[0] :]
    homographies = rest[: 9 * capacity].reshape(capacity, 3, 3)
    places = whole[ends[1] : ends[2]].reshape(FEW_FEATURES, 2)
    return numbers, homographies, places, whole[ends[2] :].reshape(POSITIONS, 2)


def best_alignments(gray: Tensor, near_hole: Tensor, whole: Tensor, capacity: int) -> Tensor:
    """(k, 3, 3): the better of the chained and the direct homography to each frame, in coarse pixels.

    gray, near_hole: (F, h, w) of uint8. whole: `packed`, on the device.
    """
    numbers, chained, features, positions = _parts(whole, capacity)
    own = numbers[:1].long()
    slots, far = numbers[3:].reshape(2, capacity)
    slots = slots.long()
    index = torch.arange(max(FEW_FEATURES, POSITIONS), device=whole.device)
    here, others = gray[own].float()[0], gray[slots].float()[:, None]
    clear = 1 - near_hole[slots].float()[:, None]
    start = _moved(chained, features)
    moved, good = _followed(here, features, others, start)
    good = good & (index[:FEW_FEATURES] < numbers[1]) & (_sampled(clear, moved, "nearest")[:, 0] > 0)
    direct = _fitted(chained, features, moved, good, here.shape)
    enough = good.sum(dim=1) >= LEAST_FEATURES
    there = index[:POSITIONS] < numbers[2]
    shown = _sampled(here[None, None], positions[None], "nearest")[0]
    best, least = chained, _error(shown, _moved(chained, positions), there, others, clear)
    for candidate in direct.unbind():
        error = _error(shown, _moved(candidate, positions), there, others, clear)
        better = (far > 0) & enough & (error < least)  # what is no number is not
        best, least = torch.where(better[:, None, None], candidate, best), torch.where(better, error, least)
    return best


def _moved(homographies: Tensor, points: Tensor) -> Tensor:
    """(..., p, 2): where homographies (..., 3, 3) take points (..., p, 2). Written out: a product might be rounded to
    TF32."""
    x, y = points[..., 0], points[..., 1]
    across, down, depth = (
        homographies[..., i, 0, None] * x + homographies[..., i, 1, None] * y + homographies[..., i, 2, None]
        for i in range(3)
    )
    there = torch.stack((across / depth, down / depth), dim=-1)
    return there.nan_to_num(-FAR, FAR, -FAR).clamp(-FAR, FAR)


def _sampled(pictures: Tensor, points: Tensor, mode: str = "bilinear", padding: str = "zeros") -> Tensor:
    """(k, c, p): pictures (k, c, h, w) at points (k, p, 2), x and y."""
    h, w = pictures.shape[-2:]
    grid = torch.stack(((2 * points[..., 0] + 1) / w - 1, (2 * points[..., 1] + 1) / h - 1), dim=-1)
    found = F.grid_sample(pictures, grid[:, :, None], mode=mode, padding_mode=padding, align_corners=False)
    return found[..., 0]


def _followed(here: Tensor, features: Tensor, others: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Where squares around features (p, 2) of the picture `here` (h, w) lie in the others (k, 1, h, w), from `start`
    (k, p, 2) on: (k, p, 2), and whether they were found (k, p)."""
    h, w = here.shape
    k, p = start.shape[:2]
    reach = WINDOW // 2
    line = torch.arange(-reach, reach + 1, device=here.device, dtype=torch.float32)
    square = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    around = (features[:, None] + square).reshape(1, -1, 2)
    template, across, down = _sampled(_with_slopes(here), around, padding="border").reshape(3, p, -1)
    xx, xy, yy = ((a * b).sum(-1) for a, b in ((across, across), (across, down), (down, down)))
    determinant = xx * yy - xy * xy
    # OpenCV's units: its slopes are 32 times ours.
    texture = (xx + yy - ((xx - yy) ** 2 + 4 * xy**2).sqrt()) / (2 * WINDOW * WINDOW) / 255
    rich = (texture > LEAST_TEXTURE) & (determinant > 1e-12)
    inverse = 1 / determinant.clamp_min(1e-12)
    place = start
    for _ in range(STEPS):
        seen = _sampled(others, (place[:, :, None] + square).reshape(k, -1, 2), padding="border").reshape(k, p, -1)
        off = seen - template
        x, y = (off * across).sum(-1), (off * down).sum(-1)
        step = torch.stack(((xy * y - yy * x) * inverse, (xy * x - xx * y) * inverse), dim=-1)
        place = place + step.nan_to_num(0, 0, 0).clamp(-reach, reach)
    inside = (place[..., 0] >= 0) & (place[..., 0] <= w - 1) & (place[..., 1] >= 0) & (place[..., 1] <= h - 1)
    return place, inside & rich & (step.abs().amax(-1) < SETTLED)


def _with_slopes(picture: Tensor) -> Tensor:
    """(h, w) -> (1, 3, h, w): the picture, its slope to the right and downwards (Scharr's), in levels a pixel."""
    a, b, c = 3 / 32, 10 / 32, 3 / 32
    padded = F.pad(picture[None, None], (1, 1, 1, 1), mode="reflect")[0, 0]
    rows = a * padded[:-2] + b * padded[1:-1] + c * padded[2:]
    columns = a * padded[:, :-2] + b * padded[:, 1:-1] + c * padded[:, 2:]
    return torch.stack((picture, rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]))[None]


def _fitted(chained: Tensor, features: Tensor, moved: Tensor, good: Tensor, size: tuple[int, ...]) -> Tensor:
    """(1 + a, k, 3, 3): homographies that take features (p, 2) to `moved` (k, p, 2) where these are good (k, p): from
    `chained` on, and from where most agree."""
    # In units of half a picture, from its middle: the equations are well conditioned there.
    half = max(size) / 2
    middle = (size[1] / 2, size[0] / 2)
    flat = torch.arange(9, device=chained.device)
    diagonal = ((flat == 0) | (flat == 4)).float()
    offset = (flat == 2) * middle[0] + (flat == 5) * middle[1]
    last = (flat == 8).float()
    into = ((diagonal - offset) / half + last).reshape(3, 3)
    back = (diagonal * half + offset + last).reshape(3, 3)
    fit = product(into, product(chained, back))
    fit = fit / fit[:, 2:, 2:]
    points = _moved(into[None], features)
    targets = torch.stack(((moved[..., 0] - middle[0]) / half, (moved[..., 1] - middle[1]) / half), dim=-1)
    fit = torch.cat((fit[None], _most_agreed(fit, points.expand_as(targets), targets, good, half)))
    second = (torch.arange(len(fit), device=fit.device) > 0)[:, None, None].float()
    for wide, narrow in FITS:
        limit = wide + (narrow - wide) * second
        off = (targets - _moved(fit, points)).norm(dim=-1) * half / limit
        fit = _improved(fit, points, targets, (1 - off.square()).clamp_min(0).square() * good)
    fit = product(back, product(fit, into))
    return fit / fit[..., 2:, 2:]


def _most_agreed(start: Tensor, points: Tensor, targets: Tensor, good: Tensor, half: float) -> Tensor:
    """(a, k, 3, 3): of homographies by four random features each, and of one by all, those that most features agree
    with."""
    k, p = good.shape
    # Good ones first, then a fixed set of numbers among them: the same every time.
    order = torch.argsort(good.logical_not().to(torch.uint8), dim=1, stable=True)
    count = good.sum(dim=1).clamp_min(1)
    spots = torch.arange(4 * SAMPLES, device=good.device)[None] * GOLDEN % 1 * count[:, None]
    chosen = order.gather(1, spots.long().clamp_max(p - 1))[..., None].expand(k, 4 * SAMPLES, 2)
    four, there = (v.gather(1, chosen).reshape(k, SAMPLES, 4, 2) for v in (points, targets))
    evenly = torch.ones_like(four[..., 0])
    fits = _improved(start[:, None].expand(k, SAMPLES, 3, 3), four, there, evenly)
    far = (targets - _moved(start, points)).norm(dim=-1) * half
    all_of_them = _improved(start, points, targets, good / far.clamp_min(0.5))
    fits = torch.cat((start[:, None], all_of_them[:, None], fits), dim=1)
    off = (targets[:, None] - _moved(fits, points[:, None])).norm(dim=-1) * half / INLIER
    votes = ((1 - off.square()).clamp_min(0) * good[:, None]).sum(dim=-1)
    best = votes.topk(AGREED, dim=1).indices[:, :, None, None].expand(k, AGREED, 3, 3)
    return fits.gather(1, best).transpose(0, 1)


def _improved(fit: Tensor, points: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """A step of least squares from homographies (..., 3, 3): points (..., m, 2) to targets (..., m, 2), by weight (...,
    m)."""
    x, y = points[..., 0], points[..., 1]
    depth = fit[..., 2, 0, None] * x + fit[..., 2, 1, None] * y + fit[..., 2, 2, None]
    there = _moved(fit, points)
    u, v = there[..., 0], there[..., 1]
    x, y, one = (n.expand_as(u) / depth for n in (x, y, torch.ones_like(x)))
    none = torch.zeros_like(x)
    along = torch.stack((x, y, one, none, none, none, -u * x, -u * y), dim=-1)
    across = torch.stack((none, none, none, x, y, one, -v * x, -v * y), dim=-1)
    slopes = torch.cat((along, across), dim=-2)
    weighted = slopes * torch.cat((weight, weight), dim=-1)[..., None]
    rests = torch.cat((targets[..., 0] - u, targets[..., 1] - v), dim=-1)[..., None]
    normal = (weighted[..., :, None] * slopes[..., None, :]).sum(-3)
    right = (weighted * rests).sum(-2)
    trace = normal.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] + 1e-12
    normal = normal / trace + RIDGE * torch.eye(8, device=fit.device)
    step = _solved(normal, right[..., None] / trace)[..., 0].nan_to_num(0, 0, 0).clamp(-1, 1)
    return fit + torch.cat((step, torch.zeros_like(step[..., :1])), dim=-1).reshape(fit.shape)


def _solved(matrices: Tensor, right: Tensor) -> Tensor:
    """Solutions (..., m, 1) of symmetric positive equations, by elimination: a library's call would wait for the
    device."""
    whole = torch.cat((matrices, right), dim=-1)
    for i in range(matrices.shape[-1]):
        row = whole[..., i : i + 1, :] / whole[..., i : i + 1, i : i + 1]
        column = whole[..., :, i : i + 1].clone()
        column[..., i, :].zero_()
        whole = whole - column * row
        whole[..., i, :].copy_(row[..., 0, :])
    return whole[..., -1:]


def product(left: Tensor, right: Tensor) -> Tensor:
    """Of small matrices, never in TF32."""
    return (left[..., :, :, None] * right[..., None, :, :]).sum(-2)


def _error(shown: Tensor, places: Tensor, there: Tensor, others: Tensor, clear: Tensor) -> Tensor:
    """(k,): mean difference of `shown` (1, n) from what others show at places (k, n, 2); infinite where they show
    nothing."""
    seen = there & (_sampled(clear, places, "nearest")[:, 0] > 0)
    apart = (_sampled(others, places)[:, 0].round() - shown).abs() * seen
    count = seen.sum(dim=1)
    return torch.where(count > 0, apart.sum(dim=1) / count.clamp_min(1), float("inf"))
