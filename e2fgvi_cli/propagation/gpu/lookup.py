"""`propagation.lookup.look_up` on a GPU: all candidates of a frame's hole at once.

On a machine with a GPU the host is the slower part of a run with image propagation, and most of what it would do is
these lookups. Same arithmetic as OpenCV's except that positions are not rounded to 1/32 of a pixel, so colours differ
by a level or two.

Shape legend: F frames that are held, H W a frame, h w its coarse picture, y x the coarse region around a hole, k
candidates, n pixels of the hole, m pairs of a pixel and a candidate that is taken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...types import PixelArray
from ..lookup import look_up
from ..means import DISTANT
from ..options import PropagationOptions
from ..query import Answer, Neighbour, Query, View, affordable_reach, coarse_size
from .aligner import DeviceAligner, alignment_bytes, alignment_fails
from .held_frames import CUBIC, FAR, HeldFrames, moved
from .tone import fit_tones, tone_at

COARSE_BYTES = 128 << 20
"""What comparing may take at a time."""
BYTES_A_PIXEL, BYTES_A_POSITION = 20, 100
"""Of a candidate's coarse picture, and of a position of the region in it: what comparing takes. Counted from the
code."""
PAIRS = 1 << 18
"""Pixels and candidates that colours are fetched for at a time."""
BYTES_A_PAIR = 640
"""Of a pair: positions, weights, sixteen pixels, sums. Counted from the code."""
LookupKind = Literal["aligned", "fused", "plain"]
"""By the Triton kernels of `gpu.kernels`, frames aligned on the device, too; by the kernels alone; by torch's
operators."""
CHECK_SHARE, CHECK_LEVELS = 0.02, 1.0
"""The share of pixels that only one of OpenCV and the device may find, and how far colours may be apart: far above
rounding."""


@lru_cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all lookups of a device: the network's kernels do not wait for them, and what they allocate is used
    again.

    Of high priority: they are small, the network's fill the device, and the network waits for what they find.
    """
    return torch.cuda.Stream(device, priority=-1)


def lookup_bytes(size: tuple[int, int], options: PropagationOptions, depth: int = 1, *, aligned: bool = False) -> int:
    """What the device has to have room for with frames of `size` (height, width), `depth` bytes a level: frames, then
    working memory. aligned: they are aligned there, too."""
    reach = affordable_reach(size, depth, options.reach)
    pixels, coarse = (h * w for h, w in (size, coarse_size(size)))
    held = (2 * reach + 1) * (3 * depth * (pixels + (coarse if coarse != pixels else 0)) + coarse)
    comparing = min(COARSE_BYTES, 2 * reach * (BYTES_A_PIXEL + BYTES_A_POSITION) * coarse)
    if aligned:
        held += alignment_bytes(coarse, reach)
    return held + max(comparing, min(PAIRS, options.candidates * pixels) * BYTES_A_PAIR)


def lookup_fails(device: torch.device, *, fused: bool = False) -> str | None:
    """Why lookups on `device` are not to be trusted, in a few words; None if they give what OpenCV gives, here on a
    moving pattern."""
    frame = np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8)
    picture = np.ascontiguousarray(np.kron(frame, np.ones((4, 4, 1), np.uint8)))
    hole = np.zeros(picture.shape[:2], np.uint8)
    hole[40:60, 60:90] = 1
    shifts = [-24.5, 24.5, -31.0, 31.0]
    views = [_shifted(picture, shift) for shift in shifts]
    homographies = [np.array([[1.0, 0, shift], [0, 1, 0], [0, 0, 1]]) for shift in shifts]
    own = View(picture, picture, hole, np.asarray(hole == 0, np.uint8))
    others = list(zip(range(1, 5), views, homographies, strict=True))
    query = Query(0, own, (slice(30, 70), slice(50, 100)), hole[30:70, 50:100] > 0, others, PropagationOptions())
    expected = look_up(query)
    try:
        there = DeviceLookup(device, fused=fused)(query)
    except Exception as error:  # whatever a driver throws is the reason
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:160]}"
    known, found = expected.count > 0, there.count > 0
    if not known.any() or (expected.count != there.count).mean() > CHECK_SHARE:
        return f"it finds {int(found.sum())} pixels where OpenCV finds {int(known.sum())}"
    off = float(np.abs(there.colours[known].astype(float) - expected.colours[known]).mean())
    return None if off < CHECK_LEVELS else f"it is off by {off:.2g} levels"


