"""Sizes that follow from a crop's: attention windows and their keys, the grid of the flow. Sizes are (height, width) in
pixels."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import product

from . import costs

NETWORK_MULTIPLE = (costs.WINDOW[0] * costs.TOKEN_STRIDE, costs.WINDOW[1] * costs.TOKEN_STRIDE)


def padded_size(size: tuple[int, int], multiple: tuple[int, int] = NETWORK_MULTIPLE) -> tuple[int, int]:
    """`size` with both sides rounded up to multiples: what the network computes of a crop of that size."""
    height, width = (-(-side // m) * m for side, m in zip(size, multiple, strict=True))
    return height, width


@lru_cache(maxsize=4096)
def _groups(rows: int, columns: int) -> tuple[tuple[int, int], ...]:
    """(windows, keys a window) of the groups that `model.attention.attention_plan` makes of rows x columns windows."""

    def neighbours(count: int, length: int) -> Counter[int]:
        """How many windows of an axis have how many windows in their neighbourhood."""
        reach = length // 2
        return Counter(min(count, i + reach + 1) - max(0, i - reach) for i in range(count))

    groups: Counter[int] = Counter()
    for (down, m), (across, n) in product(
        neighbours(rows, costs.WINDOW[0]).items(), neighbours(columns, costs.WINDOW[1]).items()
    ):
        groups[costs.RING_KEYS + down * across] += m * n
    return tuple((windows, keys) for keys, windows in groups.items())


def largest_call(size: tuple[int, int], count: int, max_keys: int) -> tuple[int, int]:
    """(queries, keys) of the largest attention call, over all frames."""
    rows, columns = (max(1, side // m) for side, m in zip(size, NETWORK_MULTIPLE, strict=True))
    calls = []
    for windows, keys in _groups(rows, columns):
        together = min(windows, max(1, max_keys // (count * keys))) * count
        calls.append((together * keys, together * costs.WINDOW[0] * costs.WINDOW[1]))
    keys, queries = max(calls)
    return queries, keys


def flow_area(size: tuple[int, int]) -> int:
    height, width = (-(-side // (costs.FEATURE_STRIDE * costs.FLOW_MULTIPLE)) * costs.FLOW_MULTIPLE for side in size)
    return height * width
