"""Imports point one way, heavy packages stay out of the start, and `model` is self-contained: read from the source
text."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT

CLI = ROOT / "e2fgvi_cli"
HEAVY = ("torch", "torchvision", "av", "cv2", "safetensors", "skimage", "scipy")


def imports(path: Path, *, top_level_only: bool = False, types: bool = False) -> set[str]:
    """Absolute names of the modules a file imports; relative ones are resolved. `if TYPE_CHECKING` counts with `types`
    only."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body if top_level_only else ast.walk(tree))
    for guarded in (
        [] if types else [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    ):
        for child in ast.walk(guarded):
            if child in nodes:
                nodes.remove(child)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if "__pycache__" not in p.parts)


def is_probe(path: Path) -> bool:
    """Probes of the doctor run in processes of their own, which may load anything and may crash."""
    return "probes" in path.parts


@pytest.mark.parametrize("path", files(ROOT / "model"), ids=lambda p: p.name)
def test_the_network_needs_only_torch(path: Path) -> None:
    allowed = {"torch", "torchvision", "triton", "safetensors", "model", *sys.stdlib_module_names}
    assert {name.split(".")[0] for name in imports(path)} <= allowed
    assert not any(
        isinstance(n, ast.ImportFrom) and n.module and n.module.startswith("model")
        for n in ast.walk(ast.parse(path.read_text()))
    )


def test_only_engine_training_and_probes_import_the_network() -> None:
    users = {
        p.relative_to(CLI).parts[0]
        for p in files(CLI)
        if not is_probe(p) and any(n.startswith("e2fgvi_cli._model") for n in imports(p))
    }
    assert users <= {"engine", "training", "bench"}


@pytest.mark.parametrize("path", files(CLI), ids=lambda p: str(p.relative_to(CLI)))
def test_nothing_imports_the_network_by_the_name_that_others_have(path: Path) -> None:
    """`model` may be another project's: `_model` is the one that knows where ours lies."""
    assert not {n for n in imports(path) if n.split(".")[0] == "model"}


def test_every_name_the_type_checker_sees_is_there() -> None:
    from e2fgvi_cli import _model

    tree = ast.parse((CLI / "_model" / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(n for n in tree.body if isinstance(n, ast.If))
    names = {n.names[0].name: n.module for n in guarded.body if isinstance(n, ast.ImportFrom)}
    homes = {name: f"model.{home}" for home, offered in _model._HOMES.items() for name in offered}
    assert names == {**homes, "kernels": "model"}
    assert all(getattr(_model, name) is not None for name in homes)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = _model.nothing_of_this_name


@pytest.mark.parametrize(
    "path", [p for p in files(CLI / "doctor") if not is_probe(p)], ids=lambda p: str(p.relative_to(CLI))
)
def test_the_doctor_is_standard_library_only(path: Path) -> None:
    allowed = {"e2fgvi_cli", *sys.stdlib_module_names}
    names = imports(path)
    assert {n.split(".")[0] for n in names} <= allowed
    standard_library_only = {
        "e2fgvi_cli.doctor",
        "e2fgvi_cli.weights",
        "e2fgvi_cli.errors",
        "e2fgvi_cli.planner",
        "e2fgvi_cli.system",
        "e2fgvi_cli.__version__",
    }
    own = {".".join(n.split(".")[:2]) for n in names if n.startswith("e2fgvi_cli.")}
    assert own <= standard_library_only


LAYERS = (
    {"__init__", "errors", "types"},
    {"system", "_model"},
    {"threads", "weights", "planner", "masks"},
    {"doctor", "frames"},
    {"video", "propagation"},
    {"comparison", "fill", "quality"},
    {"report"},
    {"options"},
    {"engine", "outputs"},
    {"pipeline", "preview"},
    {"mask_tools"},
    {"api", "jobs", "training", "bench"},
    {"evaluation"},
    {"ui"},
    {"commands"},
    {"app"},
    {"__main__"},
)
"""What a layer may import stands before it, or in the same room. What is imported for its type alone counts, too."""


def room(module: str) -> str:
    """`e2fgvi_cli.fill.windows` -> `fill`; the package itself -> `__init__`."""
    return [*module.split("."), "__init__"][1]


def own_modules() -> dict[str, set[str]]:
    """Every module of the program with those that it imports, for types included; `__init__` files are their
    package."""
    names = {p: ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files(CLI)}
    known = set(names.values())
    found = {}
    for path, name in names.items():
        imported = {n if n in known else n.rpartition(".")[0] for n in imports(path, types=True)} & known
        # The package only says its version; what it offers is imported when it is asked for.
        found[name] = {n for n in imported if n not in (name, "e2fgvi_cli")}
    return found


def test_rooms_look_only_down() -> None:
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    # The one line that makes `from e2fgvi_cli import inpaint` work.
    up = [
        f"{module} -> {other}"
        for module, others in own_modules().items()
        for other in sorted(others)
        if module != "e2fgvi_cli" and room(module) != room(other) and height[room(other)] >= height[room(module)]
    ]
    assert not up


def test_no_modules_import_each_other() -> None:
    graph = own_modules()
    # A package's `__init__` imports what it offers; its modules do not go through it.
    modules = {name: others for name, others in graph.items() if not (CLI.parent / name.replace(".", "/")).is_dir()}
    tuple(graphlib.TopologicalSorter(modules).static_order())


@pytest.mark.parametrize("path", [p for p in files(CLI) if p.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_no_package_offers_a_function_under_its_modules_name(path: Path) -> None:
    """`engine.assemble` would be the module or the function, by what was imported first."""
    own = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.level == 1]
    assert not [n.module for n in own if n.module in {alias.name for alias in n.names}]


@pytest.mark.parametrize("path", [CLI / "app.py", *files(CLI / "commands")], ids=lambda p: p.name)
def test_commands_import_nothing_heavy_at_module_level(path: Path) -> None:
    assert not {n.split(".")[0] for n in imports(path, top_level_only=True)} & {*HEAVY, "numpy"}
    assert not any(n.startswith("e2fgvi_cli._model") for n in imports(path, top_level_only=True))


def test_help_and_usage_errors_do_not_load_torch() -> None:
    code = (
        "import sys\nfrom e2fgvi_cli import app\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_prints_below_the_command_line() -> None:
    quiet = [p for p in files(CLI) if p.parts[len(CLI.parts)] not in ("commands", "app.py", "doctor")] + files(
        ROOT / "model"
    )
    for path in quiet:
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), path


def test_training_and_benchmarks_read_pictures_without_pyav() -> None:
    """Where they run there may be none."""
    for name in ("sequences", "headers", "damage", "files"):
        assert not imports(CLI / "video" / "images" / f"{name}.py") & {
            "av",
            "cv2",
            "numpy",
            "e2fgvi_cli.video.local",
        }, name
    for path in (CLI / "training" / "material.py", CLI / "quality" / "clips.py"):
        own = {name for name in imports(path) if name.startswith("e2fgvi_cli.video.")}
        assert own <= {"e2fgvi_cli.video.images.files", "e2fgvi_cli.video.images.files.whole_bytes"}, path
