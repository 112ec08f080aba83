"""Options in groups: Typer sees the fields, the command gets dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer
from typer.testing import CliRunner

from e2fgvi_cli.commands.grouping import group_from, grouped


@dataclass(frozen=True, kw_only=True)
class Place:
    name: Annotated[str, typer.Option("--name", "-n")]
    tags: Annotated[list[str], typer.Option("--tag")] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Pace:
    fast: Annotated[bool, typer.Option(help="Hurry.")] = False


def test_fields_are_options_and_arrive_in_their_groups() -> None:
    seen = []
    app = typer.Typer()

    @app.command()
    @grouped
    def go(place: Place, pace: Pace, times: Annotated[int, typer.Option()] = 1) -> None:
        """Go there."""
        seen.append((place, pace, times))

    result = CliRunner().invoke(app, ["-n", "home", "--tag", "a", "--tag", "b", "--fast", "--times", "3"])
    assert result.exit_code == 0, result.output
    assert seen == [(Place(name="home", tags=["a", "b"]), Pace(fast=True), 3)]
    assert CliRunner().invoke(app, []).exit_code == 2  # a field without a default is required
    assert CliRunner().invoke(app, ["-n", "x", "--no-fast"]).exit_code == 0
    assert seen[1] == (Place(name="x"), Pace(), 1)


def test_a_group_takes_its_own_values_only() -> None:
    assert group_from(Pace, {"fast": True, "name": "elsewhere"}) == Pace(fast=True)
