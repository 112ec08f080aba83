"""Workers on this machine: one process each, with a device of its own. A worker that dies costs its task, not the
batch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from ..errors import EXIT_DEVICE, EXIT_FAILED, DeviceError, UsageError, UserError
from .model import ENGINE_MODULE, BatchSettings, Failure, Message, Task
from .starting import held_back, let_through

STOP_SECONDS = 5.0
DEVICES_SECONDS = 300.0
"""For importing torch, which a cold or distant disk makes slow."""
_UNGUARDED = 76
"""Exit code of a process that imported a script which starts a batch as it is imported."""


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
    started: bool = False


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
        with held_back():  # no process that nobody knows of
            process.start()
            slot.process, slot.pipe, slot.environment, slot.started = process, ours, environment, False
        theirs.close()

    def wait(self, seconds: float) -> list[Message]:
        """See `Executor.wait`."""
        busy = {slot.pipe: slot for slot in self._slots.values() if slot.task is not None}
        messages = []
        for pipe in wait(list(busy), timeout=seconds):
            slot = busy[pipe]
            assert slot.task is not None
            message: Message | None = None
            with contextlib.suppress(EOFError, OSError):
                message = slot.pipe.recv()
            message = message or self._bury(slot)
            slot.started = True
            if message.kind in ("done", "failed"):
                slot.task = None
            if message.kind == "failed" and message.value.exit_code == EXIT_DEVICE:
                self._end(slot)  # the next worker begins with clean memory
            messages.append(message)
        return messages

    def _bury(self, slot: _Slot) -> Message:
        """The failure of a worker that died over its task. Raises for one that cannot even start: no job could be
        done."""
        assert slot.task is not None
        slot.process.join(STOP_SECONDS)
        code = slot.process.exitcode
        self._end(slot)
        if not slot.started:
            _explain_start(code)
        if code == -getattr(signal, "SIGKILL", 9):
            text = "the worker was killed (SIGKILL: the system does that when memory runs out)"
            failure = Failure(f"{text}: use fewer --jobs, or a smaller --size", EXIT_DEVICE, False)
        else:
            failure = Failure(f"the worker died (exit code {code})", EXIT_FAILED, False)
        return Message("failed", slot.task.id, failure, slot.name)

    def _end(self, slot: _Slot) -> None:
        if slot.process is not None:
            slot.pipe.close()
            end_processes([slot.process])
        slot.process = slot.pipe = None

    def close(self) -> None:
        """See `Executor.close`."""
        end_processes([slot.process for slot in self._slots.values() if slot.process is not None])
        for slot in self._slots.values():
            self._end(slot)


def end_processes(processes: list[Any]) -> None:
    """Ask all to end, wait for them together, and kill those that do not within `STOP_SECONDS`."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


def require_guard() -> None:
    """End a process that is only importing the script it was started from: it would start processes in turn, for
    ever."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(_UNGUARDED)


def _explain_start(code: int | None) -> None:
    """Raise what a process says that ended before it did anything, unless the system killed it, which may pass."""
    if code == _UNGUARDED:
        raise UsageError(
            "this script starts a batch while it is imported, and every worker imports it again: "
            'put what it does under `if __name__ == "__main__":`'
        )
    if code != -getattr(signal, "SIGKILL", 9):
        raise UserError(
            f"a worker process ended as it started (exit code {code}): `e2fgvi check-env` looks for the reason"
        )


def worker_main(
    pipe: Connection, engine_module: str, device: str, threads: int, environment: tuple[tuple[str, str], ...]
) -> None:
    """A worker's life: tasks in, messages out, until the pipe closes or the driver is gone."""
    os.environ.update(environment)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        let_through()
        with contextlib.suppress(EOFError, BrokenPipeError):
            pipe.send(Message("ready", worker=multiprocessing.current_process().name))
            _serve(pipe, engine_module, device, threads)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending anyway


def _die_with(sentinel: int) -> None:
    """A driver that was killed must not leave workers computing for nobody."""
    wait([sentinel])
    os._exit(EXIT_FAILED)


def _serve(pipe: Connection, engine_module: str, device: str, threads: int) -> None:
    # Here and not above: the driver imports this module and needs neither PyAV nor OpenCV.
    from .work import Worker, describe_failure

    worker = Worker(engine_module, device, threads)
    lock = threading.Lock()  # progress comes from the thread that reads, too
    name = multiprocessing.current_process().name
    while True:
        task: Task = pipe.recv()

        def emit(kind: Any, value: Any, task: Task = task) -> None:
            with lock:
                pipe.send(Message(kind, task.id, value, name))

        try:
            result = worker.run(task, emit)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            emit("failed", describe_failure(error))
        else:
            emit("done", result)


def resolve_devices(settings: BatchSettings) -> tuple[str, ...]:
    """The devices for the workers, "auto" being all of this machine. Raises what `devices_of_this_machine` raises."""
    if settings.devices != ("auto",):
        return settings.devices
    return devices_of_this_machine() if settings.engine_module == ENGINE_MODULE else ("auto",)


def devices_of_this_machine() -> tuple[str, ...]:
    """Every GPU, else the CPU, as torch says in a process of its own, so that the driver stays small.

    Raises `DeviceError` if that process dies or does not answer, and what importing torch raises there.
    """
    require_guard()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell_devices, args=(theirs,), daemon=True)
    with held_back():
        process.start()
    theirs.close()
    advice = "`e2fgvi check-env` looks for the reason; --devices cpu does without the question"
    answer: Any = None
    try:
        if not ours.poll(DEVICES_SECONDS):
            raise DeviceError(f"asking torch for the devices took longer than {DEVICES_SECONDS:.0f} s: {advice}")
        with contextlib.suppress(EOFError, OSError):
            answer = ours.recv()
        if answer is None:
            process.join(STOP_SECONDS)
    finally:
        ours.close()
        end_processes([process])
    if isinstance(answer, BaseException):
        raise answer
    if answer is None:
        if process.exitcode == _UNGUARDED:
            _explain_start(process.exitcode)
        raise DeviceError(f"the process that asks torch for the devices died (exit code {process.exitcode}): {advice}")
    return tuple(answer)


def _tell_devices(pipe: Any) -> None:
    """In its own process: send the names, or what went wrong."""
    with contextlib.suppress(KeyboardInterrupt):
        let_through()
        try:
            from .engines import devices_here

            answer: Any = devices_here()
        except Exception as error:
            answer = error
        try:
            pipe.send(answer)
        except Exception:  # an error that cannot be pickled
            pipe.send(RuntimeError(f"{type(answer).__name__}: {answer}"))
