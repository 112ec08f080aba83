"""What is kept between runs: compiled Python where there is none, self-checks that were passed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2fgvi_cli.system.cache import PassedCheck, cache_folder

from ..conftest import ROOT

PROGRAM = """
import sys
from e2fgvi_cli.system.cache import keep_bytecode
kept = keep_bytecode("slow_package")
import slow_package
print(kept, slow_package.__cached__)
"""


def run(tmp_path: Path, **variables: str) -> tuple[bool, Path]:
    """(whether bytecode was to be kept in our folder, where it is)."""
    package = tmp_path / "packages" / "slow_package"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("VALUE = 1\n")
    paths = os.pathsep.join([str(ROOT), str(package.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "E2FGVI_CACHE_DIR": str(tmp_path / "cache")}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        environment.pop(name, None)
    environment |= variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    kept, _, place = done.stdout.strip().partition(" ")
    return kept == "True", Path(place)


def test_bytecode_is_kept_where_python_would_keep_none(tmp_path: Path) -> None:
    kept, place = run(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert kept
    assert place.is_relative_to(tmp_path / "cache")
    assert place.is_file()


def test_python_keeps_its_own_where_it_can(tmp_path: Path) -> None:
    kept, place = run(tmp_path)
    assert (kept, place.is_file()) == (False, True)
    assert not (tmp_path / "cache").exists()
    assert run(tmp_path, PYTHONDONTWRITEBYTECODE="1") == (False, place), "what is there already is used"


def test_a_folder_that_was_asked_for_is_used(tmp_path: Path) -> None:
    kept, place = run(tmp_path, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=str(tmp_path / "mine"))
    assert not kept
    assert place.is_relative_to(tmp_path / "mine")


def test_a_passed_check_is_known_under_the_same_facts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2FGVI_CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / "kernels.py"
    source.write_text("a = 1")
    check = PassedCheck("lookup", ["H100", "2.11"], [source])
    assert not check.passed()
    check.note()
    assert PassedCheck("lookup", ["H100", "2.11"], [source]).passed()
    assert not PassedCheck("lookup", ["H200", "2.11"], [source]).passed()
    assert not PassedCheck("kernels", ["H100", "2.11"], [source]).passed()
    source.write_text("a = 2")
    assert not PassedCheck("lookup", ["H100", "2.11"], [source]).passed()


def test_where_nothing_can_be_kept_the_check_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("E2FGVI_CACHE_DIR", str(tmp_path / "file"))
    assert cache_folder() == tmp_path / "file"
    check = PassedCheck("lookup", ["H100"])
    check.note()
    assert not check.passed()
