"""`e2fgvi check-env`: names the exact fault, the exact file, the exact fix. Standard library only.

`startup_diagnosis` is what the rest of the program uses; everything else is reached through `cli`. Importing this
package
is cheap: nothing is read until it is asked.
"""

from __future__ import annotations


def startup_diagnosis(exc: BaseException) -> str | None:
    """The one line that matters for an exception of importing torch, torchvision, cv2, av or numpy, or of building the
    network.

    Looks at the file the exception names, without importing anything, and ends with "run `e2fgvi check-env`".
    None when the exception has nothing to do with the environment. Never raises.
    """
    from .startup import diagnose_exception

    try:
        return diagnose_exception(exc)
    except Exception:
        return None  # the caller has an error to report already; this one must not hide it
