"""The text of a manifest as rows of options: CSV as spreadsheets save it, JSON lines, YAML. Standard library (and
PyYAML for YAML).

Options stay what a command line has: text, truth values, numbers, or flat lists of them. Nothing is nested, so that no
file, however it was written, becomes larger than it is; what is larger than the limits is refused before it is read.
"""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError

Values = dict[str, Any]
Rows = list[tuple[str, Values]]

MAX_BYTES = 32 << 20
MAX_YAML_BYTES = 4 << 20
"""PyYAML reads some 100 kB a second: larger ones would look like a hang."""
MAX_VALUES = 1_000_000
"""Options of all jobs together, list items one by one: YAML's aliases repeat what is written once."""

_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The manifest's text: UTF-8, or what its byte order mark says. Raises `InputError` for what is no such file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"the manifest {path} is no regular file (a pipe or a device): save it as a file first")
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise InputError(f"there is no manifest {path}: check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the manifest {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise InputError(f"the manifest {path} is larger than {limit >> 20} MiB: split it into several")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8-sig")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"the manifest {path} cannot be read: line {line} is no text in {encoding.removesuffix('-sig').upper()} "
            f"(byte 0x{data[error.start]:02x}): save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from error


def rows_of(path: Path) -> tuple[Values, Rows]:
    """(defaults, rows with where each stands). Raises `InputError` if the file cannot be read as what its suffix
    says."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"the manifest {path} is neither .csv, .jsonl nor .yaml, nor a folder: rename or convert it")
    text = read_text(path, MAX_YAML_BYTES if reader is _read_yaml else MAX_BYTES)
    try:
        defaults, rows = reader(text, path)
    except RecursionError:
        raise InputError(f"the manifest {path} is nested too deeply: a job is a plain set of options") from None
    total = sum(_count(values) for _, values in rows) + len(rows) * _count(defaults)
    if total > MAX_VALUES:
        raise InputError(
            f"the manifest {path} asks for {total} values in all, and at most {MAX_VALUES} are read: split it "
            "into several"
        )
    return defaults, rows


def _count(values: Values) -> int:
    return sum(len(value) if isinstance(value, list) else 1 for value in values.values())


def option(name: str) -> str:
    """An option's name as `inpaint` spells its parameters, from any case, with dashes or not."""
    return name.strip().lstrip("-").replace("-", "_").lower()


def _collect(pairs: Iterable[tuple[str, Any]], what: str) -> Values:
    """Options by name. Raises `InputError` for one that is given twice, `UsageError` for what is neither a value nor a
    flat list."""
    values: Values = {}
    for key, value in pairs:
        name = option(key)
        if name in values:
            raise InputError(f"{what}: {name!r} is given twice: leave one")
        for item in value if isinstance(value, list) else [value]:
            if item is not None and not isinstance(item, (str, int, float, bool)):
                raise UsageError(f"{what}: {name!r} is nested: write one value, or a list of values")
        values[name] = [item for item in value if item not in (None, "")] if isinstance(value, list) else value
    return {name: value for name, value in values.items() if value not in (None, "", [])}


# CSV


def _read_csv(text: str, path: Path) -> tuple[Values, Rows]:
    """Comments "# option: value" above the header are defaults; empty cells leave the default, empty rows say nothing.

    Separated by commas, or by semicolons or tabs as spreadsheets of many countries do; a first line "sep=;" names the
    separator.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    named = re.fullmatch(r'"?sep=([,;|\t])"?', lines[0].strip(" "))
    start = 1 if named else 0
    defaults: list[tuple[str, str]] = []
    while start < len(lines) and (not lines[start].strip(" ,;\t") or lines[start].startswith(("#", '"#'))):
        defaults += _default(lines[start])
        start += 1
    rest = "\n".join(lines[start:])
    delimiter = named[1] if named else _delimiter(lines[start] if start < len(lines) else "")
    header: list[str] | None = None
    rows: Rows = []
    for number, cells in _cells(rest, delimiter, start, path):
        if header is None:
            header = cells
            _require_columns(header, [name for name, _ in defaults], path)
            continue
        where = f"line {number}"
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            raise InputError(
                f"the manifest {path}: {where} has another number of cells than the header ({len(cells)} and "
                f"{len(header)}, separated by {_DELIMITERS.get(delimiter, delimiter)}): a cell that holds the "
                "separator needs quotes"
            )
        pairs = [(name, cell.strip()) for name, cell in zip(header, cells, strict=False) if cell.strip()]
        if any(not name.strip() for name, _ in pairs):
            raise InputError(
                f"the manifest {path}: {where} has a value in a column without a name: name it or empty it"
            )
        rows.append((where, _collect(pairs, f"the manifest {path}: {where}")))
    if header is None:
        _require_columns([], [name for name, _ in defaults], path)
    return _collect(defaults, f"the manifest {path}: defaults"), rows


def _default(line: str) -> Iterator[tuple[str, str]]:
    """The option of a comment "# option: value", which a spreadsheet may have quoted, or filled up with empty cells."""
    if line.startswith('"#'):
        closed = re.match(r'"((?:[^"]|"")*)"', line)
        line = closed[1].replace('""', '"') if closed else line[1:]
    name, colon, value = line[1:].rstrip(" ,;\t").partition(":")
    if colon and re.fullmatch(r"\s*[\w-]+\s*", name):
        yield option(name), value.strip()


def _delimiter(header: str) -> str:
    """What separates the header's cells so that one is called video; else what there is most of."""

    def columns(delimiter: str) -> list[str]:
        return [option(cell.strip().strip('"')) for cell in header.split(delimiter)]

    named = [d for d in _DELIMITERS if "video" in columns(d)]
    return max(named or _DELIMITERS, key=lambda d: len(columns(d)))


