"""OpenCV, where this program's own threads share the work."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from .setting import ProcessSetting


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Inside the block OpenCV starts no threads of its own, in the whole process.

    It would start one a core for every call of every thread, and they wait busily: the more cores, the more of them are
    wasted.
    """
    with _own_threads().held(1):
        yield


@functools.cache
def _own_threads() -> ProcessSetting[int]:
    import cv2

    return ProcessSetting("OpenCV's threads", cv2.getNumThreads, cv2.setNumThreads)
