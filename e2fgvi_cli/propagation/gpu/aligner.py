"""The frames of a shot in gray on a device, and their alignment there as one launch (`gpu.alignment`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...threads.capturing import CAPTURING
from ..homography import APART_STEP, DIRECT_FROM, CoarseFrame, keypoints
from ..options import PropagationOptions
from ..query import Neighbour, Query, distances
from .alignment import Around, best_alignments, packed, product

WORKING_BYTES = 64 << 20
"""What an alignment takes, and its graph keeps, beside the pictures: counted by tests."""
CHECK_PIXELS = 0.2
"""How far the self-check's corners may be off. The host's are off by some hundredths."""


def alignment_bytes(coarse: int, reach: int) -> int:
    """What the device has to have room for with coarse pictures of so many pixels: those that are held, then those that
    are looked at in float32, then working memory."""
    return coarse * (2 * (2 * reach + 1) + 8 * 2 * len(distances(reach))) + WORKING_BYTES


class DeviceAligner:
    """Direct alignments of the frames of one shot, in the places that `HeldFrames` gives them. For one thread, on its
    current stream.

    The first call launches everything by itself, which loads what it needs; the second captures a graph, and later ones
    replay it. Raises `RuntimeError` where that fails, out of memory too.
    """

    def __init__(self, size: tuple[int, int], places: int, reach: int, device: torch.device) -> None:
        """size: (h, w) of the coarse pictures. places: frames that are held."""
        self._device, self._capacity = device, 2 * len(distances(reach))
        self._gray, self._near_hole = (torch.zeros((places, *size), dtype=torch.uint8, device=device) for _ in range(2))
        self._there: dict[int, int] = {}
        self._graph: Any = None
        self._asked = torch.empty(0)
        self._result = torch.empty(0)
        self._calls = 0

    def align(
        self, query: Query, coarse_frames: Mapping[int, CoarseFrame], others: Sequence[Neighbour], slots: dict[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The better homography to each of `others` (k, 3, 3): from the frame's pixels to theirs, and from the coarse
        region's to their coarse pictures'."""
        for number, slot in slots.items():
            if self._there.get(slot) != number:
                self._upload(slot, coarse_frames[number])
                self._there[slot] = number
        one = coarse_frames[query.number]
        chained = [coarse_frames[i].to_coarse @ homography @ one.from_coarse for i, _, homography in others]
        whole = packed(
            slots[query.number],
            np.array([slots[i] for i, _, _ in others]),
            one.keypoints,
            chained,
            [abs(i - query.number) >= DIRECT_FROM for i, _, _ in others],
            Around.of(one, query.coarse_region, APART_STEP),
            self._capacity,
        )
        best = self._best(self._staged(whole))[: len(others)]
        rows, columns = query.coarse_region
        shift = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]], np.float64)
        fixed = np.stack([one.from_coarse, one.to_coarse, shift]).astype(np.float32)
        from_coarse, to_coarse, from_region = self._staged(fixed).to(self._device, non_blocking=True)
        return product(from_coarse, product(best, to_coarse)), product(best, from_region)

    def _best(self, staged: Tensor) -> Tensor:
        self._calls += 1
        if self._device.type != "cuda" or self._calls == 1:
            there = staged.to(self._device, non_blocking=True)
            return best_alignments(self._gray, self._near_hole, there, self._capacity)
        if self._graph is None:
            self._asked = staged.to(self._device, non_blocking=True)
            graph = torch.cuda.CUDAGraph()
            with CAPTURING:
                # thread_local: other threads go on asking things of the device.
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self._result = best_alignments(self._gray, self._near_hole, self._asked, self._capacity)
                finally:
                    graph.capture_end()
            self._graph = graph
        self._asked.copy_(staged, non_blocking=True)
        self._graph.replay()
        return self._result

    def _upload(self, slot: int, frame: CoarseFrame) -> None:
        for there, array in ((self._gray, frame.gray), (self._near_hole, frame.near_hole)):
            there[slot].copy_(self._staged(array), non_blocking=True)

    def _staged(self, array: NDArray[Any]) -> Tensor:
        """In pinned memory on a GPU: copies from there go on when they have been asked for."""
        staged = torch.from_numpy(np.ascontiguousarray(array))
        return staged.pin_memory() if self._device.type == "cuda" else staged


def alignment_fails(device: torch.device) -> str | None:
    """Why alignments on `device` are not to be trusted, in a few words; None if they find how a pattern has moved, each
    of three times."""
    import cv2

    from ..query import View

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 32), np.uint8)
    wide = np.asarray(cv2.resize(coarse, (192, 144), interpolation=cv2.INTER_CUBIC), np.uint8)
    hole = np.zeros(wide.shape, np.uint8)
    hole[60:84, 80:112] = 1
    true = np.array([[1.01, 0.02, -4.0], [-0.02, 1.01, 3.0], [1e-5, 0, 1]])
    moved = np.asarray(cv2.warpPerspective(wide, true, wide.shape[::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)
    frames = {}
    for number, picture in enumerate((wide, moved)):
        frames[DIRECT_FROM * number] = CoarseFrame(picture, hole, keypoints(picture, hole), np.eye(3), np.eye(3))
    rgb = np.repeat(wide[:, :, None], 3, axis=2)
    view = View(rgb, rgb, hole, np.asarray(1 - hole, np.uint8))
    chained = np.array([[1.0, 0, 1.0], [0, 1, -1.0], [0, 0, 1]]) @ true  # off by a pixel and a half
    region = (slice(44, 100), slice(64, 128))
    others = [(DIRECT_FROM, view, chained)]
    query = Query(0, view, region, hole[region] > 0, others, PropagationOptions(reach=DIRECT_FROM))
    corners = np.array([[[64, 44]], [[128, 44]], [[64, 100]], [[128, 100]]], np.float64)
    # The default stream cannot be captured.
    stream = torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()
    try:
        with torch.inference_mode(), stream:
            aligner = DeviceAligner(wide.shape[:2], 2, query.options.reach, device)
            for _ in range(3):
                found = aligner.align(query, frames, others, {0: 0, DIRECT_FROM: 1})[0].cpu().double().numpy()[0]
                off = np.abs(cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, true)).max()
                if not off < CHECK_PIXELS:
                    return f"alignments are off by {off:.2g} pixels"
    except Exception as error:  # whatever a driver throws is the reason
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:160]}"
    return None
