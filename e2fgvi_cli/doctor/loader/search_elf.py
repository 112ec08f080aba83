"""Where glibc looks for a library: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, ld.so.cache, the default folders.

Source: ld.so(8) and glibc's elf/dl-load.c, elf/dl-cache.c. DT_RPATH is ignored when the file has DT_RUNPATH, and is
inherited from the files that caused the loading; DT_RUNPATH is not. Files of another machine are passed over silently,
which is why the loader then says "No such file" about a file that is there.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ..binary import Binary, Malformed, Need
from .model import Found, Library, Setting

CACHE_MAGIC = b"glibc-ld.so.cache1.1"
TRIPLETS = {
    "x86_64": "x86_64-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "x86": "i386-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
}
SYSTEM_PREFIXES = (
    "libc.so.", "libm.so.", "libpthread.so.", "libdl.so.", "librt.so.", "libutil.so.", "ld-linux", "ld-musl",
    "libgcc_s.so.", "libstdc++.so.", "libresolv.so.", "libnsl.so.", "linux-vdso", "libpython",
)  # fmt: skip


class ElfSearch:
    """Finds libraries for ELF files in one `Setting`."""

    def __init__(self, setting: Setting, library: Library) -> None:
        self.setting, self.library = setting, library
        root = setting.system_root or Path("/")
        self._cache = read_cache(root / "etc/ld.so.cache") if setting.native else {}
        triplet = TRIPLETS.get(setting.machine, "")
        names = (
            [f"lib/{triplet}", f"usr/lib/{triplet}", "lib64", "usr/lib64", "lib", "usr/lib"] if setting.native else []
        )
        self._defaults = [root / name for name in names if not name.endswith("/")]

    def find(self, need: Need, chain: list[Binary]) -> Found:
        """The file for `need` of `chain[0]`, which was loaded for `chain[1]`, and so on up to the extension."""
        consumer = chain[0]
        if "/" in need.name:
            path = Path(need.name)
            return Found(path=path) if path.is_file() else Found(searched=(path.parent,))
        searched: list[Path] = []
        rejected: list[str] = []
        for folder in self._folders(consumer, chain):
            searched.append(folder)
            if self._accept(folder / need.name, rejected):
                return Found(path=folder / need.name, searched=tuple(searched))
        for path in self._cache.get(need.name, []):
            if self._accept(path, rejected):
                return Found(path=path, searched=tuple(searched))
        for folder in [*self._defaults, *self.setting.user_dirs]:
            searched.append(folder)
            if self._accept(folder / need.name, rejected):
                return Found(path=folder / need.name, searched=tuple(searched))
        if not self.setting.native and need.name.startswith(SYSTEM_PREFIXES):
            return Found(assumed=True)
        return Found(searched=tuple(dict.fromkeys(searched)), rejected=tuple(rejected))

    def _folders(self, consumer: Binary, chain: list[Binary]) -> list[Path]:
        folders: list[Path] = []
        if not consumer.runpath:
            for binary in chain:
                if not binary.runpath:
                    folders += [self._expand(text, binary) for text in binary.rpath]
        if self.setting.native:
            text = self.setting.environ.get("LD_LIBRARY_PATH", "")
            folders += [Path(part or ".") for part in text.replace(";", ":").split(":")] if text else []
        folders += [self._expand(text, consumer) for text in consumer.runpath]
        return folders

    def _expand(self, text: str, binary: Binary) -> Path:
        origin = str(binary.path.resolve().parent)
        for token in ("$ORIGIN", "${ORIGIN}"):
            text = text.replace(token, origin)
        wide = "lib64" if binary.bits == 64 else "lib"
        return Path(text.replace("$LIB", wide).replace("${LIB}", wide))

    def _accept(self, path: Path, rejected: list[str]) -> bool:
        """False for what the loader passes over: no such file, or one of another machine (noted in `rejected`)."""
        if not path.is_file():
            return False
        try:
            binary = self.library.get(path, self.setting.machine)
        except (Malformed, OSError):
            return True  # the loader would take it and fail, and so do we
        if binary.format != "elf" or binary.machine == self.setting.machine:
            return True
        rejected.append(f"{path} ({binary.machine})")
        return False


def read_cache(path: Path) -> dict[str, list[Path]]:
    """Soname -> paths of glibc's ld.so.cache (both layouts); empty when it is absent, foreign or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    start = data.find(CACHE_MAGIC)
    if start < 0 or start + 48 > len(data):
        return {}
    count = struct.unpack_from("=I", data, start + 20)[0]
    found: dict[str, list[Path]] = {}
    for index in range(min(count, (len(data) - start - 48) // 24)):
        _, key, value = struct.unpack_from("=iII", data, start + 48 + 24 * index)
        name, target = (_cache_text(data, start + offset) for offset in (key, value))
        if name and target:
            found.setdefault(name, []).append(Path(target))
    return found


def _cache_text(data: bytes, offset: int) -> str:
    stop = data.find(b"\0", offset, offset + 4096)
    return data[offset:stop].decode("utf-8", "surrogateescape") if 0 <= offset < stop else ""
