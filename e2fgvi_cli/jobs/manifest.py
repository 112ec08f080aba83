"""Reading what a batch is to do: CSV, JSON lines, YAML, or a folder of clips with their masks. Standard library (and PyYAML for YAML).

An entry is a mapping from option names of `e2fgvi inpaint` (without the dashes, "-" or "_" alike) to values, over the
manifest's defaults. Paths are relative to the manifest's folder. `video` may be a pattern such as clips/*.mp4; other values may
then say {stem}, {name} or {parent} of the file found.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError

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
Values = dict[str, Any]
_PLACEHOLDER = re.compile(r"\{(stem|name|parent)\}")


@dataclass(frozen=True)
class Entry:
    """One job as the manifest words it. `where` says which line or entry, for messages."""

    name: str
    values: Values
    where: str


def read_manifest(path: Path) -> list[Entry]:
    """All entries of a manifest, patterns expanded, in order. Raises `InputError` if it cannot be read as what it is."""
    if path.is_dir():
        return read_folder(path)
    readers = {
        ".csv": _read_csv,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"the manifest {path} is neither .csv, .jsonl nor .yaml, nor a folder: rename or convert it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"there is no manifest {path}: check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the manifest {path} cannot be read: {error}") from error
    defaults, rows = reader(text, path)
    base = path.resolve().parent
    entries = [entry for where, row in rows for entry in _expand({**defaults, **row}, where, base)]
    if not entries:
        raise InputError(f"the manifest {path} names no job: give at least one video and mask")
    return entries


def read_folder(folder: Path) -> list[Entry]:
    """The clips of a folder that have masks beside them: clip.mp4 with clip_mask.mp4, clip_mask.png or the folder clip_mask/.

    Folders of frames count as clips too (shot1/ with shot1_mask/). Raises `InputError` if there is none, or two masks for one.
    """
    names = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    masks = [entry for entry in names if re.search(r"_masks?$", entry.name if entry.is_dir() else entry.stem)]
    entries = []
    for clip in names:
        is_video = clip.is_file() and clip.suffix.lower() in VIDEO_SUFFIXES
        if clip in masks or not (is_video or clip.is_dir()):
            continue
        stem = clip.name if clip.is_dir() else clip.stem
        own = [m for m in masks if re.fullmatch(re.escape(stem) + r"_masks?", m.name if m.is_dir() else m.stem)]
        if len(own) > 1:
            raise InputError(f"{clip} has several masks ({', '.join(m.name for m in own)}): leave one beside it")
        if own:
            values = {"video": str(clip.resolve()), "mask": str(own[0].resolve())}
            entries.append(Entry(stem, values, clip.name))
    if not entries:
        raise InputError(
            f"the folder {folder} holds no clip with a mask beside it: name them like clip.mp4 and clip_mask.mp4"
        )
    return entries


Rows = Iterable[tuple[str, Values]]


def _read_csv(text: str, path: Path) -> tuple[Values, Rows]:
    """Comments "# option: value" above the header are defaults; empty cells leave the default."""
    lines = text.splitlines()
    defaults: Values = {}
    start = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    for line in lines[:start]:
        option, colon, value = line[1:].partition(":")
        if colon and re.fullmatch(r"\s*[\w-]+\s*", option):
            defaults[_option(option)] = value.strip()
    reader = csv.DictReader(lines[start:], strict=True, skipinitialspace=True)
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"the manifest {path}: line {start + reader.line_num} has another number of cells than the header"
                )
            values = {_option(k): v.strip() for k, v in row.items() if k and v.strip()}
            if values:
                rows.append((f"line {start + reader.line_num}", values))
    except csv.Error as error:
        raise InputError(f"the manifest {path} is no CSV: line {start + reader.line_num}: {error}") from error
    if "video" not in {_option(field) for field in reader.fieldnames or ()} | set(defaults):
        raise InputError(f"the manifest {path} has no column video: its first line must name the columns")
    return defaults, rows


def _read_json_lines(text: str, path: Path) -> tuple[Values, Rows]:
    """One object a line; the first may be {"defaults": {...}}."""
    defaults: Values = {}
    rows: list[tuple[str, Values]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"the manifest {path}: line {number} is no JSON: {error}") from error
        where = f"line {number}"
        if not rows and isinstance(value, dict) and set(value) == {"defaults"}:
            defaults = _mapping(value["defaults"], f"the manifest {path}: {where}: defaults")
        else:
            rows.append((where, _mapping(value, f"the manifest {path}: {where}")))
    return defaults, rows


def _read_yaml(text: str, path: Path) -> tuple[Values, Rows]:
    """{defaults: {...}, jobs: [...]}, or the list alone."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            f"reading {path} needs PyYAML: pip install pyyaml, or write the manifest as CSV or JSON lines"
        ) from None
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the manifest {path} is no YAML: {' '.join(str(error).split())}") from error
    if isinstance(value, list):
        value = {"jobs": value}
    if not isinstance(value, dict) or not isinstance(value.get("jobs"), list) or set(value) - {"defaults", "jobs"}:
        raise InputError(f"the manifest {path} must be a list of jobs, or have the keys defaults and jobs")
    defaults = _mapping(value.get("defaults") or {}, f"the manifest {path}: defaults")
    return defaults, [
        (f"job {n}", _mapping(v, f"the manifest {path}: job {n}")) for n, v in enumerate(value["jobs"], 1)
    ]


def _mapping(value: Any, what: str) -> Values:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is no set of options: write name and value pairs such as video and mask")
    return {_option(str(key)): item for key, item in value.items() if item is not None}


def _option(name: str) -> str:
    return name.strip().lstrip("-").replace("-", "_")


def _expand(values: Values, where: str, base: Path) -> Iterator[Entry]:
    """The entry, or one for each file its `video` pattern finds, with placeholders filled in and paths made absolute."""
    if not values.get("video"):
        raise UsageError(f"{where}: there is no video: every job needs one")
    name = values.pop("name", None)
    video = base / str(values["video"])
    if not glob.has_magic(str(values["video"])) or video.exists():
        yield _entry(values, video, where, base, name)
        return
    found = sorted(Path(f) for f in glob.glob(str(video)) if not Path(f).name.startswith("."))
    if not found:
        raise InputError(f"{where}: nothing matches the pattern {values['video']}: check the path")
    if len(found) > 1 and not _PLACEHOLDER.search(str(values.get("output", "{stem}"))):
        raise UsageError(
            f"{where}: {len(found)} clips match and would all write {values['output']}: say {{stem}} in the output"
        )
    for file in found:
        yield _entry(values, file, where, base, name)


def _entry(values: Values, video: Path, where: str, base: Path, name: Any) -> Entry:
    parts = {
        "stem": video.name if video.is_dir() else video.stem,
        "name": video.name,
        "parent": video.resolve().parent.name,
    }

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        return _PLACEHOLDER.sub(lambda m: parts[m[1]], value) if isinstance(value, str) else value

    filled = {key: fill(value) for key, value in values.items()}
    filled["video"] = str(video)
    for key in PATH_OPTIONS & set(filled):
        if filled[key]:
            filled[key] = str(base / Path(str(filled[key])).expanduser())
    generic = video.is_dir() and parts["stem"].lower() in ("frames", "images", "rgb")
    return Entry(str(fill(name)) if name else (parts["parent"] if generic else parts["stem"]), filled, where)


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
    seen: dict[str, int] = {}
    result = []
    for entry in entries:
        seen[entry.name] = seen.get(entry.name, 0) + 1
        count = seen[entry.name]
        result.append(entry if count == 1 else Entry(f"{entry.name} ({count})", entry.values, entry.where))
    return result
