"""What is kept between runs so that the next one starts sooner: compiled Python where its packages have none, and which
self-checks were passed. All of it may be deleted at any time."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from .folders import user_folder


def cache_folder() -> Path:
    """$E2FGVI_CACHE_DIR, or a folder of ours in the user's cache folder."""
    chosen = os.environ.get("E2FGVI_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return user_folder("cache")


def keep_bytecode(package: str = "torch") -> bool:
    """Keep compiled Python in the cache folder where `package` has none and none would be kept; whether it is now.

    Images for containers are often made so (`pip install --no-compile`, PYTHONDONTWRITEBYTECODE), and a folder of
    packages may belong to somebody else. Each start would then compile thousands of files, which takes seconds. Call it
    before the package is imported; PYTHONPYCACHEPREFIX, where it is set, is left as it is. Child processes inherit it.
    """
    if sys.pycache_prefix is not None or package in sys.modules:
        return False
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    folder = os.path.dirname(spec.origin)
    if os.path.exists(importlib.util.cache_from_source(spec.origin)):
        return False
    if os.access(folder, os.W_OK) and not sys.dont_write_bytecode:
        return False  # Python keeps it itself
    try:
        prefix = str(cache_folder() / "bytecode")
    except RuntimeError:  # there is no home
        return False
    sys.pycache_prefix, sys.dont_write_bytecode = prefix, False
    os.environ["PYTHONPYCACHEPREFIX"] = prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return True


class PassedCheck:
    """Whether a self-check was passed here, under everything that its outcome depends on. A failure is not kept."""

    def __init__(self, name: str, facts: Iterable[object], sources: Iterable[Path] = ()) -> None:
        """facts: versions, devices; sources: files whose text is a fact."""
        digest = hashlib.sha256(repr([name, *map(str, facts)]).encode())
        for path in sources:
            digest.update(path.read_bytes())
        self._name = f"{name}-{digest.hexdigest()[:32]}"

    def passed(self) -> bool:
        """Whether it was. False where that cannot be looked up."""
        try:
            return (cache_folder() / "checks" / self._name).exists()
        except (OSError, RuntimeError):
            return False

    def note(self) -> None:
        """It was passed. Where nothing can be written, it is made once more next time."""
        try:
            folder = cache_folder() / "checks"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / self._name).touch()
        except (OSError, RuntimeError):
            pass
