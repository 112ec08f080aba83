"""A job between its first task and its last, as its driver knows it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from .journal import Row
from .model import Filled, Job, Prepared, Segment, Task
from .progress import JobProgress


@dataclass
class Active:
    """A job this driver has claimed, between its first task and its last."""

    job: Job
    row: Row
    started: float = field(default_factory=time.perf_counter)
    prepared: Prepared | None = None
    segments: tuple[Segment, ...] = ()
    ready: deque[Task] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)
    filled: list[Filled] = field(default_factory=list)
    replaceable: dict[str, str] | None = None
    progress: JobProgress = field(default_factory=JobProgress)
    tries: int = 0
    pids: list[int] = field(default_factory=list)

    @property
    def frames_to_fill(self) -> int:
        """Frames of all segments that have a hole; 0 before the clip was looked at."""
        if self.prepared is None:
            return 0
        plan = self.prepared.plan
        return sum(s.stop - s.start for s in self.segments if plan.has_hole(s.start, s.stop))
