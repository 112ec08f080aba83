"""Walks the libraries an extension needs, in the order the loader would, and records what cannot be found.

Loading stops at the first fault; the walk goes on, so that all faults are known at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from ..binary import Binary, Bond, Malformed, Need
from .model import Fault, Flaw, Found, Library, Setting
from .search_elf import ElfSearch
from .search_macho import MachoSearch
from .search_pe import PeSearch

SEARCHES: dict[str, type[ElfSearch] | type[PeSearch] | type[MachoSearch]] = {
    "elf": ElfSearch,
    "pe": PeSearch,
    "macho": MachoSearch,
}
PLATFORM_OF = {"elf": "linux", "pe": "win32", "macho": "darwin"}
MOST_LIBRARIES = 2000


@dataclass
class Graph:
    """Everything one extension pulls in.

    `nodes` are in loading order, the extension first; `quiet` ones were in the process before, so their faults are not
    this extension's. `edges` maps (consumer path, library name) to the provider, or None for one that is assumed.
    """

    root: Binary
    nodes: list[Binary] = field(default_factory=list)
    quiet: list[Binary] = field(default_factory=list)
    edges: dict[tuple[Path, str], Binary | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    assumed: set[str] = field(default_factory=set)

    @property
    def missing(self) -> bool:
        """True if a required library was not found, so that symbols cannot be judged completely."""
        return any(fault.flaw is Flaw.MISSING_LIBRARY and not fault.delayed for fault in self.faults)


class Walker:
    """Builds a `Graph` for one `Setting`."""

    def __init__(self, setting: Setting, library: Library) -> None:
        self.setting, self.library = setting, library

    def walk(self, path: Path) -> Graph:
        """Follow `path` down. Raises OSError or Malformed when `path` itself cannot be read."""
        root = self.library.get(path, self.setting.machine)
        graph = Graph(root)
        self._search = SEARCHES[root.format](self.setting, self.library)
        self._format = root.format
        self._loaded: dict[str, Binary] = {}
        if root.truncated:
            graph.faults.append(Fault(Flaw.TRUNCATED, path, f"{root.size} < {root.expected_size}"))
            return graph
        if root.machine != self.setting.machine:
            graph.faults.append(Fault(Flaw.WRONG_MACHINE, path, root.machine, detail=self.setting.machine))
            return graph
        before = [*self.setting.preload]
        if root.format == "elf" and self.setting.native and self.setting.executable:
            before.append(self.setting.executable)
        for early in before:
            self._follow_quietly(graph, early)
        known = len(graph.quiet)
        self._follow(graph, root, graph.nodes)
        assert len(graph.quiet) == known
        return graph

    def _follow_quietly(self, graph: Graph, path: Path) -> None:
        """Load something that is in the process already; its own faults are reported elsewhere."""
        try:
            binary = self.library.get(path, self.setting.machine)
        except (OSError, Malformed):
            return
        if binary.truncated or binary.machine != self.setting.machine or self._known(binary.path.name, binary):
            return
        scratch = Graph(binary)
        self._follow(scratch, binary, graph.quiet)

    def _follow(self, graph: Graph, start: Binary, nodes: list[Binary]) -> None:
        """Breadth first, as loaders do; `nodes` receives every new file."""
        self._remember(start, start.path.name)
        nodes.append(start)
        queue: deque[list[Binary]] = deque([[start]])
        while queue:
            chain = queue.popleft()
            for need in chain[0].needed:
                fresh = self._attach(graph, need, chain)
                if fresh is not None and len(self._loaded) < MOST_LIBRARIES:
                    nodes.append(fresh)
                    queue.append([fresh, *chain])

    def _attach(self, graph: Graph, need: Need, chain: list[Binary]) -> Binary | None:
        """Resolve one library; returns its file when it is new to the process."""
        consumer = chain[0]
        key = (consumer.path, need.name)
        known = self._known(need.name)
        if known is not None:
            graph.edges[key] = known
            return None
        found = self._search.find(need, chain)
        if found.path is None:
            if found.assumed:
                graph.edges[key] = None
                graph.assumed.add(need.name)
            elif need.bond is not Bond.WEAK:
                graph.faults.append(self._not_found(need, consumer, found))
            return None
        try:
            binary = self.library.get(found.path, self.setting.machine)
            if binary.format == "pe" and not binary.truncated:
                binary.export_names()  # read here, so that a damaged table is this file's fault and nobody else's
        except (OSError, Malformed) as error:
            graph.faults.append(Fault(Flaw.UNREADABLE, consumer.path, str(found.path), found.path, detail=str(error)))
            return None
        if binary.truncated:
            size = f"{binary.size} < {binary.expected_size}"
            graph.faults.append(Fault(Flaw.TRUNCATED, consumer.path, size, found.path))
            return None
        if binary.machine != self.setting.machine and binary.format == chain[-1].format:
            graph.faults.append(
                Fault(Flaw.WRONG_MACHINE, consumer.path, binary.machine, found.path, detail=self.setting.machine)
            )
            return None
        same = self._known(binary.path.name, binary)
        graph.edges[key] = same or binary
        self._remember(binary, need.name)
        return None if same else binary

    def _known(self, name: str, binary: Binary | None = None) -> Binary | None:
        """The file already in the process under this name: by soname, install name or DLL base name."""
        if self._format == "pe":
            return self._loaded.get(name.lower())
        names = [name] if binary is None else [name, binary.identity, str(binary.path.resolve())]
        return next((self._loaded[candidate] for candidate in names if candidate in self._loaded), None)

    def _remember(self, binary: Binary, asked: str) -> None:
        if self._format == "pe":
            self._loaded.setdefault(binary.path.name.lower(), binary)
            return
        for name in (asked, binary.identity, str(binary.path.resolve())):
            if name:
                self._loaded.setdefault(name, binary)

    def _not_found(self, need: Need, consumer: Binary, found: Found) -> Fault:
        leaf = need.name.rsplit("/", 1)[-1]
        similar = [*found.rejected, *similar_files(leaf, found.searched)]
        return Fault(
            Flaw.MISSING_LIBRARY,
            consumer.path,
            need.name,
            searched=found.searched,
            instead=tuple(dict.fromkeys(similar)),
            delayed=need.bond is Bond.DELAY,
        )


def similar_files(name: str, folders: tuple[Path, ...]) -> list[str]:
    """Files of another version of the same library: `libcudart.so.12` for `libcudart.so.11.0`, `cudart64_12.dll`."""
    base = base_name(name)
    hits: list[str] = []
    for folder in folders:
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError:
            continue
        hits += [str(folder / other) for other in names if base and other != name and base_name(other) == base][:3]
    return hits[:6]


def base_name(name: str) -> str:
    """`libcudart` of `libcudart.so.11.0`, `cudart64` of `cudart64_110.dll`; "" for what is not a library."""
    lower = name.lower()
    if ".so" in lower:
        return lower.split(".so")[0].split("-")[0]
    for suffix in (".dylib", ".dll", ".pyd"):
        if lower.endswith(suffix):
            return lower[: -len(suffix)].rstrip("0123456789._")
    return ""
