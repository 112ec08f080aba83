"""The benchmark as a whole: every case in a process of its own, or each run of one (`process`). This process imports
neither torch nor PyAV.

That keeps a case's memory peaks its own, and a case that is killed for its memory from taking the others along. It must
itself stay
small: Linux hands a process's peak of resident memory down to what it starts.

On a CPU the cases of one size and mode take turns, run by run, so that other work on the machine hits them alike. On a
GPU each has the device's memory to itself, one case after the other.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import EXIT_DEVICE, EXIT_INTERRUPTED, UsageError, UserError, out_of_memory
from .failures import CaseFailedError, death
from .process import measure_processes
from .request import Case, Request
from .results import ENGINE, OURS, PROCESS, RELEASED, Benchmark, CaseResult, Failure, Probe, Subject
from .synthetic import SyntheticClip, write_frames

DEBUG_VARIABLE = "E2FGVI_DEBUG"


def run_benchmark(
    request: Request,
    command: str,
    *,
    on_message: Callable[[str], None] = lambda _: None,
    on_result: Callable[[Benchmark], None] = lambda _: None,
) -> Benchmark:
    """Measure everything that was asked for. `on_message` gets sentences, `on_result` what is known after each case.

    A case that fails, for want of memory say, has the reason instead of figures. Raises `UserError` for what makes the
    whole request impossible, such as a device that does not exist.
    """
    on_message("looking at the machine")
    plain = request.options(None, None, "auto", ("auto",))
    probe: Probe = isolated("probe", request.devices, request.precisions, plain, command)
    session = _Session(request, probe, on_message)
    cases: list[CaseResult] = []
    for size in request.clip_sizes(probe.size):
        with TemporaryDirectory(prefix="e2fgvi-benchmark-") as folder:
            for group in session.groups(session.cases(size, Path(folder))):
                for case in group:
                    on_message(case.subject.label)
                cases += _measure(group)
                on_result(session.benchmark(cases))
    return session.benchmark(cases)


class _Session:
    """What all cases share. `notices` are for the report."""

    def __init__(self, request: Request, probe: Probe, on_message: Callable[[str], None]) -> None:
        self._request, self._probe, self._say = request, probe, on_message
        self._notices: list[str] = []

    def benchmark(self, cases: Sequence[CaseResult]) -> Benchmark:
        """The report so far."""
        asked, probe = self._request.as_record(), self._probe
        settings = {**asked, "devices": list(probe.devices), "precisions": list(probe.precisions)}
        return Benchmark(probe.environment, settings, tuple(cases), tuple(self._notices))

    def cases(self, size: tuple[int, int], folder: Path) -> list[Case]:
        """The cases of one size, with what they need in `folder`."""
        request, probe = self._request, self._probe
        clip = request.clip(size) if request.video is None else None
        files = self._write(clip, folder) if clip is not None and request.mode != "engine" else None
        subjects = request.subjects(size, probe.precisions, probe.devices, files=files is not None or clip is None)
        # What the engine is measured on in memory needs to be counted and compared only there.
        examined = [s for s in subjects if s.mode == ENGINE] or subjects
        compared = [s for s in examined if s.program == OURS and s.mode != PROCESS and request.needs_check(s.precision)]

        def case(subject: Subject, filled: Path | None = None, deform: str | None = None) -> Case:
            released = subject.program == RELEASED
            options = request.options(size, files, subject.precision, subject.devices, released=released, deform=deform)
            analyse = subject in examined
            return Case(subject, options, request.repeats, clip, filled, analyse, request.stages, request.timed)

        filled = None
        if compared and self._wants_check(size):
            filled = folder / "filled"
            plain = Subject(compared[0].mode, OURS, size, "fp32", probe.devices[:1])
            if not self._write_filled(case(plain, deform="auto"), filled):
                filled = None
        return [case(subject, filled if subject in compared else None) for subject in subjects]

    def groups(self, cases: Sequence[Case]) -> list[list[Case]]:
        """Cases that take turns."""
        if self._probe.devices[0] != "cpu":
            return [[case] for case in cases]
        modes = dict.fromkeys(case.subject.mode for case in cases)
        return [[case for case in cases if case.subject.mode == mode] for mode in modes]

    def _write(self, clip: SyntheticClip, folder: Path) -> tuple[Path, Path] | None:
        height, width = clip.size
        self._say(f"writing {clip.frames} frames of {width}x{height}")
        if self._request.mode == "process":
            return write_frames(clip, folder)
        files: tuple[Path, Path] | None = isolated("write_files", clip, folder)
        if files is None and self._request.mode == "end-to-end":
            raise UsageError(
                "--mode end-to-end needs PyAV, which is not installed: pip install av, or use --mode engine"
            )
        if files is None:
            self._notice("end to end was left out: PyAV is not installed (pip install av)")
        return files

    def _wants_check(self, size: tuple[int, int]) -> bool:
        request, probe = self._request, self._probe
        frames = request.frame_count if request.video is None else probe.frames
        wanted = request.wants_check(size, frames, probe.devices[0])
        if not wanted and request.check is None:
            self._notice(f"{size[1]}x{size[0]}: not compared with float32, because the clip is large (--check does it)")
        return wanted

    def _write_filled(self, case: Case, path: Path) -> bool:
        self._say(f"{case.subject.label}, to compare with")
        try:
            isolated("write_filled", case, path)
        except UserError as error:
            height, width = case.subject.size
            self._notice(f"{width}x{height}: not compared with float32, because that run failed: {error}")
            return False
        return True

    def _notice(self, sentence: str) -> None:
        if sentence not in self._notices:
            self._notices.append(sentence)


def _measure(group: Sequence[Case]) -> list[CaseResult]:
    """The cases of a group, a run of each in turn."""
    calls = [Processes(case) if case.subject.mode == PROCESS else IsolatedCall("measure", case) for case in group]
    failures: dict[int, Failure] = {}
    try:
        while not all(call.finished or i in failures for i, call in enumerate(calls)):
            for i, call in enumerate(calls):
                if call.finished or i in failures:
                    continue
                try:
                    call.step()
                except UserError as error:
                    failures[i] = Failure(str(error), error.exit_code)
    finally:
        for call in calls:
            call.close()
    return [
        CaseResult(case.subject, None if i in failures else call.result, failures.get(i))
        for i, (case, call) in enumerate(zip(group, calls, strict=True))
    ]


class Processes:
    """`process.measure_processes` of a case, as far as the next `yield` at a time: as an `IsolatedCall`."""

    def __init__(self, case: Case) -> None:
        self.finished, self.result = False, None
        self._runs = measure_processes(case.options, case.repeats)

    def step(self) -> None:
        """Go on as far as it goes. Raises the `CaseFailedError` that it raises."""
        try:
            next(self._runs)
        except StopIteration as end:
            self.finished, self.result = True, end.value

    def close(self) -> None:
        """Make no further run."""
        self._runs.close()


class IsolatedCall:
    """`speed.FUNCTION(*arguments)` in a new process, as far as the next `yield` at a time where it is a generator."""

    def __init__(self, function: str, *arguments: object) -> None:
        self.finished, self.result = False, None
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function, arguments))
        self._theirs: Connection | None = theirs

    def step(self) -> None:
        """Go on as far as it goes. Raises the `UserError` that it raises, `CaseFailedError` for anything else."""
        if self._theirs is not None:
            self._process.start()
            self._theirs.close()  # so that its death is noticed here
            self._theirs = None
        try:
            self._pipe.send(None)
            self.finished, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise death(self._process.exitcode) from None
        if isinstance(answer, UserError):
            raise answer
        self.result = answer

    def close(self) -> None:
        """End the process, whatever it does."""
        self._pipe.close()
        if self._theirs is not None:
            return
        if not self.finished:
            self._process.terminate()
        self._process.join()


def isolated(function: str, *arguments: object) -> Any:
    """The result of an `IsolatedCall`. Raises what it raises."""
    call = IsolatedCall(function, *arguments)
    try:
        while not call.finished:
            call.step()
    finally:
        call.close()
    return call.result


def _serve(pipe: Connection, function: str, arguments: tuple[Any, ...]) -> None:
    """The other process: for everything received, sends (finished, result or `UserError`)."""
    try:
        from . import speed

        pipe.recv()
        answer = getattr(speed, function)(*arguments)
        while isinstance(answer, Generator):
            try:
                next(answer)
            except StopIteration as end:
                answer = end.value
            else:
                pipe.send((False, None))
                pipe.recv()
    except (KeyboardInterrupt, EOFError):
        os._exit(EXIT_INTERRUPTED)  # the parent was interrupted, or is gone
    except UserError as error:
        answer = error
    except Exception as error:  # the other cases are worth having whatever happened to this one
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exception(error)
        answer = _explain(error)
    pipe.send((True, answer))
    pipe.close()


def _explain(error: Exception) -> CaseFailedError:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if (no_memory := out_of_memory(error)) is not None:
        return CaseFailedError(f"out of memory: {no_memory}", EXIT_DEVICE)
    return CaseFailedError(f"unexpected failure: {type(error).__name__}: {first_line} (set {DEBUG_VARIABLE}=1)")
