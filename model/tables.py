"""Tables that follow from a size alone: computed once, kept for the last few sizes, and named to whoever captures
kernels that read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

KEPT = 16
_recording = threading.local()
_caches: list[Callable[[], None]] = []


def table(compute: Callable[P, T]) -> Callable[P, T]:
    """Cache the last `KEPT` results of a function of hashable arguments, and tell `tables_used` of every result handed
    out."""
    cached = lru_cache(maxsize=KEPT)(compute)
    _caches.append(cached.cache_clear)

    @wraps(compute)
    def look_up(*args: P.args, **kwargs: P.kwargs) -> T:
        found: T = cached(*args, **kwargs)  # type: ignore[arg-type]
        if not torch.compiler.is_compiling():
            used: list[object] | None = getattr(_recording, "used", None)
            if used is not None:
                used.append(found)
        return found

    return look_up


def forget_tables() -> None:
    """Compute all anew from now on: whoever traces the network leaves stand-ins of tensors in them."""
    for clear in _caches:
        clear()


@contextmanager
def tables_used() -> Iterator[list[object]]:
    """The tables that this thread looks up inside the block, to be kept as long as what was captured there.

    A CUDA graph reads addresses. The cache lets go of a table when other sizes come, and a replay would read what lies
    there then.
    """
    before = getattr(_recording, "used", None)
    used: list[object] = []
    _recording.used = used
    try:
        yield used
    finally:
        _recording.used = before
