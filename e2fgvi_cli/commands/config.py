"""`e2fgvi config`: the user's own defaults, and how they reach the commands. The command line wins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from ..errors import InputError, UsageError
from ..system.user_config import VARIABLE, config_path, read_config

TEMPLATE = """\
# Defaults of your own for the options of e2fgvi: a table a command, options as on the command line, without "--".
# The command line wins. `e2fgvi config` says what is set here and finds mistakes.

# [inpaint]
# codec = "h265"
# crf = 16
# mask-dilation = "8px"
# image-propagation = true

# [mask.track]
# engine = "classic"
"""


def config(
    context: typer.Context,
    init: bool = typer.Option(False, "--init/--no-init", help="Write a file to begin with."),
    path: bool = typer.Option(False, "--path/--no-path", help="Print the file's name only."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Your own defaults: where the file is and what it sets."""
    from ..system.publication import replace_file

    file = config_path()
    if file is None:
        raise UsageError(f"there are no settings: {VARIABLE} is empty, or there is no home folder")
    if path:
        typer.echo(str(file))
        return
    if init:
        if file.exists():
            raise InputError(f"the settings {file} exist: edit them")
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, TEMPLATE)
        typer.echo(f"{file}: uncomment what you want")
        return
    found = list(_settings(context.find_root().command, read_config(file), file))
    if as_json:
        typer.echo(json.dumps({"path": str(file), "settings": {f"{c} {o.opts[0]}": v for c, o, v in found}}))
        return
    typer.echo(str(file) + ("" if file.exists() else " (not there: `e2fgvi config --init` writes one)"))
    for command, option, value in found:
        typer.echo(f"e2fgvi {command} {option.opts[0]} {value}")


def defaults(context: Any) -> dict[str, Any]:
    """The file as the framework's `default_map`: values by command and parameter. Raises `UsageError` for a command, an
    option or a value that does not exist, naming the file."""
    file = config_path()
    found: dict[str, Any] = {}
    if file is None:
        return found
    for command, option, value in _settings(context.command, read_config(file), file):
        table = found
        for part in command.split():
            table = table.setdefault(part, {})
        try:
            option.process_value(context, value)
        except Exception as error:  # the framework's own class, which its versions keep in different places
            raise UsageError(f"{file}: [{command}] {option.opts[0][2:]} = {value!r}: {error}") from None
        table[option.name] = value
    return found


def _settings(
    group: Any, tables: Mapping[str, Any], file: Path, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """(command, option, value) of everything that is set."""
    for name, table in tables.items():
        command = group.commands.get(name)
        if command is None or not isinstance(table, dict):
            where = f"[{'.'.join((*path, name))}]" if isinstance(table, dict) else f"{name!r} outside of a table"
            raise UsageError(f"{file}: {where} is no command of e2fgvi; there are {', '.join(sorted(group.commands))}")
        if hasattr(command, "commands"):
            yield from _settings(command, table, file, (*path, name))
            continue
        options = {opt[2:]: p for p in command.params for opt in p.opts if opt.startswith("--")}
        for key, value in table.items():
            option = options.get(key.replace("_", "-"))
            if option is None or not option.expose_value:  # --help
                raise UsageError(f"{file}: e2fgvi {' '.join((*path, name))} has no option --{key}")
            several = getattr(option, "multiple", False) and not isinstance(value, list)
            yield " ".join((*path, name)), option, [value] if several else value
