"""`e2fgvi weights`: list, verify, import and fetch checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UsageError, WeightsError

if TYPE_CHECKING:
    from ..weights.known import KnownWeights
    from ..weights.trackers import TrackerWeights

LONGEST_FACT = 4000
"""Characters of what a file says about itself, before its middle is left out on a terminal."""

weights_app = typer.Typer(no_args_is_help=True, help="List, verify, import and fetch the network's weights.")


@weights_app.command("list")
def list_weights(
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON array on standard output."),
) -> None:
    """The weights this program knows, and where they are on this machine."""
    from rich.console import Console
    from rich.table import Table

    from ..weights import trackers
    from ..weights.known import DEFAULT, KNOWN, find, user_folder

    rows: list[tuple[KnownWeights | TrackerWeights, Path | None, str]] = [
        *((w, find(w), f"e2fgvi weights fetch {w.name}") for w in KNOWN.values()),
        *((t, trackers.find(t.name), trackers.how_to_get(t.name)) for t in trackers.TRACKERS.values()),
    ]
    if as_json:
        entries = [
            {
                "name": w.name,
                "file": w.filename,
                "path": str(p) if p else None,
                "bytes": _size(w, p),
                "sha256": w.sha256 or None,
                "licence": w.licence,
            }
            for w, p, _ in rows
        ]
        typer.echo(json.dumps(entries, indent=2))
        return
    table = Table("name", "what", "MB", "licence", "on this machine")
    for w, p, advice in rows:
        name = f"{w.name} (default)" if w.name == DEFAULT else w.name
        size = _size(w, p)
        told = "" if size is None else f"{size / 1e6:.1f}"
        table.add_row(name, w.what, told, w.licence, str(p) if p else f"no: {advice}")
    Console().print(table)
    typer.echo(f"New ones go to {user_folder()} (E2FGVI_WEIGHTS_DIR says where).")


def _size(weights: KnownWeights | TrackerWeights, path: Path | None) -> int | None:
    """Bytes of the file that is there, else of the one that is known; None where nobody knows."""
    return path.stat().st_size if path is not None else getattr(weights, "size", None)


@weights_app.command()
def verify(
    file: str = typer.Argument("open", help="A known name or a file."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Check a file: its hash, then that it loads as E2FGVI-HQ, and say what it states about itself.

    following and sam2-tiny are checked as the networks of mask track.
    """
    from ..engine import read_weights
    from ..weights.known import KNOWN, how_to_get, identify, resolve, sha256
    from ..weights.trackers import TRACKERS

    if file in TRACKERS:
        _tell(_verified_tracker(file), as_json=as_json)
        return
    path = resolve(file)
    digest = sha256(path)
    known = identify(digest)
    expected = next((w for w in KNOWN.values() if w.filename == path.name), None)
    if known is not None and known.name == "spynet":
        facts: dict[str, str | None] = {
            "path": str(path),
            "sha256": digest,
            "known_as": known.name,
            "licence": known.licence,
        }
    else:
        checkpoint = read_weights(path)
        facts = {
            "path": str(path),
            "sha256": digest,
            "known_as": known.name if known else None,
            "storage": checkpoint.storage,
            "backward_flow_order": checkpoint.config.backward_flow_order,
            "licence": known.licence if known else checkpoint.licence,
            "training": checkpoint.metadata.get("training"),
        }
    if expected is not None and known is None:
        raise WeightsError(
            f"{path} is not the known file of that name: its SHA-256 is {digest}, expected {expected.sha256}; "
            f"{how_to_get(expected)}, or rename it"
        )
    _tell(facts, as_json=as_json)


def _verified_tracker(name: str) -> dict[str, str | None]:
    """What is known of a tracker's file that passes. Raises `WeightsError` for one that does not."""
    from ..weights.known import sha256
    from ..weights.trackers import TRACKERS, resolve

    path = resolve(name)
    if name == "following":
        from ..mask_tools.learned import read_network

        read_network(path)
    else:
        from ..mask_tools import sam2

        sam2.read_network(path, sam2.SIDE_ON_CPU)
    return {"path": str(path), "sha256": sha256(path), "known_as": name, "licence": TRACKERS[name].licence}


