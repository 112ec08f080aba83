"""Takes out of a report what should not be pasted into a public issue: home folders, names, addresses, identifiers."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ADDRESS = re.compile(r"(?<![\d.])(?!127\.0\.0\.1)(?:\d{1,3}\.){3}\d{1,3}(?![\d.]|\s*\()")
IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
GPU_ID = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
CREDENTIALS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+@")
OTHER_HOME = re.compile(r"(/home/|/Users/|[A-Za-z]:\\Users\\)([^/\\\s'\",:;]+)")
ORDINARY = frozenset(
    {"root", "user", "admin", "localhost", "linux", "ubuntu", "debian", "windows", "python", "torch", "cuda"}
)
SHORTEST_NAME = 3  # shorter user names would also be cut out of ordinary words


class Redactor:
    """Replaces private parts of texts; one object knows this user and this machine."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, home: Path | None = None, host: str | None = None
    ) -> None:
        env = os.environ if environ is None else environ
        self._home = str(home or Path.home())
        names = {env.get(name, "") for name in ("USER", "USERNAME", "LOGNAME")}
        machine = (host if host is not None else socket.gethostname()).split(".", maxsplit=1)[0]
        words = [(name, "USER") for name in names if len(name) >= SHORTEST_NAME and name.lower() not in ORDINARY]
        words += [(machine, "HOST")] if len(machine) >= SHORTEST_NAME and machine.lower() not in ORDINARY else []
        self._words = [
            (re.compile(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])"), name) for word, name in words
        ]

    def text(self, text: str) -> str:
        """One text without private parts."""
        if len(self._home) > 1:
            text = re.sub(re.escape(self._home) + r"(?=$|[/\\\s'\",:;)\]])", "~", text)
        text = CREDENTIALS.sub("", text)
        text = GPU_ID.sub("GPU-ID", text)
        text = OTHER_HOME.sub(r"\1USER", text)
        text = IPV6.sub("ADDRESS", text)
        text = ADDRESS.sub(_address, text)
        for pattern, name in self._words:
            text = pattern.sub(name, text)
        return text

    def tree(self, value: Any) -> Any:
        """The same for every string inside lists and dicts (keys stay)."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value


def _address(found: re.Match[str]) -> str:
    """IPv4 addresses, but not versions such as 5.0.0.93 or 14.40.33810.0: those lie beside a name or a version sign."""
    before = found.string[max(0, found.start() - 24) : found.start()].lower()
    parts = [int(part) for part in found.group().split(".")]
    versionish = bool(re.search(r"(==|>=|<=|version|opencv[\w-]*|cv2|driver|-|v)\s*$", before))
    return found.group() if max(parts) > 255 or versionish else "ADDRESS"
