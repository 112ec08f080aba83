"""Which frames the network sees together. Pure: numbers in, `Window`s out, so that it is tested by properties, without
torch.

A window fills 2 * neighbor_stride + 1 consecutive frames around its centre; centres are neighbor_stride apart, so every
frame is filled about twice and the results are blended. Reference frames, taken from the same shot at multiples of
reference_stride, show what the window itself never reveals.
"""

from __future__ import annotations

from ..types import Window


def lookahead(neighbor_stride: int, reference_stride: int, max_references: int | None) -> int | None:
    """How many frames after a window's centre its plan may depend on. None: on all of them (unbounded references)."""
    if max_references is None:
        return None
    return neighbor_stride + reference_stride * max_references


def plan_window(
    center: int,
    first: int,
    last: int,
    *,
    neighbor_stride: int,
    reference_stride: int,
    max_references: int | None,
) -> Window:
    """The window around `center` in a shot of the frames first..last (both included).

    References are those multiples of `reference_stride` (counted from `first`) outside the window that are nearest to
    it, at most `max_references` (None: all), the earlier of two equally near. If `last` is not the shot's end but at
    least `lookahead` frames after `center`, the plan is the same as with the true end.
    """
    low, high = max(first, center - neighbor_stride), min(last, center + neighbor_stride)
    candidates = [i for i in range(first, last + 1, reference_stride) if not low <= i <= high]
    if max_references is not None:
        candidates.sort(key=lambda i: (low - i if i < low else i - high, i))
        candidates = sorted(candidates[:max_references])
    return Window(center, tuple(range(low, high + 1)), tuple(candidates))


def plan_published_window(
    center: int, count: int, *, neighbor_stride: int, reference_stride: int, max_references: int | None
) -> Window:
    """The window of the published program for a clip of `count` frames.

    With `max_references` None: every reference_stride-th frame of the whole clip. Else at most so many of them from a
    span of reference_stride * (max_references // 2) frames around the centre; unlike the original never one past the
    end.
    """
    low, high = max(0, center - neighbor_stride), min(count - 1, center + neighbor_stride)
    start, stop, limit = 0, count, count
    if max_references is not None:
        reach = reference_stride * (max_references // 2)
        start, stop, limit = max(0, center - reach), min(count, center + reach + 1), max_references
    references = [i for i in range(start, stop, reference_stride) if not low <= i <= high]
    return Window(center, tuple(range(low, high + 1)), tuple(references[:limit]))


def blend_weight(index: int, window: Window) -> float:
    """How much a window's result counts for its frame `index`: 1 at the centre, falling linearly towards the ends.

    The end frames have seen neighbours on one side only, and a weight that falls to nearly 0 leaves no step where
    windows join.
    """
    radius = max(window.center - window.local[0], window.local[-1] - window.center) + 1
    return 1 - abs(index - window.center) / radius