def _tell(facts: dict[str, str | None], *, as_json: bool) -> None:
    from ..weights.known import printable

    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if value is not None:
            typer.echo(f"{name.replace('_', ' ')}: {printable(value, LONGEST_FACT)}")


@weights_app.command("import")
def import_weights(
    file: str = typer.Argument(..., help="A checkpoint: .pth or safetensors."),
    name: str = typer.Option(None, "--name", help="File name to store it under (default: its own), or sam2-tiny."),
    overwrite: bool = typer.Option(
        False, "--overwrite/--no-overwrite", help="Replace another file of that name in the folder."
    ),
) -> None:
    """Check a file and copy it into this user's weights folder, where its name is enough for --weights."""
    from ..engine import read_spynet_weights, read_weights
    from ..weights.known import identify, printable, sha256, usable_file, user_folder
    from ..weights.trackers import TRACKERS

    path = usable_file(file)
    if path is None:
        raise WeightsError(f"weights file {printable(file)} does not exist: give a path of a .pth or .safetensors file")
    if name is not None and (name in ("", ".", "..") or Path(name).name != name or not name.isprintable()):
        raise UsageError(f"--name {printable(name)!r} is no file name: give one without folders")
    digest = sha256(path)
    if name in TRACKERS and TRACKERS[name].sha256:
        raise UsageError(f"weights {name!r} ship with the program and are not imported: give another --name")
    if name in TRACKERS:
        _import_tracker(path, name, digest, overwrite=overwrite)
        return
    known = identify(digest)
    if known is not None and known.name == "spynet":
        read_spynet_weights(path)
    else:
        read_weights(path)
    target = user_folder() / (name or (known.filename if known else path.name))
    same = target.is_file() and sha256(target) == digest
    if target.is_file() and not same and not overwrite:
        raise WeightsError(f"{target} is another file already: give --name, or --overwrite to replace it")
    _copy(path, target, overwrite=same or overwrite)
    typer.echo(f"{target}" + (f" (known as {known.name!r}, {known.licence})" if known else ""))


def _import_tracker(path: Path, name: str, digest: str, *, overwrite: bool) -> None:
    """Check the weights of a tracker, copy them, and record their SHA-256."""
    from ..mask_tools.sam2 import SIDE_ON_CPU, read_network
    from ..system.publication import replace_file
    from ..weights.known import sha256
    from ..weights.trackers import TRACKERS, place, record_of

    read_network(path, SIDE_ON_CPU)
    target = place(name)
    same = target.is_file() and sha256(target) == digest
    if target.is_file() and not same and not overwrite:
        raise WeightsError(f"{target} is another file already: give --overwrite to replace it")
    _copy(path, target, overwrite=same or overwrite)
    replace_file(record_of(target), digest + "\n")
    typer.echo(f"{target} (known as {name!r}, {TRACKERS[name].licence}; SHA-256 {digest} recorded)")


def _copy(path: Path, target: Path, *, overwrite: bool) -> None:
    """Copy beside `target`, then rename: an interruption leaves nothing there."""
    from ..system.paths import identity
    from ..system.publication import Publication

    try:
        if identity(target) != identity(path):  # it may lie there already
            with Publication() as publication:
                shutil.copyfile(path, publication.temporary(target, overwrite=overwrite))
    except OSError as error:
        raise WeightsError(
            f"cannot write {target}: {error.strerror or error}; set E2FGVI_WEIGHTS_DIR to another folder"
        ) from error


@weights_app.command()
def fetch(
    name: str = typer.Argument("published", help="A known name, see `e2fgvi weights list`."),
    quiet: bool = typer.Option(False, "--quiet/--no-quiet", "-q", help="No progress."),
) -> None:
    """Download known weights, continuing an earlier attempt, and check their hash."""
    from tqdm import tqdm

    from ..weights.download import fetch as download
    from ..weights.known import by_name, find
    from ..weights.trackers import TRACKERS
    from ..weights.trackers import resolve as resolve_tracker

    if name in TRACKERS:
        typer.echo(str(resolve_tracker(name)))  # or how to get it: what its download should hash to is not known here
        return
    known = by_name(name)
    present = find(known)
    if present is not None:
        typer.echo(str(present))
        return
    typer.echo(f"{known.filename}: licence {known.licence}", err=True)
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, disable=quiet, desc=known.filename) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = download(known, on_progress=show)
    typer.echo(str(path))
