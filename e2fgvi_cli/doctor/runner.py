"""Runs the checks: each guarded, probes in parallel, dependents of a failure blocked, one root cause at the end."""

from __future__ import annotations

import concurrent.futures
import errno
import math
import os
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .check import Check
from .host import Host
from .loader.model import ShortageError
from .model import Outcome, Remedy, Result, Severity, Status, say

T = TypeVar("T")
SLOW_NOTICE = 10.0
ENOUGH_FOR_THREADS = 4 << 30
"""Bytes of address space: torch's libraries alone are mapped with two."""


@dataclass
class Report:
    """Results in the order of the registry. `roots` are failures nothing else explains."""

    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    static_seconds: float = 0.0

    def get(self, check_id: str) -> Result | None:
        """The result of one check, None if it was not run."""
        return next((result for result in self.results if result.id == check_id), None)

    @property
    def roots(self) -> list[Result]:
        """Failures of required checks (or ones that required checks wait for) that no other failure explains."""
        awaited = {entry.blocked_by for entry in self.results if _counts(entry) and entry.status is Status.BLOCKED}
        failed = [entry for entry in self.results if entry.status in (Status.FAIL, Status.CRASH)]
        return [entry for entry in failed if _counts(entry) or entry.id in awaited]

    @property
    def warnings(self) -> list[Result]:
        """Everything that needs attention and does not stop the program."""
        soft = (Status.WARN, Status.FAIL, Status.CRASH)
        return [entry for entry in self.results if entry.status in soft and entry not in self.roots]

    @property
    def ready(self) -> bool:
        """True if nothing required failed (or is blocked by a failure)."""
        return not self.roots and not any(_counts(entry) and entry.status is Status.BLOCKED for entry in self.results)


def _counts(result: Result) -> bool:
    return result.severity is Severity.REQUIRED


def select(checks: Iterable[Check], only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Check]:
    """The checks to run. An entry is an id, a family (`ext.load`) or a group; raises ValueError for one that matches
    none."""
    checks = list(checks)

    def match(entry: str) -> set[str]:
        hits = {check.id for check in checks if entry in (check.id, check.family, check.group)}
        if not hits:
            raise ValueError(f"no check is called {entry!r}: see --list")
        return hits

    wanted = set().union(*map(match, only)) if only else {check.id for check in checks}
    return [check for check in checks if check.id in wanted - set().union(*map(match, skip))]


def run_checks(
    checks: list[Check], host: Host, *, probes: bool = True, on_slow: Callable[[list[str]], None] | None = None
) -> Report:
    """Run static checks first, then probes whose needs are met, in parallel. Never raises for what a check does.

    `on_slow` is called with the ids still running, once ten seconds have passed.
    """
    start = time.monotonic()
    done: dict[str, Result] = {}
    static = [check for check in checks if not check.probe]
    with _pool(1) as ahead:
        ahead.submit(lambda: host.gpu)  # the driver is asked while files are read
        for check in static:
            done[check.id] = _guarded(check, host, done)
    static_seconds = time.monotonic() - start
    if probes:
        _run_probes([check for check in checks if check.probe], host, done, on_slow)
    for check in checks:
        if check.id in done:
            _explain_by(check, done)
    order = [done[check.id] for check in checks if check.id in done]
    return Report(order, time.monotonic() - start, static_seconds)


class _OneByOne(concurrent.futures.Executor):
    """Runs what is submitted at once, in the thread that submits it."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def address_space() -> float:
    """Bytes this process may map (`ulimit -v`), infinity without a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else float(limit)


def _pool(workers: int) -> concurrent.futures.Executor:
    """Threads, where the system has room for so many: a limit of processes may leave none, and with little address
    space a thread can die before it says that it lives, which is waited for, for ever.
    """
    if address_space() < ENOUGH_FOR_THREADS:
        return _OneByOne()
    leave = threading.Event()
    threads = [threading.Thread(target=leave.wait) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:
        return _OneByOne()
    finally:
        leave.set()
    for thread in threads:
        thread.join()
    return concurrent.futures.ThreadPoolExecutor(max_workers=workers)


def _run_probes(
    checks: list[Check], host: Host, done: dict[str, Result], on_slow: Callable[[list[str]], None] | None
) -> None:
    """Start every probe as soon as what it needs is known; probes of one package wait for the ones they build on."""
    waiting = list(checks)
    names = {check.id for check in checks}
    start, told = time.monotonic(), False
    with _pool(max(2, min(4, os.cpu_count() or 2))) as pool:
        running: dict[concurrent.futures.Future[Result], Check] = {}
        while waiting or running:
            ready = [check for check in waiting if all(need in done or need not in names for need in check.needs)]
            for check in ready:
                waiting.remove(check)
                running[pool.submit(_guarded, check, host, done)] = check
            finished, _ = concurrent.futures.wait(running, timeout=1.0, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                done[running.pop(future).id] = future.result()
            if on_slow and not told and time.monotonic() - start > SLOW_NOTICE:
                told = True
                on_slow([check.id for check in running.values()])


def _guarded(check: Check, host: Host, done: dict[str, Result]) -> Result:
    """One result, whatever happens: blocked by a failed need, or `crash` if the check itself is at fault."""
    blocker = next((done[need] for need in check.needs if need in done and done[need].status.bad), None)
    start = time.monotonic()
    if blocker is not None:
        root = blocker.blocked_by or blocker.id
        outcome = Outcome(Status.BLOCKED, say("blocked", root=root), cause=blocker.outcome.cause)
        return Result(check.id, check.group, check.severity, outcome, root)
    try:
        outcome = check.run(host)
    except (ShortageError, MemoryError) as error:
        limits = say("crash.limits", error=str(error) or type(error).__name__)
        outcome = Outcome(Status.CRASH, limits, {}, "sys.limits", [], [Remedy(say("remedy.limits"))])
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            outcome = Outcome(Status.BLOCKED, say("blocked.disk", folder=tempfile.gettempdir()), cause="sys.disk")
            return Result(check.id, check.group, check.severity, outcome, "sys.disk")
        trace = traceback.format_exc()
        outcome = Outcome(
            Status.CRASH, say("crash", error=f"{type(error).__name__}: {error}"), {"traceback": trace}, "crash"
        )
    return Result(check.id, check.group, check.severity, outcome, "", round(1000 * (time.monotonic() - start)))


def _explain_by(check: Check, done: dict[str, Result]) -> None:
    """Turn a failure that another failure explains into `blocked`, keeping its evidence as the proof."""
    result = done[check.id]
    if result.status is Status.FAIL:
        for reason in check.explained_by:
            root = done.get(reason)
            if root is not None and root.status.bad:
                result.outcome.status = Status.BLOCKED
                result.blocked_by = root.blocked_by or root.id
                return
    elif result.status is Status.BLOCKED and result.blocked_by in done:
        result.blocked_by = done[result.blocked_by].blocked_by or result.blocked_by
        if result.outcome.summary.key == "blocked":
            result.outcome.summary = say("blocked", root=result.blocked_by)
