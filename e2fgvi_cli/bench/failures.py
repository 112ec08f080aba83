"""Why a case of a benchmark has no figures. Imports neither torch nor PyAV."""

from __future__ import annotations

from ..errors import EXIT_DEVICE, EXIT_FAILED, UserError


class CaseFailedError(UserError):
    """A case's process failed; the message is its reason."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


def death(exit_code: int | None) -> CaseFailedError:
    """Of a process that ended with that code, negative: by a signal."""
    if exit_code == -9:
        return CaseFailedError("the system killed the process, most likely for want of memory", EXIT_DEVICE)
    return CaseFailedError(f"the process ended with exit code {exit_code}")