def _cells(text: str, delimiter: str, before: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield before + reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"the manifest {path} is no CSV: line {before + reader.line_num}: {error}") from error


def _require_columns(header: list[str], defaults: list[str], path: Path) -> None:
    names = [option(name) for name in header if name.strip()]
    twice = next((name for n, name in enumerate(names) if name in names[:n]), None)
    if twice is not None:
        raise InputError(f"the manifest {path} has two columns {twice}: leave one")
    if "video" not in {*names, *defaults}:
        found = f" (it has {', '.join(map(repr, names[:5]))})" if names else ""
        raise InputError(
            f"the manifest {path} has no column video{found}: its first line must name the columns, "
            "separated by commas, semicolons or tabs"
        )


# JSON lines


def _read_json_lines(text: str, path: Path) -> tuple[Values, Rows]:
    """One object a line; the first may be {"defaults": {...}}."""
    defaults: Values = {}
    rows: Rows = []
    for number, line in enumerate(text.split("\n"), 1):  # str.splitlines would cut at U+2028 inside a string too
        if not line.strip():
            continue
        what = f"the manifest {path}: line {number}"
        try:
            value = json.loads(line, object_pairs_hook=_Object)
        except ValueError as error:
            raise InputError(f"{what} is no JSON: {error}") from error
        if not isinstance(value, _Object):
            raise InputError(f"{what} is no set of options: write name and value pairs such as video and mask")
        if not rows and not defaults and [key for key, _ in value.pairs] == ["defaults"]:
            inner = value.pairs[0][1]
            if not isinstance(inner, _Object):
                raise InputError(f"{what}: defaults is no set of options: write name and value pairs")
            defaults = _collect(inner.pairs, f"{what}: defaults")
        else:
            rows.append((f"line {number}", _collect(value.pairs, what)))
    return defaults, rows


class _Object:
    """A JSON object with its pairs as they stand, names given twice included."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


# YAML


def _read_yaml(text: str, path: Path) -> tuple[Values, Rows]:
    """{defaults: {...}, jobs: [...]}, or the list alone. Values stay as they are written: "no" and 12:30 are text, as
    in a shell."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            f"reading {path} needs PyYAML: pip install pyyaml, or write the manifest as CSV or JSON lines"
        ) from None
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the manifest {path} is no YAML: {' '.join(str(error).split())}") from error
    pairs = (
        [(str(key.value), value) for key, value in root.value]
        if isinstance(root, yaml.MappingNode)
        else [("jobs", root)]
    )
    top = dict(pairs)
    jobs, defaults = top.get("jobs"), top.get("defaults")
    if len(top) < len(pairs) or set(top) - {"defaults", "jobs"} or not isinstance(jobs, yaml.SequenceNode):
        raise InputError(f"the manifest {path} must be a list of jobs, or have the keys defaults and jobs, each once")
    reader = _YamlNodes(path)
    common = {} if reader.is_null(defaults) else reader.options(defaults, "defaults")
    return common, [(f"job {n}", reader.options(node, f"job {n}")) for n, node in enumerate(jobs.value, 1)]


class _YamlNodes:
    """Options out of YAML's nodes, each node once however many aliases name it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[int, Values] = {}
        self._open: set[int] = set()

    def options(self, node: Any, where: str) -> Values:
        """A mapping's options, those of its merges ("<<") first. Raises `InputError` for anything else."""
        what = f"the manifest {self._path}: {where}"
        if getattr(node, "id", "") != "mapping" or node.tag != "tag:yaml.org,2002:map":
            raise InputError(f"{what} is no set of options: write name and value pairs such as video and mask")
        if id(node) in self._open:
            raise InputError(f"{what} merges itself")
        if id(node) not in self._known:
            self._open.add(id(node))
            merged: Values = {}
            pairs = []
            for key, value in node.value:
                if key.id != "scalar":
                    raise InputError(f"{what}: a name is no text: write name and value pairs such as video and mask")
                if key.value == "<<":
                    for source in reversed(value.value) if value.id == "sequence" else [value]:
                        merged.update(self.options(source, where))
                else:
                    pairs.append((key.value, self._value(value, f"{what}: {key.value!r}")))
            self._known[id(node)] = {**merged, **_collect(pairs, what)}
            self._open.discard(id(node))
        return self._known[id(node)]

    def _value(self, node: Any, what: str) -> Any:
        if node.id == "sequence" and node.tag == "tag:yaml.org,2002:seq":
            return [self._scalar(item, what) for item in node.value]
        return self._scalar(node, what)

    def _scalar(self, node: Any, what: str) -> str | None:
        if node.id != "scalar":
            raise UsageError(f"{what} is nested: write one value, or a list of values")
        if node.tag not in _YAML_TEXT:
            raise InputError(f"{what} has the tag {node.tag}, which is not read: write plain text")
        return None if self.is_null(node) else str(node.value)

    @staticmethod
    def is_null(node: Any) -> bool:
        """Whether nothing was written, or one of YAML's words for it."""
        return node is None or (
            node.id == "scalar" and node.style is None and node.value in ("", "~", "null", "Null", "NULL")
        )


_YAML_TEXT = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))

_READERS: dict[str, Callable[[str, Path], tuple[Values, Rows]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
