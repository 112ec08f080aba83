"""Where dyld looks for a library: install names with @rpath, @loader_path, @executable_path, then fallback folders.

Source: dyld(1). Run paths are collected from the file and everything that caused it to be loaded. Libraries under
/usr/lib and /System live in the shared cache since macOS 11 and are not on disk: they are taken for granted.
"""

from __future__ import annotations

from pathlib import Path

from ..binary import Binary, Need
from .model import Found, Library, Setting

SHARED_CACHE = ("/usr/lib/", "/System/")


class MachoSearch:
    """Finds dylibs for a Mach-O file in one `Setting`."""

    def __init__(self, setting: Setting, library: Library) -> None:
        self.setting, self.library = setting, library

    def find(self, need: Need, chain: list[Binary]) -> Found:
        """The file for `need` of `chain[0]`, loaded for `chain[1]`, and so on."""
        leaf = need.name.rsplit("/", 1)[-1]
        candidates: list[Path] = []
        if self.setting.native:
            candidates += [folder / leaf for folder in self._variable("DYLD_LIBRARY_PATH")]
        candidates += self._expand(need.name, chain)
        candidates += [folder / leaf for folder in self.setting.user_dirs]
        if self.setting.native:
            fallback = self._variable("DYLD_FALLBACK_LIBRARY_PATH") or [Path("/usr/local/lib"), Path("/usr/lib")]
            candidates += [folder / leaf for folder in fallback]
        for path in candidates:
            if path.is_file():
                return Found(path=path)
        if need.name.startswith(SHARED_CACHE):
            return Found(assumed=True)
        if not self.setting.native and (leaf.startswith("libpython") or leaf == "Python"):
            return Found(assumed=True)
        return Found(searched=tuple(dict.fromkeys(path.parent for path in candidates)))

    def _expand(self, name: str, chain: list[Binary]) -> list[Path]:
        if not name.startswith("@rpath/"):
            return [self._place(name, chain[0])]
        tail = name[len("@rpath/") :]
        return [self._place(folder, binary) / tail for binary in chain for folder in binary.rpath]

    def _place(self, text: str, binary: Binary) -> Path:
        if text.startswith("@loader_path"):
            return binary.path.parent / text[len("@loader_path") :].lstrip("/")
        if text.startswith("@executable_path") and self.setting.executable:
            return self.setting.executable.parent / text[len("@executable_path") :].lstrip("/")
        return Path(text)

    def _variable(self, name: str) -> list[Path]:
        return [Path(part) for part in self.setting.environ.get(name, "").split(":") if part]
