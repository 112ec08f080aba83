"""Fixtures shared by the doctor's tests: compiled once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from .factory import ElfFactory, build_macho, build_pe


@pytest.fixture(scope="session")
def elf(tmp_path_factory: pytest.TempPathFactory) -> ElfFactory:
    """Builder of ELF extensions."""
    return ElfFactory(tmp_path_factory.mktemp("elf"))


@pytest.fixture(scope="session")
def pe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Windows extensions, by case."""
    return build_pe(tmp_path_factory.mktemp("pe"))


@pytest.fixture(scope="session")
def macho(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """macOS extensions, by case."""
    return build_macho(tmp_path_factory.mktemp("macho"))
