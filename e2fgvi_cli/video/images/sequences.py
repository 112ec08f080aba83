"""Which files a source consists of: a folder, a pattern such as `seq/frame_%05d.png` or `seq/*.png`, one file; and that
it is one.

Standard library only; looks at names, opens nothing.
"""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from ...errors import InputError
from ...system.paths import IMAGE_SUFFIXES

_COUNTER = re.compile(r"%(0(\d+))?d")
_SIGNS = "%*?["


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def is_image_path(path: Path) -> bool:
    """Whether the file's name says it is a still image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def list_images(folder: Path) -> list[Path]:
    """Image files directly in `folder`, in natural order; hidden files are left out. May be empty."""
    return _in_order(entry for entry in folder.iterdir() if is_image_path(entry))


def is_pattern(path: Path) -> bool:
    """Whether a path that does not exist is written like a pattern of many. A file of that very name is that file."""
    return any(sign in path.name for sign in _SIGNS) and not path.exists()


def image_files(path: Path) -> list[Path]:
    """The images of a folder or a pattern in natural order, or the one file. Raises `InputError` if there is none."""
    if path.is_dir():
        found = list_images(path)
        if not found:
            raise InputError(
                f"folder {path} holds no images (png, jpg, tiff, webp, bmp, exr); give the folder of frames"
            )
        return found
    if not is_pattern(path):
        return [path]
    found = _matching(path)
    if not found:
        hint = f"; give the folder {path.parent}" if _holds_images(path.parent) else "; check the path"
        raise InputError(f"no image matches {path}{hint}")
    return found


def _matching(pattern: Path) -> list[Path]:
    """Images beside `pattern` whose names fit it: %d and %05d stand for a number as C writes it, *, ? and [] as in a
    shell."""
    if not pattern.parent.is_dir():
        return []
    if _COUNTER.search(pattern.name):
        regex = "".join(
            rf"\d{{{int(part[2:-1] or 1)},}}" if _COUNTER.fullmatch(part) else re.escape(part.replace("%%", "%"))
            for part in re.split(r"(%(?:0\d+)?d)", pattern.name)
        )
    else:
        regex = fnmatch.translate(pattern.name)
    fits = re.compile(regex)
    return _in_order(entry for entry in pattern.parent.iterdir() if is_image_path(entry) and fits.fullmatch(entry.name))


def _in_order(entries: Iterable[Path]) -> list[Path]:
    found = [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return sorted(found, key=lambda entry: (natural_key(entry.stem), entry.name))


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and bool(list_images(folder))


def require_file(path: Path) -> None:
    """Raise `InputError` for a path that is no file on a disk: reading a pipe may wait for ever, a device never
    ends."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {path}; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a null byte
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    if stat.S_ISREG(mode):
        return
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    raise InputError(f"{path} is {kind}, not a file; save what it holds as a file first")
