"""All that is wrong with one extension file, without importing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..binary import Binary, Malformed
from .graph import Graph, Walker
from .model import Fault, Flaw, Library, Setting
from .symbols import find_symbol_faults


@dataclass
class Explanation:
    """`faults` in order of importance; `binary` is None when the file could not be parsed at all."""

    path: Path
    faults: list[Fault] = field(default_factory=list)
    binary: Binary | None = None
    closure: list[Path] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    @property
    def fatal(self) -> list[Fault]:
        """Faults that stop the import (not those that wait for the first call)."""
        return [fault for fault in self.faults if not fault.delayed]


def explain(path: Path, setting: Setting, library: Library) -> Explanation:
    """Replay the loading of `path` in `setting`. Never loads it; a damaged file is a fault, not an error."""
    try:
        graph: Graph = Walker(setting, library).walk(path)
        faults = [*graph.faults, *find_symbol_faults(graph, setting, library)]
    except Malformed as error:
        return Explanation(path, [Fault(Flaw.UNREADABLE, path, str(path), path, detail=str(error))])
    except OSError as error:
        reason = error.strerror or str(error)
        return Explanation(path, [Fault(Flaw.UNREADABLE, path, str(path), None, detail=reason)])
    order = list(Flaw)
    faults.sort(key=lambda fault: (fault.delayed, order.index(fault.flaw)))
    nodes = [binary.path for binary in graph.nodes]
    return Explanation(path, faults, graph.root, nodes, sorted(graph.assumed))
