"""Errors that a user can act on. Each carries the exit code of the command line; `app.py` is the one place that turns
them into one.

Anything that is not a `UserError` is a fault of the program itself and ends with `EXIT_FAILED`.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_WEIGHTS = 4
EXIT_DEVICE = 5
EXIT_BATCH = 6
EXIT_HANGUP = 129
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A condition the user can change. The message is one sentence that names the thing, the value and what to do."""

    exit_code = EXIT_FAILED


class UsageError(UserError):
    """Options that contradict each other or do not parse."""

    exit_code = EXIT_USAGE


class InputError(UserError):
    """A video, image folder, mask or output path that cannot be used."""

    exit_code = EXIT_INPUT


class WeightsError(UserError):
    """A checkpoint that is missing, damaged, or of another network."""

    exit_code = EXIT_WEIGHTS


class DeviceError(UserError):
    """A device that does not exist, does not work, or has too little memory."""

    exit_code = EXIT_DEVICE


_OUT_OF_MEMORY = ("can't allocate memory", "Insufficient memory", "Cannot allocate memory", "bad_alloc")


def out_of_memory(error: BaseException) -> str | None:
    """The first line of an error of torch, OpenCV or Python that says that memory ran out; None of any other error."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not named and not any(words in " ".join(str(error).split()) for words in _OUT_OF_MEMORY):
        return None
    return (str(error).strip().splitlines() or ["no more could be had"])[0]
