"""Where Windows looks for a DLL that an extension of Python wants.

Source: Microsoft "Dynamic-link library search order" and CPython's Python/dynload_win.c: extensions are loaded with
LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, so the order is: a module of that name that is
already loaded, the folder of the extension, the folder of python.exe, `os.add_dll_directory` folders, System32. PATH is
not searched. Every DLL further down is looked for with the same list (the folder stays that of the extension).
"""

from __future__ import annotations

import os
from pathlib import Path

from ..binary import Binary, Need
from ..facts import load_facts
from .model import Found, Library, Setting

API_SETS = ("api-ms-win-", "ext-ms-")
REDISTRIBUTABLE = ("msvcp140", "vcruntime140", "concrt140", "vcomp140", "vccorlib140")


class PeSearch:
    """Finds DLLs for an extension in one `Setting`."""

    def __init__(self, setting: Setting, library: Library) -> None:
        self.setting, self.library = setting, library
        self._system = frozenset(load_facts()["windows_system_dlls"].split())
        self._listings: dict[Path, dict[str, Path]] = {}
        self._loaded = {path.name.lower(): path for path in reversed(setting.preload)}

    def find(self, need: Need, chain: list[Binary]) -> Found:
        """The file for `need`; `chain[-1]` is the extension itself."""
        name = need.name.lower()
        if "." not in name:
            name += ".dll"
        if name.startswith(API_SETS):
            return Found(assumed=True)
        if name in self._loaded:
            return Found(path=self._loaded[name])
        searched: list[Path] = []
        for folder in self._folders(chain[-1]):
            searched.append(folder)
            path = self._listing(folder).get(name)
            if path:
                return Found(path=path, searched=tuple(searched))
        if self._taken_for_granted(name):
            return Found(assumed=True)
        return Found(searched=tuple(dict.fromkeys(searched)), rejected=tuple(self._not_searched(name)))

    def _folders(self, extension: Binary) -> list[Path]:
        folders = [extension.path.parent]
        if self.setting.executable:
            folders.append(self.setting.executable.parent)
        folders += self.setting.user_dirs
        if self.setting.system_root:
            folders.append(self.setting.system_root)
        return folders

    def _taken_for_granted(self, name: str) -> bool:
        stem = name.rpartition(".")[0]
        if name.endswith(".drv") or stem in self._system:
            return not (self.setting.native and self.setting.system_root)
        if self.setting.native:
            return False
        return stem.startswith(REDISTRIBUTABLE) or (stem.startswith("python3") and stem != "python3")

    def _not_searched(self, name: str) -> list[str]:
        """Copies on PATH, where people put DLLs and Python does not look."""
        if not self.setting.native:
            return []
        folders = [Path(part) for part in self.setting.environ.get("PATH", "").split(os.pathsep) if part]
        hits = (self._listing(folder).get(name) for folder in folders)
        return [f"{path} (PATH is not searched)" for path in hits if path]

    def _listing(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listings:
            try:
                self._listings[folder] = {entry.name.lower(): Path(entry.path) for entry in os.scandir(folder)}
            except OSError:
                self._listings[folder] = {}
        return self._listings[folder]
