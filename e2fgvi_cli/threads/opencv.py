"""OpenCV, where this program's own threads share the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Inside the block OpenCV starts no threads of its own, in the whole process.

    It would start one a core for every call of every thread, and they wait busily: on 32 cores image propagation took 584 ms of
    processor time a frame of 432x240 that way, and takes 99 without (docs/performance).
    """
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
