"""What is installed, read from disk: distributions, their RECORD and requirements, version files, extension files.

Nothing is imported. Reads `*.dist-info` itself because a damaged environment is the normal case here: two copies of a
package, a metadata folder without files, files without metadata.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

EXTENSION_ENDINGS = (".so", ".pyd")


@dataclass(frozen=True)
class Distribution:
    """An installed distribution: `name` normalised (`opencv-python`), its version and its metadata folder."""

    name: str
    version: str
    folder: Path

    @property
    def root(self) -> Path:
        """The site-packages folder it lives in."""
        return self.folder.parent

    def requires(self) -> list[str]:
        """`Requires-Dist` lines of its METADATA (requires.txt is not read), [] if unreadable."""
        try:
            text = (self.folder / "METADATA").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        header = text.split("\n\n", maxsplit=1)[0]
        return [line.split(":", 1)[1].strip() for line in header.splitlines() if line.startswith("Requires-Dist:")]

    def record(self) -> Iterator[tuple[str, str, int | None]]:
        """(path below `root`, "sha256=..." or "", size or None) of its RECORD; nothing if it has none.

        torch records 15 000 files, so lines without quotes are split directly.
        """
        try:
            text = (self.folder / "RECORD").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in text.splitlines():
            row = next(csv.reader([line])) if '"' in line else line.rsplit(",", 2)
            if len(row) >= 3:
                yield row[0], row[1], int(row[2]) if row[2].isdigit() else None


def normalise(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_distributions(folders: Iterable[Path]) -> list[Distribution]:
    """All distributions of the folders, in order; the same name may come twice."""
    found = []
    for folder in folders:
        try:
            entries = sorted(entry for entry in folder.iterdir() if entry.name.endswith((".dist-info", ".egg-info")))
        except OSError:
            continue
        for entry in entries:
            stem = entry.name.rsplit(".", maxsplit=1)[0]
            name, _, version = stem.partition("-")
            version = version.split("-py")[0]
            if name.startswith("~"):
                continue  # what pip leaves when an uninstallation was interrupted
            found.append(Distribution(normalise(name), version, entry))
    return found


def leftovers(folders: Iterable[Path]) -> list[Path]:
    """Folders such as `~orch` that an interrupted pip left behind."""
    return [entry for folder in folders if folder.is_dir() for entry in folder.iterdir() if entry.name.startswith("~")]


@dataclass(frozen=True)
class TorchBuild:
    """`torch/version.py` read as text: full version, CUDA or ROCm it was built with ("" for none)."""

    version: str
    cuda: str
    hip: str

    @property
    def tag(self) -> str:
        """`cu126`, `cpu`, `rocm6.4` or "" (a build without a local version)."""
        return self.version.partition("+")[2]


def read_torch_build(package: Path) -> TorchBuild | None:
    """What `torch/version.py` says, None if it is absent."""
    text = _text(package / "version.py")
    if not text:
        return None

    def value(name: str) -> str:
        found = re.search(rf"^{name}\s*(?::[^=]+)?=\s*(?:'([^']*)'|\"([^\"]*)\")", text, re.MULTILINE)
        return (found[1] or found[2] or "") if found else ""

    return TorchBuild(value("__version__"), value("cuda"), value("hip"))


def read_version_file(package: Path) -> str:
    """`__version__` in the package's version.py or __init__.py, "" if it does not say."""
    for name in ("version.py", "_version.py", "__init__.py"):
        found = re.search(r"^__version__\s*(?::[^=]+)?=\s*['\"]([^'\"]+)['\"]", _text(package / name), re.MULTILINE)
        if found:
            return found[1]
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_extension(path: Path) -> bool:
    """True for `.so` and `.pyd` files."""
    return path.name.endswith(EXTENSION_ENDINGS)


def record_digest(path: Path) -> str:
    """A file's hash in RECORD's form. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")


REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?")
CLAUSE = re.compile(r"(===|==|~=|!=|<=|>=|<|>)\s*([^\s,]+)")


def parse_requirement(line: str) -> tuple[str, list[tuple[str, str]]]:
    """("torch", [("==", "2.5.1")]) of `torch==2.5.1` or `torch (>=2.4,<3) ; marker`; markers are ignored."""
    found = REQUIREMENT.match(line)
    if not found:
        return "", []
    return normalise(found[1]), [(match[1], match[2]) for match in CLAUSE.finditer(found[2])]


def satisfies(version: str, clauses: Iterable[tuple[str, str]]) -> bool:
    """True if a version meets every clause. Local versions count only where the clause has one (PEP 440)."""
    return all(_meets(version, operator, wanted) for operator, wanted in clauses)


def _meets(version: str, operator: str, wanted: str) -> bool:
    have, want = _release(version), _release(wanted.removesuffix(".*"))
    width = max(len(have), len(want))
    if operator in ("==", "===", "!="):
        if wanted.endswith(".*"):
            equal = have[: len(want)] == want
        else:
            equal = _pad(have, width) == _pad(want, width)
            if "+" in wanted:
                equal = equal and version.partition("+")[2] == wanted.partition("+")[2]
        return equal is (operator != "!=")
    if operator == "~=":
        return _pad(have, width) >= _pad(want, width) and have[: len(want) - 1] == want[:-1]
    left, right = _pad(have, width), _pad(want, width)
    return {">=": left >= right, "<=": left <= right, ">": left > right, "<": left < right}[operator]


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[+]|a|b|rc|\.dev|\.post", version)[0]))


def _pad(parts: tuple[int, ...], width: int) -> tuple[int, ...]:
    return parts + (0,) * (width - len(parts))
