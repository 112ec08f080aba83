"""`python -m e2fgvi_cli` is the `e2fgvi` command."""

from .app import main

if __name__ == "__main__":
    main()
