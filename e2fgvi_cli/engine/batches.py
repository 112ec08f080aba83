"""How many frames or pairs of frames the network gets at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

DEAR_BATCH = 3
"""For exactly three frames of 432x240 cuDNN takes a workspace larger than the network, for one, two, four and more
hardly any."""


def chunks(items: Sequence[int], size: int | None) -> Iterator[Sequence[int]]:
    """The items, `size` at a time (None: all at once)."""
    step = size or max(1, len(items))
    for start in range(0, len(items), step):
        yield items[start : start + step]


def encode_batches(missing: Sequence[int], size: int | None, device: torch.device) -> Iterator[Sequence[int]]:
    """Frames to encode at a time: `size` (None: all), but never `DEAR_BATCH` of them on a GPU."""
    for some in chunks(missing, size):
        if len(some) == DEAR_BATCH and device.type == "cuda":
            yield some[:-1]
            yield some[-1:]
        else:
            yield some