def choose_lookup(device: torch.device) -> tuple[LookupKind | None, str | None]:
    """How to look up on `device`, None: not at all; and why not in the fastest way, in a few words. Compiles kernels,
    seconds once a machine."""
    fused = lookup_fails(device, fused=True)
    if fused is None:
        failed = alignment_fails(device)
        return ("aligned", None) if failed is None else ("fused", failed)
    plain = lookup_fails(device)
    return (None, plain) if plain is not None else ("plain", fused)


class DeviceLookup:
    """A `propagation.query.Lookup` for the frames of one shot, whose numbers it knows them by. For one thread at a
    time.

    Frames are uploaded when a query first names them, and held while there is room: twice the reach and one. Where the
    device has no room, OpenCV goes on; `on_refusal` is told why. fused: by the Triton kernels of `gpu.kernels`.
    aligns: frames are aligned there, too.
    """

    def __init__(
        self,
        device: torch.device,
        on_refusal: Callable[[str], None] = lambda _: None,
        *,
        fused: bool = False,
        aligns: bool = False,
    ) -> None:
        self._device, self._on_refusal, self._fused = device, on_refusal, fused
        self.aligns = aligns
        self._frames: HeldFrames | None = None
        self._aligner: DeviceAligner | None = None
        self._refused = False

    def __call__(self, query: Query) -> Answer:
        """As `propagation.lookup.look_up`."""
        return self.ask(query)()

    def ask(self, query: Query) -> Callable[[], Answer]:
        """Begin; what is returned waits for the answer, in any thread. The next query need not wait for that."""
        if not isinstance(query.others, list):  # OpenCV may have to go through the others once more
            query = replace(query, others=list(query.others))
        try:
            if self._refused:
                return partial(look_up, query.aligned())
            with torch.inference_mode(), self._own_stream():
                return self._look_up(query, list(query.others))
        except torch.cuda.OutOfMemoryError:
            self._frames, self._aligner = None, None
            self._refused, self.aligns = True, False
            self._on_refusal("the GPU has no room for it")
            return partial(look_up, query.aligned())

    def _own_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(_stream(self._device)) if self._device.type == "cuda" else nullcontext()

    def _look_up(self, query: Query, others: list[Neighbour]) -> Callable[[], Answer]:
        """Nothing here waits for the device: it is busy with the network, and each time would be a long one."""
        view, options = query.view, query.options
        rows, columns = query.pixels
        count = rows.size
        if not others or not count:
            nothing = np.full(count, np.inf, np.float32)
            empty = Answer(np.zeros((count, 3), view.rgb.dtype), np.zeros(count, np.int64), nothing)
            return lambda: empty
        frames = self._frames
        if frames is None:
            frames = self._frames = HeldFrames(view, 2 * options.reach + 1, self._device)
        slots = frames.hold({query.number: view, **{number: other for number, other, _ in others}})
        aligned = None
        if query.coarse_frames is not None:
            aligned = self._aligned(query, others, slots)
            if aligned is None:
                query = query.aligned()
                others = list(query.others)
        moves, coarse_moves = query.moves
        work = _Work(
            frames=frames,
            own=slots[query.number],
            slots=np.array([slots[number] for number, _, _ in others], np.int32),
            moves=moves,
            coarse_moves=coarse_moves,
            place=query.place,
            rows=rows,
            columns=columns,
            aligned=aligned,
        )
        there = (self._looked_up_fused if self._fused else self._looked_up)(query, work)
        return partial(_answer, *self._fetched(there), view.rgb.dtype)

    def _fetched(self, there: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        """`there` on the host, as soon as the event has come."""
        if self._device.type != "cuda":
            return there, None
        here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
        here.copy_(there, non_blocking=True)
        done = torch.cuda.Event(blocking=True)  # whoever waits leaves the processor to others
        done.record()
        return here, done

    def _aligned(self, query: Query, others: list[Neighbour], slots: dict[int, int]) -> tuple[Tensor, Tensor] | None:
        """As `DeviceAligner.align`; None where that fails: the host aligns from now on."""
        assert query.coarse_frames is not None
        if not self.aligns:
            return None
        if self._aligner is None:
            places = 2 * query.options.reach + 1
            self._aligner = DeviceAligner(query.view.hole.shape, places, query.options.reach, self._device)
        try:
            return self._aligner.align(query, query.coarse_frames, others, slots)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a capture that finds no memory is none
            self._aligner, self.aligns = None, False
            self._on_refusal((str(error).strip() or type(error).__name__).splitlines()[0])
            return None

    def _looked_up(self, query: Query, work: _Work) -> Tensor:
        """(n, 5): colour, count and spread of each pixel, as in `Answer`."""
        options, frames, count = query.options, work.frames, len(work.place)
        theirs, moves, coarse = (self._there(v) for v in (work.slots.astype(np.int64), work.moves, work.coarse_moves))
        if work.aligned is not None:
            moves, coarse = work.aligned
        fits, planes = self._fits(query, frames, work.own, theirs, coarse)
        place, width = self._there(work.place), fits.shape[2]
        down, across = (self._there(v.astype(np.float32)) for v in (work.rows, work.columns))
        rank = torch.cumsum(fits.flatten(1)[:, place], dim=0, dtype=torch.int16)
        got = rank[-1].clamp(max=options.candidates).long()

        # For each layer and pixel the candidate that is taken, the first of its rank. What is not there is larger than
        # any colour.
        layers = range(options.candidates)
        candidate = torch.cat([(rank <= layer).sum(dim=0) for layer in layers]).clamp_(max=len(work.slots) - 1)
        across, down, place = (v.repeat(len(layers)) for v in (across, down, place))
        stack = torch.cat(
            [
                frames.pixels_at(theirs[k], *moved(moves[k], x, y)) + tone_at(planes[k], at % width, at // width)
                for k, x, y, at in zip(*(v.split(PAIRS) for v in (candidate, across, down, place)), strict=True)
            ]
        ).view(len(layers), count, 3)
        taken = torch.arange(len(layers), device=self._device)[:, None] < got
        colours, spread = _median(torch.where(taken[:, :, None], stack, float("inf")), got)
        return torch.cat((colours.round().clamp(0, frames.peak), got[:, None], spread[:, None]), dim=1)

    def _looked_up_fused(self, query: Query, work: _Work) -> Tensor:
        """The same in Triton kernels."""
        from . import kernels, tone_kernels

        options, frames = query.options, work.frames
        region = query.coarse_region
        slots, moves, coarse_moves, place, down, across, outside, most = self._together(
            work.slots,
            work.moves.reshape(-1, 9),
            work.coarse_moves.reshape(-1, 9),
            work.place.astype(np.int32),
            work.rows.astype(np.float32),
            work.columns.astype(np.float32),
            (query.view.hole[region] == 0).astype(np.float32),
            query.tolerance,
        )
        if work.aligned is not None:
            moves, coarse_moves = (m.reshape(-1, 9) for m in work.aligned)
        sampling = {"parameter": CUBIC, "peak": float(frames.peak), "far": FAR}
        got = torch.zeros(len(place), dtype=torch.int32, device=self._device)
        chosen = torch.empty(options.candidates, len(place), dtype=torch.int32, device=self._device)
        step = _candidates_at_a_time(frames, outside.numel())
        planes = torch.empty(len(slots), 9, device=self._device)
        for first in range(0, len(slots), step):
            some = slice(first, first + step)
            corner = (region[0].start, region[1].start)
            apart, seen = kernels.compare(
                frames.coarse, frames.visible, work.own, corner, slots[some], coarse_moves[some], outside, **sampling
            )
            both = tone_kernels.match_tone(apart, planes[some], query.levels)
            kernels.choose(both, seen, most, place, got, chosen, first=first, nearness=query.nearness, distant=DISTANT)
        return kernels.merge(
            frames.fine, slots, moves, planes, across, down, place, outside.shape[1], got, chosen, **sampling
        )

    def _together(self, *arrays: NDArray[np.float32] | NDArray[np.int32]) -> list[Tensor]:
        """`arrays` of 4-byte values on the device by one copy, each at a multiple of 16 bytes: kernels are compiled for
        what is aligned."""
        starts = np.cumsum([0, *(-(-a.size // 4) * 4 for a in arrays)])
        staged = torch.empty(int(starts[-1]), dtype=torch.int32, pin_memory=self._device.type == "cuda")
        for start, array in zip(starts, arrays, strict=False):
            staged.numpy()[start : start + array.size] = array.reshape(-1).view(np.int32)
        there = staged.to(self._device, non_blocking=True)
        parts = (there[s : s + a.size].view(a.shape) for s, a in zip(starts.tolist(), arrays, strict=False))
        return [p if a.dtype == np.int32 else p.view(torch.float32) for p, a in zip(parts, arrays, strict=True)]

    def _there(self, values: NDArray[Any]) -> Tensor:
        """`values` on the device, through pinned memory: the copy goes on when this returns."""
        if self._device.type != "cuda":
            return torch.from_numpy(values).to(self._device)
        return torch.from_numpy(values).pin_memory().to(self._device, non_blocking=True)

    def _fits(self, query: Query, frames: HeldFrames, own: int, theirs: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """(k, y, x): where a candidate shows something, and fits around the hole nearby as well as it has to; (k, 3,
        3): the planes that bring each into the frame's tone."""
        rows, columns = query.coarse_region
        height, width = rows.stop - rows.start, columns.stop - columns.start
        target = frames.coarse[own, rows, columns].permute(2, 0, 1)
        target = frames.values(target)
        outside = self._there(np.ascontiguousarray(query.view.hole[rows, columns] == 0))
        most = self._there(query.tolerance)
        y, x = torch.meshgrid(
            torch.arange(height, device=self._device), torch.arange(width, device=self._device), indexing="ij"
        )
        h, w = frames.coarse.shape[1:3]
        step = _candidates_at_a_time(frames, height * width)
        parts, planes = [], []
        for slots, moves in zip(theirs.split(step), there.split(step), strict=True):
            across, down = moved(moves[:, None, None], x, y)
            # Pixels to the range -1..1 between the outer edges of the picture.
            grid = torch.stack(((2 * across + 1) / w - 1, (2 * down + 1) / h - 1), dim=-1)
            seen = frames.visible[slots][:, None].float()
            visible = F.grid_sample(seen, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0] > 0
            pictures = frames.values(frames.coarse[slots].permute(0, 3, 1, 2))
            aligned = F.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=False)
            apart, compared = target - aligned.round().clamp(0, frames.peak), visible & outside
            planes.append(fit_tones(apart, compared, query.levels))
            apart -= tone_at(planes[-1][:, None, None], x, y).permute(0, 3, 1, 2)
            parts.append(visible & (_photometric_error(apart.abs().mean(dim=1), compared, query.nearness) <= most))
        return torch.cat(parts), torch.cat(planes)


def _candidates_at_a_time(frames: HeldFrames, positions: int) -> int:
    h, w = frames.coarse.shape[1:3]
    return max(1, COARSE_BYTES // (BYTES_A_PIXEL * h * w + BYTES_A_POSITION * positions))


def _answer(table: Tensor, done: torch.cuda.Event | None, levels: np.dtype[Any]) -> Answer:
    """table (n, 5): colour, count and spread."""
    if done is not None:
        done.synchronize()
    answer = table.numpy()
    levelled: NDArray[Any] = answer[:, :3].astype(levels)
    return Answer(levelled, answer[:, 3].astype(np.int64), answer[:, 4])


@dataclass(frozen=True)
class _Work:
    """A query in numbers. own, slots (k,): the places of its frame and of the candidates. moves, coarse_moves (k, 3,
    3): from the frame's pixels to theirs, and from the coarse region's to their coarse pictures'. place (n,): in which
    pixel of the coarse region each of the hole is. rows, columns (n,): where in the frame. aligned: on the device,
    instead of moves and coarse_moves.
    """

    frames: HeldFrames
    own: int
    slots: NDArray[np.int32]
    moves: NDArray[np.float32]
    coarse_moves: NDArray[np.float32]
    place: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    aligned: tuple[Tensor, Tensor] | None = None


def _photometric_error(apart: Tensor, compared: Tensor, nearness: int) -> Tensor:
    """As `propagation.lookup._photometric_error`, for all candidates: apart (k, y, x), compared (k, y, x)."""
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
    """As `propagation.lookup._median`."""
    ordered = stack.sort(dim=0).values
    pixel = torch.arange(len(got), device=got.device)
    last = (got - 1).clamp_min(0)
    median = (ordered[last // 2, pixel] + ordered[(last + 1) // 2, pixel]) / 2
    there = torch.arange(len(stack), device=got.device)[:, None] < got
    apart = torch.where(there, (stack - median).abs().mean(dim=2), 0.0).sum(dim=0)
    spread = torch.where(got > 0, apart / got.clamp_min(1), float("inf"))
    return torch.where(got[:, None] > 0, median, 0.0), spread


def _shifted(picture: PixelArray, across: float) -> View:
    """The picture moved to the right by `across` pixels, all of it visible."""
    import cv2

    move = np.array([[1, 0, across], [0, 1, 0]])
    size = (picture.shape[1], picture.shape[0])
    moved: NDArray[Any] = cv2.warpAffine(picture, move, size, borderMode=cv2.BORDER_REFLECT)
    return View(moved, moved, np.zeros(moved.shape[:2], np.uint8), np.ones(moved.shape[:2], np.uint8))
