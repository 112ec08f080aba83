"""The first thing the program imports: from here on a signal ends it with a sentence, while all the rest is still
loading.

Answers signals as a side effect of being imported, by the command only: every import before it is time in which Python
would print a traceback. Standard library only, and little of that.
"""

import os
import signal
import sys


def _leave(number: int, _frame: object) -> None:
    os.write(2, b"error: interrupted before anything was done\n")
    os._exit(129 if number == getattr(signal, "SIGHUP", None) else 130)  # errors.py may not be there yet


def _answer_signals() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


# `python -m e2fgvi_cli` is "-m" before it has found the package's file.
if os.path.basename(sys.argv[0]) in ("-m", "__main__.py") or os.path.basename(sys.argv[0]).startswith("e2fgvi"):
    _answer_signals()
