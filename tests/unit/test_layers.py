"""Imports point one way, heavy packages stay out of the start, and `model` is self-contained: read from the source text."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT

CLI = ROOT / "e2fgvi_cli"
HEAVY = ("torch", "torchvision", "av", "cv2", "safetensors", "skimage", "scipy")


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Absolute names of the modules a file imports; relative ones are resolved. `if TYPE_CHECKING` does not count."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body if top_level_only else ast.walk(tree))
    for guarded in [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]:
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
        if not is_probe(p) and any(n.split(".")[0] == "model" for n in imports(p))
    }
    assert users <= {"engine", "training", "bench"}


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
        "e2fgvi_cli.__version__",
    }
    own = {".".join(n.split(".")[:2]) for n in names if n.startswith("e2fgvi_cli.")}
    assert own <= standard_library_only


LOWER_LAYERS = {
    "types.py": set(),
    "errors.py": set(),
    "paths.py": {"errors"},
    "windows.py": {"types"},
    "compose.py": {"types"},
    "weights.py": {"errors"},
    "crops.py": {"compose", "errors"},
    **{f"planner/{p.name}": {"errors", "planner"} for p in files(CLI / "planner")},
    "camera_motion.py": {"types"},
    # What is above only for its type: image_propagation and streaming.
    "hole_lookup.py": {"camera_motion", "image_propagation", "types"},
    "image_propagation.py": {"camera_motion", "hole_lookup", "streaming", "types"},
    "seams.py": {"compose", "types"},
    "streaming.py": {"compose", "crops", "hole_lookup", "image_propagation", "seams", "types", "windows"},
    **{
        f"engine/{p.name}": {
            *(
                "compose",
                "engine",
                "errors",
                "hole_lookup",
                "image_propagation",
                "options",
                "planner",
                "types",
                "weights",
            )
        }
        for p in files(CLI / "engine")
    },
}


@pytest.mark.parametrize(("name", "allowed"), LOWER_LAYERS.items())
def test_lower_layers_look_only_down(name: str, allowed: set[str]) -> None:
    own = {n.split(".")[1] for n in imports(CLI / name) if n.startswith("e2fgvi_cli.")}
    assert own <= allowed


@pytest.mark.parametrize("path", [CLI / "app.py", *files(CLI / "commands")], ids=lambda p: p.name)
def test_commands_import_nothing_heavy_at_module_level(path: Path) -> None:
    assert not {n.split(".")[0] for n in imports(path, top_level_only=True)} & {*HEAVY, "numpy", "model"}


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
