"""`e2fgvi export`: the network's window as TorchScript or ONNX."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from ..errors import UsageError


def export(
    output: Path = typer.Option(..., "--output", "-o", help="The file, such as window.pt or window.onnx."),
    kind: str = typer.Option("torchscript", "--format", metavar="torchscript|onnx", help="What is written."),
    weights: str = typer.Option("open", "--weights", help="A known name (`e2fgvi weights list`) or a file."),
    size: str = typer.Option("432x240", "--size", metavar="WxH", help="Of the frames: multiples of 108x60."),
    local: int = typer.Option(11, "--local", help="Frames in a row that are filled."),
    references: int = typer.Option(6, "--references", help="Reference frames behind them."),
    overwrite: bool = typer.Option(False, "--overwrite/--no-overwrite", help="Replace the file if it exists."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Write the network of one window, of one size and number of frames, for other programs; the file is run once and
    compared. See docs/export.md for what it takes, and for what it is not."""
    from ..system.paths import Read, Written, check_all
    from ..weights.known import identify, resolve, sha256
    from .inpaint_options import parse_size

    if kind not in ("torchscript", "onnx"):
        raise UsageError(f"--format {kind!r} is unknown: use torchscript or onnx")
    height, width = parse_size(size)
    path = resolve(weights)
    check_all([Written("the file", output, False, overwrite)], [Read("the weights file", path)])
    from ..engine.export import WindowShape, export_weights

    shape = WindowShape(local, references, height, width)
    known = identify(sha256(path))
    licence = None if known is None else known.licence
    done = export_weights(path, shape, output, kind, licence=licence, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    checked = (
        f"differs from the network by {done.difference:.1g} at most ({done.checked_with})"
        if done.checked_with
        else "not run: install onnxruntime to have it compared"
    )
    typer.echo(f"{output}: {done.bytes / 1e6:.0f} MB, takes {' x '.join(map(str, done.input))}; {checked}")
