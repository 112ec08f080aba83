"""`hole_lookup.look_up` on a GPU: all candidates of a frame's hole at once.

On a machine with a GPU the host is the slower part of a run with image propagation (docs/performance), and most of that is these lookups.
Same arithmetic as OpenCV's except that positions are not rounded to 1/32 of a pixel, so colours differ by a level or two.

Shape legend: F frames that are held, H W a frame, h w its coarse picture, y x the coarse region around a hole, k candidates, n pixels of
the hole, m pairs of a pixel and a candidate that is taken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..hole_lookup import DISTANT, Answer, Neighbour, Query, View, look_up, tolerance
from ..image_propagation import PropagationOptions, affordable_reach, coarse_size
from ..types import PixelArray

COARSE_BYTES = 128 << 20
"""What comparing may take at a time."""
BYTES_A_PIXEL, BYTES_A_POSITION = 20, 60
"""Of a candidate's coarse picture, and of a position of the region in it: what comparing takes. Counted from the code."""
PAIRS = 1 << 18
"""Pixels and candidates that colours are fetched for at a time."""
BYTES_A_PAIR = 640
"""Of a pair: positions, weights, sixteen pixels, sums. Counted from the code."""
CHECK_SHARE, CHECK_LEVELS = 0.02, 1.0
"""Pixels that only one of OpenCV and the device finds, and how far colours may be apart. Seen on a CPU: 1e-4 and 3e-4 (docs/image-propagation.md)."""
CUBIC = -0.75
"""The parameter of cubic interpolation, as OpenCV and torch have it."""
FAR = 1e5
"""Where positions that are none are put, in pixels: outside of every picture."""


