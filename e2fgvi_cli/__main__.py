"""The `e2fgvi` command, also `python -m e2fgvi_cli`: what has to be right before anything else is imported.

An interruption while the program loads ends it with a sentence, and so does a package that is missing.
"""

import sys

try:
    from .errors import EXIT_FAILED
    from .system import early, streams  # noqa: F401 (early: for what it does)
except KeyboardInterrupt:  # before `early` was there
    sys.stderr.write("error: interrupted before anything was done\n")
    sys.exit(130)


def main() -> None:
    """Entry point. Ends the process."""
    streams.guard()
    try:
        from .app import main as run
    except ImportError as error:
        sys.exit(_without_packages(error))
    try:
        run()
    except SystemExit as end:
        _leave(end.code)
        raise


def _leave(code: object) -> None:
    """End the process at once, if it has loaded torch and nobody else's thread is left.

    Python would take apart every module and free all of a GPU's memory piece by piece, for more than half a second.
    What was registered to be done at the end is done.
    """
    import atexit
    import contextlib
    import os
    import threading

    others = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if "torch" in sys.modules and isinstance(code, int) and not others:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _without_packages(error: ImportError) -> int:
    """The environment check needs no package; for anything else a line says what is missing."""
    if sys.argv[1:2] == ["check-env"]:
        from .doctor.cli import main as check

        return check(sys.argv[2:])
    from .doctor import startup_diagnosis

    name = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and name not in ("", "e2fgvi_cli"):
        text = (
            f"the package {name} is not installed: install it with `{sys.executable} -m pip install {name}`, "
            f"or see what else is missing with `{sys.executable} -m e2fgvi_cli.doctor`"
        )
    else:
        text = startup_diagnosis(error) or f"{type(error).__name__}: {error}"
    sys.stderr.write(f"error: {text}\n")
    return EXIT_FAILED


if __name__ == "__main__":
    main()
