"""`e2fgvi compare`: whether two evaluations differ by more than the choice of clips explains."""

from __future__ import annotations

import json
from pathlib import Path

import typer


def compare(
    a: Path = typer.Argument(..., help="evaluation.json, or the folder that `e2fgvi evaluate` wrote."),
    b: Path = typer.Argument(..., help="Another one; or the same, with two methods."),
    method: str = typer.Option("", "--method", help="The method of both (default: the first of each)."),
    method_a: str = typer.Option("", "--method-a", help="The method of A."),
    method_b: str = typer.Option("", "--method-b", help="The method of B."),
    kinds: str = typer.Option("", "--kinds", metavar="A,B", help="Only these kinds of masks."),
    seed: int = typer.Option(2026, "--seed", min=0, help="Of the resamples."),
    resamples: int = typer.Option(10_000, "--resamples", min=100, max=1_000_000, help="How many."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object instead of the table."),
) -> None:
    """Compare two evaluations clip by clip: differences with 95 % intervals from a paired bootstrap over clips.

    e2fgvi compare before after
    """
    from ..evaluation.differences import compare as differ
    from ..evaluation.differences import table
    from ..evaluation.tables import read_record

    found = differ(
        read_record(a),
        read_record(b),
        names=(str(a), str(b)),
        methods=(method_a or method, method_b or method),
        kinds=[name.strip() for name in kinds.split(",") if name.strip()],
        seed=seed,
        resamples=resamples,
    )
    typer.echo(json.dumps(found.as_record()) if as_json else table(found), nl=as_json)
