"""Which symbols and versions of a walked graph nobody provides.

ELF: any library in the scope may define a symbol, and each version asked of a library must be defined by that library.
PE: each symbol must be exported by the DLL it is imported from. Mach-O: likewise with two-level names, otherwise as
ELF.
"""

from __future__ import annotations

from pathlib import Path

from ..binary import Binary, Bond, Import, Malformed
from ..binary.demangle import namespace, readable, stem
from .graph import Graph
from .model import Fault, Flaw, Library, Setting

TORCH_NAMESPACES = frozenset({"at", "c10", "c10d", "caffe2", "torch", "torchvision", "vision"})
PYTHON_PREFIXES = ("Py", "_Py", "_PyPy")
FORWARDER_STEPS = 8
SHORTEST_STEM = 8
MOST_COMPARED = 50
"""Missing symbols whose like are looked for among all exports: a foreign C++ runtime lacks thousands."""


def find_symbol_faults(graph: Graph, setting: Setting, library: Library) -> list[Fault]:
    """All missing versions and symbols of the graph's own nodes (not of what was loaded before)."""
    if any(fault.flaw in (Flaw.TRUNCATED, Flaw.WRONG_MACHINE) and fault.provider is None for fault in graph.faults):
        return []
    if graph.root.format == "elf":
        return _elf_versions(graph, setting) + _elf_symbols(graph, setting)
    if graph.root.format == "pe":
        return _pe_symbols(graph, setting, library)
    return _macho_symbols(graph)


def _elf_versions(graph: Graph, setting: Setting) -> list[Fault]:
    if (setting.system_root or Path("/")).joinpath("lib", "ld-musl-x86_64.so.1").exists():
        return []  # musl's loader ignores symbol versions
    faults = []
    for node in graph.nodes:
        for wanted, version in node.version_needs:
            provider = graph.edges.get((node.path, wanted))
            defined = provider.version_names() if provider else None
            if provider and defined is not None and version not in defined:
                family = version.rsplit("_", 1)[0]
                newest = sorted((name for name in defined if name.startswith(family + "_")), key=_numeric)[-1:]
                faults.append(Fault(Flaw.MISSING_VERSION, node.path, version, provider.path, instead=tuple(newest)))
    return faults


def _numeric(version: str) -> tuple[int, ...]:
    tail = version.rsplit("_", 1)[-1]
    return tuple(int(part) for part in tail.split(".") if part.isdigit())


def _elf_symbols(graph: Graph, setting: Setting) -> list[Fault]:
    scope = [*graph.quiet, *graph.nodes]
    defined: set[str] = set().union(*(binary.export_names() for binary in scope))
    unversioned = {fault.name for fault in _elf_versions(graph, setting)}
    faults: list[Fault] = []
    for node in graph.nodes:
        for symbol in node.imports:
            if symbol.name in defined or symbol.version in unversioned:
                continue
            if not setting.native and (
                symbol.version or symbol.name.startswith(PYTHON_PREFIXES) or _assumed_c(graph, symbol)
            ):
                continue
            compared = len(faults) < MOST_COMPARED
            near, owner = _near(symbol.name, [b for b in scope if b is not node]) if compared else ((), None)
            if graph.missing and not near:
                continue  # the missing library may well have had it
            owner = owner or (_likely_owner(symbol.name, node, graph) if compared else None)
            faults.append(_symbol_fault(node, symbol, near, owner))
    return faults


def _assumed_c(graph: Graph, symbol: Import) -> bool:
    """Unversioned C and C++ runtime names, when the runtime itself is not here to be asked."""
    return bool(graph.assumed) and namespace(symbol.name) not in TORCH_NAMESPACES


def _pe_symbols(graph: Graph, setting: Setting, library: Library) -> list[Fault]:
    faults = []
    for node in graph.nodes:
        for symbol in node.imports:
            provider = graph.edges.get((node.path, symbol.library or ""))
            if provider is None or provider.truncated or _pe_defines(provider, symbol.name, symbol.ordinal, library):
                continue
            near = _near(symbol.name, [provider])[0] if symbol.ordinal is None else ()
            faults.append(_symbol_fault(node, symbol, near, provider))
    return faults


def _pe_defines(provider: Binary, name: str, ordinal: int | None, library: Library) -> bool:
    """True if the export exists and, where it forwards to a DLL in the same folder, that one has it too."""
    for _ in range(FORWARDER_STEPS):
        if not provider.defines(name, ordinal):
            return False
        target = provider.forwards(name, ordinal)
        path = provider.path.parent / target[0] if target else None
        if target is None or path is None or not path.is_file():
            return True
        ordinal = int(target[1][1:]) if target[1].startswith("#") and target[1][1:].isdigit() else None
        name = target[1]
        try:
            provider = library.get(path)
        except (OSError, Malformed):
            return True
    return False


def _macho_symbols(graph: Graph) -> list[Fault]:
    scope = [*graph.quiet, *graph.nodes]
    faults = []
    for node in graph.nodes:
        for symbol in node.imports:
            if symbol.bond is Bond.WEAK:
                continue
            if symbol.library is not None:
                provider = graph.edges.get((node.path, symbol.library))
                if provider is None or _macho_defines(graph, provider, symbol.name, set()):
                    continue
                faults.append(_symbol_fault(node, symbol, _near(symbol.name, [provider])[0], provider))
            elif namespace(symbol.name) in TORCH_NAMESPACES and not any(other.defines(symbol.name) for other in scope):
                # flat names of the system and of Python cannot be judged without the shared cache
                near, owner = _near(symbol.name, scope)
                if near or not graph.missing:
                    faults.append(_symbol_fault(node, symbol, near, owner or _likely_owner(symbol.name, node, graph)))
    return faults


def _macho_defines(graph: Graph, provider: Binary, name: str, seen: set[Path]) -> bool:
    """True if the dylib or anything it re-exports has the name; unknown re-exports count as having it."""
    if provider.path in seen:
        return False
    seen.add(provider.path)
    if provider.defines(name):
        return True
    for need in provider.needed:
        if need.bond is Bond.REEXPORT:
            inner = graph.edges.get((provider.path, need.name))
            if inner is None or _macho_defines(graph, inner, name, seen):
                return True
    return False


def _near(name: str, providers: list[Binary]) -> tuple[tuple[str, ...], Binary | None]:
    """Symbols with the same qualified name and other arguments (the function of another release), and their file."""
    start = stem(name)
    if len(start) < SHORTEST_STEM:
        return (), None
    for binary in providers:
        hits = sorted(other for other in binary.export_names() if other.startswith(start) and other != name)
        if hits:
            return tuple(hits[:3]), binary
    return (), None


def _likely_owner(name: str, node: Binary, graph: Graph) -> Binary | None:
    """For a flat name: the needed library that defines most of the same namespace, or None."""
    family = namespace(name)
    if not family:
        return None
    token = f"{len(family)}{family}"
    providers = [graph.edges.get((node.path, need.name)) for need in node.needed]
    scores = [(sum(token in other for other in binary.export_names()), binary) for binary in providers if binary]
    best = max(scores, key=lambda score: score[0], default=(0, None))
    return best[1] if best[0] else None


def _symbol_fault(node: Binary, symbol: Import, near: tuple[str, ...], provider: Binary | None) -> Fault:
    return Fault(
        Flaw.MISSING_SYMBOL,
        node.path,
        symbol.label,
        provider.path if provider else None,
        instead=near,
        delayed=symbol.bond is Bond.DELAY,
        detail=readable(near[0]) if near else "",
    )