@lru_cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all lookups of a device: the network's kernels do not wait for them, and what they allocate is used again.

    Of high priority: they are small, the network's fill the device, and the network waits for what they find.
    """
    return torch.cuda.Stream(device, priority=-1)


def lookup_bytes(size: tuple[int, int], options: PropagationOptions, depth: int = 1) -> int:
    """What the device has to have room for with frames of `size` (height, width), `depth` bytes a level: frames, then working memory."""
    reach = affordable_reach(size, depth, options.reach)
    pixels, coarse = (h * w for h, w in (size, coarse_size(size)))
    held = (2 * reach + 1) * (3 * depth * (pixels + (coarse if coarse != pixels else 0)) + coarse)
    comparing = min(COARSE_BYTES, 2 * reach * (BYTES_A_PIXEL + BYTES_A_POSITION) * coarse)
    return held + max(comparing, min(PAIRS, options.candidates * pixels) * BYTES_A_PAIR)


def lookup_fails(device: torch.device) -> str | None:
    """Why lookups on `device` are not to be trusted, in a few words; None if they give what OpenCV gives, here on a moving pattern."""
    frame = np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8)
    picture = np.ascontiguousarray(np.kron(frame, np.ones((4, 4, 1), np.uint8)))
    hole = np.zeros(picture.shape[:2], np.uint8)
    hole[40:60, 60:90] = 1
    shifts = [-24.5, 24.5, -31.0, 31.0]
    views = [_shifted(picture, shift) for shift in shifts]
    motions = [np.array([[1.0, 0, shift], [0, 1, 0], [0, 0, 1]]) for shift in shifts]
    own = View(picture, picture, hole, np.asarray(hole == 0, np.uint8))
    others = list(zip(range(1, 5), views, motions, strict=True))
    query = Query(0, own, (slice(30, 70), slice(50, 100)), hole[30:70, 50:100] > 0, others, PropagationOptions())
    expected, known = look_up(query)
    try:
        colours, found = DeviceLookup(device)(query)
    except Exception as error:  # whatever a driver throws is the reason
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:160]}"
    if not known.any() or (known != found).mean() > CHECK_SHARE:
        return f"it finds {int(found.sum())} pixels where OpenCV finds {int(known.sum())}"
    off = float(np.abs(colours[known].astype(float) - expected[known]).mean())
    return None if off < CHECK_LEVELS else f"it is off by {off:.2g} levels"


class DeviceLookup:
    """A `hole_lookup.Lookup` for the frames of one shot, whose numbers it knows them by. For one thread at a time.

    Frames are uploaded when a query first names them, and held while there is room: twice the reach and one. Where the device has no
    room, OpenCV goes on; `on_refusal` is told why.
    """

    def __init__(self, device: torch.device, on_refusal: Callable[[str], None] = lambda _: None) -> None:
        self._device, self._on_refusal = device, on_refusal
        self._frames: _Frames | None = None
        self._refused = False

    def __call__(self, query: Query) -> Answer:
        """As `hole_lookup.look_up`."""
        if self._refused:
            return look_up(query)
        others = list(query.others)
        query = replace(query, others=others)  # OpenCV may have to go through them once more
        try:
            with torch.inference_mode(), self._own_stream():
                return self._look_up(query, others)
        except torch.cuda.OutOfMemoryError:
            self._frames, self._refused = None, True
            self._on_refusal("the GPU has no room for it")
            return look_up(query)

    def _own_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(_stream(self._device)) if self._device.type == "cuda" else nullcontext()

    def _look_up(self, query: Query, others: list[Neighbour]) -> Answer:
        """Nothing here waits for the device but the last line: it is busy with the network, and each time would be a long one."""
        view, options = query.view, query.options
        rows, columns = np.nonzero(query.need)
        count = rows.size
        if not others or not count:
            return np.zeros((count, 3), view.rgb.dtype), np.zeros(count, np.bool_)
        frames = self._frames
        if frames is None:
            frames = self._frames = _Frames(view, 2 * options.reach + 1, self._device)
        slots = frames.hold({query.number: view, **{number: other for number, other, _ in others}})
        theirs = self._there(np.array([slots[number] for number, _, _ in others]))
        levels = np.iinfo(view.rgb.dtype).max / 255
        moves = self._there(np.stack([motion for _, _, motion in others]).astype(np.float32))
        coarse = np.stack([other.to_coarse @ motion @ query.from_coarse_region for _, other, motion in others])
        coarse_moves = self._there(coarse.astype(np.float32))
        fits = self._fits(query, frames, slots[query.number], theirs, coarse_moves)

        place = self._there(_place(query, rows, columns))
        down = self._there((rows + query.region[0].start).astype(np.float32))
        across = self._there((columns + query.region[1].start).astype(np.float32))
        rank = torch.cumsum(fits.flatten(1)[:, place], dim=0, dtype=torch.int16)
        got = rank[-1].clamp(max=options.candidates).long()

        # For each layer and pixel the candidate that is taken, the first of its rank. What is not there is larger than any colour.
        layers = range(options.candidates)
        candidate = torch.cat([(rank <= layer).sum(dim=0) for layer in layers]).clamp_(max=len(others) - 1)
        across, down = across.repeat(len(layers)), down.repeat(len(layers))
        stack = torch.cat(
            [
                frames.pixels_at(theirs[k], *_moved(moves[k], x, y))
                for k, x, y in zip(candidate.split(PAIRS), across.split(PAIRS), down.split(PAIRS), strict=True)
            ]
        ).view(len(layers), count, 3)
        taken = torch.arange(len(layers), device=self._device)[:, None] < got
        colours, spread = _median(torch.where(taken[:, :, None], stack, float("inf")), got)
        known = (got >= options.agreeing) & (spread <= options.spread * levels)
        answer = torch.cat((colours.round().clamp(0, frames.peak), known[:, None]), dim=1).cpu().numpy()
        levelled: NDArray[Any] = answer[:, :3].astype(view.rgb.dtype)
        return levelled, answer[:, 3] > 0

    def _there(self, values: NDArray[Any]) -> Tensor:
        """`values` on the device, through pinned memory: the copy goes on when this returns."""
        if self._device.type != "cuda":
            return torch.from_numpy(values).to(self._device)
        return torch.from_numpy(values).pin_memory().to(self._device, non_blocking=True)

    def _fits(self, query: Query, frames: _Frames, own: int, theirs: Tensor, there: Tensor) -> Tensor:
        """(k, y, x): where a candidate shows something, and fits around the hole nearby as well as it has to."""
        rows, columns = query.coarse_region
        height, width = rows.stop - rows.start, columns.stop - columns.start
        target = frames.coarse[own, rows, columns].permute(2, 0, 1)
        target = frames.values(target)
        outside = self._there(np.ascontiguousarray(query.view.hole[rows, columns] == 0))
        most = self._there(tolerance(query))
        y, x = torch.meshgrid(
            torch.arange(height, device=self._device), torch.arange(width, device=self._device), indexing="ij"
        )
        h, w = frames.coarse.shape[1:3]
        step = max(1, COARSE_BYTES // (BYTES_A_PIXEL * h * w + BYTES_A_POSITION * height * width))
        parts = []
        for slots, moves in zip(theirs.split(step), there.split(step), strict=True):
            across, down = _moved(moves[:, None, None], x, y)
            # Pixels to the range -1..1 between the outer edges of the picture.
            grid = torch.stack(((2 * across + 1) / w - 1, (2 * down + 1) / h - 1), dim=-1)
            seen = frames.visible[slots][:, None].float()
            visible = F.grid_sample(seen, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0] > 0
            pictures = frames.values(frames.coarse[slots].permute(0, 3, 1, 2))
            aligned = F.grid_sample(pictures, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
            apart = (aligned.round().clamp(0, frames.peak) - target).abs().mean(dim=1)
            parts.append(visible & (_misfit(apart, visible & outside, query.nearness) <= most))
        return torch.cat(parts)


class _Frames:
    """Frames of one size on the device, by number; of those that a query does not name, any may give way.

    coarse (F, h, w, 3): coarse pictures, the frames themselves where these are small. visible (F, h, w). Pictures of 16 bits lie in
    int16, which all devices can store: `values` makes them what they are.
    """

    def __init__(self, view: View, capacity: int, device: torch.device) -> None:
        self.peak = int(np.iinfo(view.rgb.dtype).max)
        self._deep, self._device = view.rgb.dtype == np.uint16, device
        kind = torch.int16 if self._deep else torch.uint8
        self._fine = torch.empty((capacity, *view.rgb.shape), dtype=kind, device=device)
        same = view.coarse is view.rgb
        self.coarse = self._fine if same else torch.empty((capacity, *view.coarse.shape), dtype=kind, device=device)
        self.visible = torch.empty((capacity, *view.visible.shape), dtype=torch.uint8, device=device)
        self._slots: dict[int, int] = {}

    def hold(self, views: dict[int, View]) -> dict[int, int]:
        """The places of `views`, uploaded where they are not there yet."""
        missing = [number for number in views if number not in self._slots]
        free = [slot for slot in range(len(self._fine)) if slot not in self._slots.values()]
        spare = (number for number in list(self._slots) if number not in views)
        for number in missing:
            slot = free.pop() if free else self._slots.pop(next(spare))
            self._upload(self._fine, slot, views[number].rgb)
            if self.coarse is not self._fine:
                self._upload(self.coarse, slot, views[number].coarse)
            self._upload(self.visible, slot, views[number].visible)
            self._slots[number] = slot
        return {number: self._slots[number] for number in views}

    def values(self, stored: Tensor) -> Tensor:
        """Stored pixels as float32 levels."""
        return (stored.int() & 0xFFFF).float() if self._deep else stored.float()

    def pixels_at(self, slots: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """(m, 3): of each of `slots` the pixel at (x, y), between pixels interpolated cubically, whole levels; 0 outside."""
        height, width = self._fine.shape[1:3]
        columns, across = _taps(x, width)
        rows, down = _taps(y, height)
        starts = (slots[:, None] * height + rows) * width
        square = self.values(self._fine.view(-1, 3)[starts[:, :, None] + columns[:, None]])  # (m, 4, 4, 3)
        lines = (across[:, None, :, None] * square).sum(dim=2)
        return (down[:, :, None] * lines).sum(dim=1).round_().clamp_(0, self.peak)

    def _upload(self, there: Tensor, slot: int, array: PixelArray | NDArray[np.uint8]) -> None:
        """Through pinned memory on a GPU: the copy goes on when this returns."""
        staged = torch.empty(there.shape[1:], dtype=there.dtype, pin_memory=self._device.type == "cuda")
        staged.numpy()[...] = array.view(np.int16) if self._deep and there is not self.visible else array
        there[slot].copy_(staged, non_blocking=True)


def _moved(motions: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where homographies (..., 3, 3) take pixels (x, y). Written out: a product of matrices might be rounded to TF32."""
    rows = [motions[..., i, 0] * x + motions[..., i, 1] * y + motions[..., i, 2] for i in range(3)]
    across, down = ((rows[i] / rows[2]).nan_to_num(-FAR, FAR, -FAR).clamp(-FAR, FAR) for i in range(2))
    return across, down


