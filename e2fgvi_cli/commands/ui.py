"""`e2fgvi ui`: the local page."""

from __future__ import annotations

from pathlib import Path

import typer


def ui(
    clip: Path = typer.Argument(Path("."), metavar="[CLIP]", help="Video, folder of frames, or folder of videos."),
    port: int = typer.Option(0, "--port", min=0, help="Port on this machine; 0: any free one."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open the page."),
    weights: str = typer.Option("open", "--weights", help="A name or a file."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda[:n] or mps."),
) -> None:
    """Mark, follow and fill on a page in the browser, on this machine only. Work is kept in CLIP.e2fgvi beside the
    clip. Ends with Ctrl-C."""
    from ..ui.serve import serve

    def ready(address: str) -> None:
        typer.echo(f"{address}\nCtrl-C ends it; what is drawn is kept.")
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(clip, port, device=device, weights=weights, on_ready=ready)
