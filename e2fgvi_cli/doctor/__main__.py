"""`python -m e2fgvi_cli.doctor`: the environment check in a bare interpreter, whatever else is broken."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 (this very file is what tells the user)
    sys.stderr.write(
        "[FAIL] sys.python: Python 3.11 or newer is needed, install 3.12 / 需要 Python 3.11 或更高，请安装 3.12\n"
    )
    sys.exit(1)

if not __package__:  # run by its path: `python -S -I e2fgvi_cli/doctor/__main__.py`
    import os

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

try:
    from e2fgvi_cli.doctor.cli import main

    sys.exit(main())
except KeyboardInterrupt:
    sys.stderr.write("error: interrupted\n")
    sys.exit(130)
