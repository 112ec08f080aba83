"""What a batch is to do: the entries of a manifest (`manifest_text` reads it), or of a folder of clips with their
masks.

An entry is a mapping from option names of `e2fgvi inpaint` (without the dashes, "-" or "_" alike) to values, over the
manifest's defaults. Paths are relative to the manifest's folder. `video` may be a pattern such as clips/*.mp4; other
values may then say {stem}, {name} or {parent} of the file found.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from .manifest_text import Values, rows_of

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".mxf",
        ".wmv",
        ".flv",
        ".ogv",
    }
)
PATH_OPTIONS = frozenset({"video", "mask", "output", "reference", "save_frames", "sheet", "gif"})
MAX_FOUND = 100_000
"""Clips that one pattern may find."""
_PLACEHOLDER = re.compile(r"\{(stem|name|parent)\}")
_IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")
"""Characters that no file name and no sentence can have: NUL, and halves of pairs that JSON can spell."""


@dataclass(frozen=True)
class Entry:
    """One job as the manifest words it. `where` says which line or entry, for messages."""

    name: str
    values: Values
    where: str


def read_manifest(path: Path) -> list[Entry]:
    """All entries of a manifest, patterns expanded, in order. Raises `InputError` if it cannot be read as what it
    is."""
    if _is_dir(path):
        return read_folder(path)
    defaults, rows = rows_of(path)
    base = path.resolve().parent
    entries = [entry for where, row in rows for entry in _expand({**defaults, **row}, where, base)]
    if not entries:
        raise InputError(f"the manifest {path} names no job: give at least one video and mask")
    return entries


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"the manifest {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_folder(folder: Path) -> list[Entry]:
    """The clips of a folder that have masks beside them: clip.mp4 with clip_mask.mp4, clip_mask.png or the folder
    clip_mask/.

    Folders of frames count as clips too (shot1/ with shot1_mask/). Raises `InputError` if there is none, or two masks
    for one.
    """
    masks: dict[str, list[Path]] = defaultdict(list)
    clips: list[tuple[str, Path]] = []
    try:
        for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            is_folder = path.is_dir()
            stem = path.name if is_folder else path.stem
            if (of := re.sub(r"_masks?$", "", stem)) != stem:
                masks[of].append(path)
            elif is_folder or (path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()):
                clips.append((stem, path))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    entries = []
    for stem, clip in clips:
        own = masks.get(stem, [])
        if len(own) > 1:
            raise InputError(f"{clip} has several masks ({', '.join(m.name for m in own)}): leave one beside it")
        if own:
            values = {"video": str(clip.resolve()), "mask": str(own[0].resolve())}
            entries.append(Entry(_printable(stem), values, clip.name))
    if not entries:
        raise InputError(
            f"the folder {folder} holds no clip with a mask beside it: name them like clip.mp4 and clip_mask.mp4"
        )
    return entries


def _expand(values: Values, where: str, base: Path) -> Iterator[Entry]:
    """The entry, or one for each file its `video` pattern finds, with placeholders filled in and paths made
    absolute."""
    _check_values(values, where)
    if not values.get("video"):
        raise UsageError(f"{where}: there is no video: every job needs one")
    name = values.pop("name", None)
    text = os.path.expanduser(str(values["video"]))
    video = base / text
    if not glob.has_magic(text) or _exists(video, where):
        yield _entry(values, video, where, base, name)
        return
    # The folder is not part of the pattern: it may hold signs of its own.
    matches = (base / found for found in glob.iglob(text, root_dir=base))
    found = sorted(itertools.islice((m for m in matches if not m.name.startswith(".")), MAX_FOUND + 1))
    if not found:
        raise InputError(f"{where}: nothing matches the pattern {values['video']}: check the path")
    if len(found) > MAX_FOUND:
        raise InputError(
            f"{where}: the pattern {values['video']} finds more than {MAX_FOUND} files: write a narrower one"
        )
    if len(found) > 1 and not _PLACEHOLDER.search(str(values.get("output", "{stem}"))):
        raise UsageError(
            f"{where}: {len(found)} clips match and would all write {values['output']}: say {{stem}} in the output"
        )
    for file in found:
        yield _entry(values, file, where, base, name)


def _check_values(values: Values, where: str) -> None:
    """What no file name and no command line can have. Raises `InputError`, `UsageError`."""
    for key, value in values.items():
        if key in (*PATH_OPTIONS, "name") and isinstance(value, (list, bool)):
            raise UsageError(f"{where}: {key} {value!r} is no path or name: write one text")
        for item in value if isinstance(value, list) else [value]:
            if key != "name" and _IMPOSSIBLE.search(str(item)):
                raise InputError(
                    f"{where}: {key} {str(item)!r} holds a character that no file name can have: retype it"
                )


def _exists(path: Path, where: str) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise InputError(
            f"{where}: {_short(str(path))} cannot be looked at: {error.strerror}: check the path"
        ) from error


def _short(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _entry(values: Values, video: Path, where: str, base: Path, name: Any) -> Entry:
    is_folder = video.is_dir() if _exists(video, where) else False
    parts = {
        "stem": video.name if is_folder else video.stem,
        "name": video.name,
        "parent": video.absolute().parent.name,
    }

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        return _PLACEHOLDER.sub(lambda m: parts[m[1]], value) if isinstance(value, str) else value

    filled = {key: fill(value) for key, value in values.items()}
    filled["video"] = str(video)
    for key in PATH_OPTIONS & set(filled):
        filled[key] = str(base / os.path.expanduser(str(filled[key])))
    for key in {"weights", "ckpt"} & set(filled):  # a known name, or a file
        if (file := base / str(filled[key])).suffix and _exists(file, where):
            filled[key] = str(file)
    generic = is_folder and parts["stem"].lower() in ("frames", "images", "rgb")
    named = str(fill(str(name))) if name else (parts["parent"] if generic else parts["stem"])
    return Entry(_printable(named), filled, where)


def _printable(name: str) -> str:
    """The name as tables and terminals may show it: what would move a cursor or break a line becomes one sign."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)


def as_bool(value: Any, where: str, key: str) -> bool:
    """True or false as CSV writes it. Raises `UsageError`."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "yes", "1", "on"):
        return True
    if text in ("false", "no", "0", "off"):
        return False
    raise UsageError(f"{where}: {key} {value!r} is neither true nor false: write one of them")


def unique_names(entries: list[Entry]) -> list[Entry]:
    """The same entries with names that tell them apart: the second "frames" becomes "frames (2)"."""
    taken = {entry.name for entry in entries}
    seen: dict[str, int] = {}
    result = []
    for entry in entries:
        count = seen[entry.name] = seen.get(entry.name, 0) + 1
        name = entry.name
        if count > 1:
            while (name := f"{entry.name} ({count})") in taken:
                count += 1
            taken.add(name)
            seen[entry.name] = count
        result.append(Entry(name, entry.values, entry.where))
    return result
