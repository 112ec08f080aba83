"""Workers on this machine: one process each, with a device of its own. A worker that dies costs its task, not the batch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from ..errors import EXIT_DEVICE, EXIT_FAILED
from .model import BatchSettings, Failure, Message, Task

STOP_SECONDS = 5.0


class Executor(Protocol):
    """Where tasks run: the processes of this machine or a cluster. Only the driver's thread calls it."""

    def start(self) -> None:
        """Have workers, so that `free` is not empty."""

    @property
    def size(self) -> int:
        """How many tasks run at a time."""

    def free(self) -> list[str]:
        """Names of the workers without a task."""

    def ready(self, task: Task, worker: str) -> int:
        """Have a free worker fit for a task. Returns its process number on this machine, 0 if it is elsewhere."""

    def submit(self, task: Task, worker: str) -> None:
        """Give a task to a free worker that is `ready` for it."""

    def wait(self, seconds: float) -> list[Message]:
        """What workers said, as soon as one of them says something; empty after `seconds`."""

    def close(self) -> None:
        """End all workers now. What they had not finished is gone; what they had stored stays."""


@dataclass
class _Slot:
    name: str
    device: str
    process: Any = None
    pipe: Any = None
    task: Task | None = None
    environment: tuple[tuple[str, str], ...] = ()


class LocalPool:
    """`Executor` on this machine. Workers start with their first task and are restarted when they die."""

    def __init__(self, settings: BatchSettings, devices: tuple[str, ...]) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context(settings.start_method)
        count = settings.workers or len(devices)
        self._threads = settings.threads or max(1, (os.cpu_count() or 1) // count)
        self._slots = {
            name: _Slot(name, devices[i % len(devices)])
            for i, name in enumerate(f"worker {n + 1}" for n in range(count))
        }

    @property
    def size(self) -> int:
        """Number of worker processes."""
        return len(self._slots)

    def start(self) -> None:
        """Nothing: a batch that is done already needs no process."""

    def free(self) -> list[str]:
        """Names of the workers without a task."""
        return [slot.name for slot in self._slots.values() if slot.task is None]

    def ready(self, task: Task, worker: str) -> int:
        """See `Executor.ready`."""
        slot = self._slots[worker]
        assert slot.task is None
        if slot.process is not None and (slot.environment != task.job.environment or not slot.process.is_alive()):
            self._end(slot)
        if slot.process is None:
            self._launch(slot, task.job.environment)
        return int(slot.process.pid)

    def submit(self, task: Task, worker: str) -> None:
        """See `Executor.submit`."""
        slot = self._slots[worker]
        slot.task = task
        with contextlib.suppress(OSError):  # it has just died: `wait` finds its pipe at the end
            slot.pipe.send(task)

    def _launch(self, slot: _Slot, environment: tuple[tuple[str, str], ...]) -> None:
        ours, theirs = self._context.Pipe()
        process: Any = self._context.Process(  # type: ignore[attr-defined]
            target=worker_main,
            args=(theirs, self._settings.engine_module, slot.device, self._threads, environment),
            name=slot.name,
            daemon=True,
        )
        process.start()
        theirs.close()
        slot.process, slot.pipe, slot.environment = process, ours, environment

    def wait(self, seconds: float) -> list[Message]:
        """See `Executor.wait`."""
        busy = {slot.pipe: slot for slot in self._slots.values() if slot.task is not None}
        messages = []
        for pipe in wait(list(busy), timeout=seconds):
            slot = busy[pipe]
            assert slot.task is not None
            try:
                message: Message = slot.pipe.recv()
            except (EOFError, OSError):
                message = self._bury(slot)
            if message.kind in ("done", "failed"):
                slot.task = None
            if message.kind == "failed" and message.value.exit_code == EXIT_DEVICE:
                self._end(slot)  # the next worker begins with clean memory
            messages.append(message)
        return messages

    def _bury(self, slot: _Slot) -> Message:
        """The failure of a worker that died over its task."""
        assert slot.task is not None
        slot.process.join(STOP_SECONDS)
        code = slot.process.exitcode
        self._end(slot)
        if code == -getattr(signal, "SIGKILL", 9):
            text = "the worker was killed (SIGKILL: the system does that when memory runs out)"
            failure = Failure(f"{text}: use fewer --jobs, or a smaller --size", EXIT_DEVICE, False)
        else:
            failure = Failure(f"the worker died (exit code {code})", EXIT_FAILED, False)
        return Message("failed", slot.task.id, failure, slot.name)

    def _end(self, slot: _Slot) -> None:
        if slot.process is not None:
            slot.pipe.close()
            slot.process.terminate()
            slot.process.join(STOP_SECONDS)
            if slot.process.is_alive():
                slot.process.kill()
                slot.process.join()
        slot.process = slot.pipe = None

    def close(self) -> None:
        """See `Executor.close`."""
        for slot in self._slots.values():
            if slot.process is not None:
                slot.process.terminate()
        for slot in self._slots.values():
            self._end(slot)


def worker_main(
    pipe: Connection, engine_module: str, device: str, threads: int, environment: tuple[tuple[str, str], ...]
) -> None:
    """A worker's life: tasks in, messages out, until the pipe closes or the driver is gone."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _raise_again
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        with contextlib.suppress(EOFError, BrokenPipeError):
            _serve(pipe, engine_module, device, threads)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending anyway


def _interrupt(*_: object) -> None:
    # Only once: `close` and `_end` both ask, and a second interrupt would break into the cleaning up of the first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _raise_again(ignored: Any) -> None:
    """Python prints and forgets what is raised in the callback of a weak reference or in `__del__`: an interrupt comes once more, a moment later."""
    if not isinstance(ignored.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()


def _die_with(sentinel: int) -> None:
    """A driver that was killed must not leave workers computing for nobody."""
    wait([sentinel])
    os._exit(EXIT_FAILED)


def _serve(pipe: Connection, engine_module: str, device: str, threads: int) -> None:
    # Here and not above: the driver imports this module and needs neither PyAV nor OpenCV.
    from .work import Worker, describe_failure

    worker = Worker(engine_module, device, threads)
    name = multiprocessing.current_process().name
    while True:
        task: Task = pipe.recv()

        def emit(kind: Any, value: Any, task: Task = task) -> None:
            pipe.send(Message(kind, task.id, value, name))

        try:
            result = worker.run(task, emit)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            pipe.send(Message("failed", task.id, describe_failure(error), name))
        else:
            pipe.send(Message("done", task.id, result, name))


def resolve_devices(settings: BatchSettings) -> tuple[str, ...]:
    """The devices for the workers; "auto" asks torch in a process of its own, so that the driver stays small."""
    if settings.devices != ("auto",):
        return settings.devices
    from .model import ENGINE_MODULE

    if settings.engine_module != ENGINE_MODULE:
        return ("auto",)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return tuple(pool.apply(_devices_here))


def _devices_here() -> tuple[str, ...]:
    from .engines import devices_here

    return devices_here()