def _taps(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of positions (m,) the four whole ones around each and their cubic weights, both (m, 4); outside of 0..size-1 the weight is 0."""
    below = position.floor()
    places = below.long()[:, None] + torch.arange(-1, 3, device=position.device)
    inside = places.clamp(0, size - 1)
    return inside, _cubic(position - below) * (places == inside)


def _place(query: Query, y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of pixels of the region, the index of the coarse pixel that each lies in, in the coarse region."""
    rows, columns = query.coarse_region
    scale = query.view.to_coarse

    def coarse(fine: NDArray[np.intp], start: int, scale: float, there: slice) -> NDArray[np.intp]:
        position = ((fine + (start + 0.5)) * scale).astype(np.intp) - there.start
        return position.clip(0, there.stop - there.start - 1)

    down = coarse(y, query.region[0].start, scale[1, 1], rows)
    across = coarse(x, query.region[1].start, scale[0, 0], columns)
    return down * (columns.stop - columns.start) + across


def _misfit(apart: Tensor, compared: Tensor, nearness: int) -> Tensor:
    """As `hole_lookup._misfit`, for all candidates: apart (k, y, x), compared (k, y, x)."""
    weight = compared.float()
    error = apart * weight
    sums, counts = error.sum((1, 2)), weight.sum((1, 2))
    mean = (sums / counts.clamp_min(1)).masked_fill(counts == 0, float("inf"))
    both = torch.stack((error, weight), dim=1)
    reach = nearness // 2
    both = F.avg_pool2d(both, (nearness, 1), stride=1, padding=(reach, 0))
    both = F.avg_pool2d(both, (1, nearness), stride=1, padding=(0, reach))
    return (both[:, 0] + DISTANT * mean[:, None, None]) / (both[:, 1] + DISTANT)


def _median(stack: Tensor, got: Tensor) -> tuple[Tensor, Tensor]:
    """As `hole_lookup._median`."""
    ordered = stack.sort(dim=0).values
    pixel = torch.arange(len(got), device=got.device)
    last = (got - 1).clamp_min(0)
    median = (ordered[last // 2, pixel] + ordered[(last + 1) // 2, pixel]) / 2
    there = torch.arange(len(stack), device=got.device)[:, None] < got
    apart = torch.where(there, (stack - median).abs().mean(dim=2), 0.0).sum(dim=0)
    spread = torch.where(got > 0, apart / got.clamp_min(1), float("inf"))
    return torch.where(got[:, None] > 0, median, 0.0), spread


def _cubic(fraction: Tensor) -> Tensor:
    """(m,) -> (m, 4): weights of the pixels at -1, 0, 1 and 2."""
    distance = torch.stack((fraction + 1, fraction, 1 - fraction, 2 - fraction), dim=-1)
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    return torch.where(distance <= 1, near, far)


def _shifted(picture: PixelArray, across: float) -> View:
    """The picture moved to the right by `across` pixels, all of it visible."""
    import cv2

    move = np.array([[1, 0, across], [0, 1, 0]])
    size = (picture.shape[1], picture.shape[0])
    moved: NDArray[Any] = cv2.warpAffine(picture, move, size, borderMode=cv2.BORDER_REFLECT)
    return View(moved, moved, np.zeros(moved.shape[:2], np.uint8), np.ones(moved.shape[:2], np.uint8))
