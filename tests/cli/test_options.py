"""What every command's options have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from e2fgvi_cli.app import app
from e2fgvi_cli.doctor.cli import parse


def switches(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(command line so far, option) of every boolean option; eager ones (--version, --help) act and end."""
    for option in command.params:
        if getattr(option, "is_flag", False) and not option.is_eager:
            yield " ".join(path), option
    for name, inner in getattr(command, "commands", {}).items():
        yield from switches(inner, (*path, name))


SWITCHES = [entry for entry in switches(get_command(app)) if not entry[1].opts[0].endswith("-completion")]


@pytest.mark.parametrize(("command", "option"), SWITCHES, ids=lambda value: str(getattr(value, "name", value)))
def test_every_boolean_option_can_be_taken_back(command: str, option: Any) -> None:
    """A script that sets a switch by a variable needs both forms, and the last one wins."""
    assert option.secondary_opts, f"{command} {option.opts[0]}"
    assert all(name.startswith(("--no-", "--continue-")) for name in option.secondary_opts)


def test_there_are_switches_in_every_command() -> None:
    commands = {command.split(" ")[0] for command, _ in SWITCHES}
    assert commands == {
        "inpaint",
        "batch",
        "config",
        "check-env",
        "benchmark",
        "mask",
        "weights",
        "train",
        "ui",
        "evaluate",
        "compare",
        "export",
    }


def test_the_bare_doctor_has_the_same_switches() -> None:
    names = [option.opts[0] for command, option in SWITCHES if command == "check-env"]
    for name in names:
        on, off = parse([name]), parse([name, f"--no-{name[2:]}"])
        assert on != off, name
