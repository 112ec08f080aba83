"""Batches of clips: manifests, a journal to resume from, local workers, a Ray cluster, reports.

Names are resolved on first use, so that importing the package costs neither PyAV nor torch.
The words: a *job* is one clip with its options; a *segment* is a run of frames whose fill is stored as one file; a
*part* is a run of segments given to one worker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import BatchResult, BatchSettings, Event, Job, JobRecord
    from .runner import run_batch

__all__ = ["BatchResult", "BatchSettings", "Event", "Job", "JobRecord", "run_batch"]

_HOMES = {"model": ("BatchResult", "BatchSettings", "Event", "Job", "JobRecord"), "runner": ("run_batch",)}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
